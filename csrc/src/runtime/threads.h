// Loops over tasks that own what they write. Where a sum is cut into parts must depend on the
// problem alone, never on the number of threads: that is what makes results the same bits for any
// of them.
#pragma once

#include <convolite/types.h>

#include <type_traits>

#include "runtime/integers.h"

namespace convolite {

// Loops with less work than this many element operations run inline: waking a thread costs about 2
// us (docs/architecture.md, "Threads").
constexpr Index kSerialWork = 1 << 15;

// What to pass as work for arithmetic in registers: it costs about a sixteenth of moving an
// element.
constexpr Index multiply_add_work(Index multiply_adds) {
  return multiply_adds / 16;
}

using TaskFunction = void (*)(void* context, Index task, int worker);
void run_tasks(Index tasks, int workers, TaskFunction function, void* context);

// How many workers a loop of `tasks` tasks with `work` element operations in all would use.
int worker_count(Index tasks, Index work);

// A decided number of workers. Whoever sizes scratch by it passes it on, since another thread may
// call set_num_threads in between.
struct Workers {
  int count;
};

// body(task, worker) for each task in [0, tasks); worker is in [0, workers.count). An exception of
// the body reaches the caller after the other workers have stopped.
template <class Body>
void parallel_for(Index tasks, Workers workers, Body&& body) {
  using Plain = std::remove_reference_t<Body>;
  run_tasks(
      tasks, workers.count,
      [](void* context, Index task, int worker) { (*static_cast<Plain*>(context))(task, worker); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

// The same with as many workers as the work deserves.
template <class Body>
void parallel_for(Index tasks, Index work, Body&& body) {
  parallel_for(tasks, Workers{worker_count(tasks, work)}, body);
}

// Cuts [0, size) into blocks of `block` elements: body(begin, end, worker) for each.
template <class Body>
void parallel_blocks(Index size, Index block, Workers workers, Body&& body) {
  parallel_for(ceil_divide(size, block), workers, [&](Index task, int worker) {
    const Index begin = task * block;
    body(begin, begin + block < size ? begin + block : size, worker);
  });
}

template <class Body>
void parallel_blocks(Index size, Index block, Index work, Body&& body) {
  parallel_blocks(size, block, Workers{worker_count(ceil_divide(size, block), work)}, body);
}

}  // namespace convolite
