// The only file that knows OpenMP. Without it (CONVOLITE_OPENMP=OFF) the same loops run on
// std::thread, which the thread sanitizer understands and compilers without OpenMP have.
#include "runtime/threads.h"

#include <convolite/error.h>
#include <convolite/runtime.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <set>
#include <vector>

#include "runtime/buffer.h"
#include "runtime/cpu_count.h"
#ifdef _OPENMP
#include <omp.h>
#else
#include <thread>
#endif
#ifdef __linux__
#include <sched.h>
#endif

namespace convolite {
namespace {

std::atomic<int> chosen_threads{0};     // 0: not yet decided
std::atomic<bool> pool_is_lost{false};  // in a forked child the parent's workers do not exist
thread_local bool inside_task = false;  // a task that starts a loop runs it inline

void install_fork_handler() {
  static const int installed = pthread_atfork(nullptr, nullptr, [] { pool_is_lost = true; });
  (void)installed;
}

struct TaskScope {
  TaskScope() { inside_task = true; }
  ~TaskScope() { inside_task = false; }
};

// How many CPUs OpenMP binds threads to, 0 when it binds none. The mask of a bound thread does not
// say: it has one CPU, or those of one place.
int bound_cpu_count() {
#ifdef _OPENMP
  const omp_proc_bind_t binding = omp_get_proc_bind();
  if (binding == omp_proc_bind_false) return 0;
  // All threads of a team go where the first one is, or each to a place of its own.
  const bool to_one_place = binding == omp_proc_bind_master;
  std::set<int> cpus;
  for (int place = 0; place < omp_get_num_places(); ++place) {
    if (to_one_place && place != omp_get_place_num()) continue;
    std::vector<int> members(static_cast<std::size_t>(omp_get_place_num_procs(place)));
    omp_get_place_proc_ids(place, members.data());
    cpus.insert(members.begin(), members.end());
  }
  // A list of places may name CPUs that the process has not got.
  return std::min(static_cast<int>(cpus.size()), omp_get_num_procs());
#else
  return 0;
#endif
}

#ifdef __linux__
int current_cpu() {
  return sched_getcpu();
}

// Moves the calling worker away if it runs on the CPU of the thread that began the loop: that one
// cannot run meanwhile, and beside busy programs the system may leave both there for seconds. The
// worker's mask is as before afterwards; where it goes is the system's choice.
void leave_cpu(int cpu) {
  if (sched_getcpu() != cpu) return;
  cpu_set_t allowed;
  if (cpu < 0 || cpu >= CPU_SETSIZE || sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  cpu_set_t others = allowed;
  CPU_CLR(cpu, &others);
  if (CPU_COUNT(&others) == 0) return;  // bound, or the machine has no other
  if (sched_setaffinity(0, sizeof others, &others) == 0) {
    sched_setaffinity(0, sizeof allowed, &allowed);
  }
}
#else
int current_cpu() {
  return -1;
}
void leave_cpu(int) {}
#endif

// Carries the first exception of any worker to the caller; an exception that left a worker would
// end the process. Tasks that have not begun by then are skipped.
class Failure {
 public:
  void guard(TaskFunction function, void* context, Index task, int worker) noexcept {
    if (raised_.load(std::memory_order_relaxed)) return;
    try {
      function(context, task, worker);
    } catch (...) {
      if (!raised_.exchange(true)) exception_ = std::current_exception();
    }
  }
  void rethrow() const {
    if (exception_) std::rethrow_exception(exception_);
  }

 private:
  std::atomic<bool> raised_{false};
  std::exception_ptr exception_;
};

// Each worker has a share of consecutive tasks, the same in every loop over as many: what one
// operation leaves in a core's cache, the next one finds there, and neighbouring lines are mostly
// written by one core. Who is done helps the others.
class TaskShares {
 public:
  TaskShares(Index tasks, int workers) : shares_(static_cast<std::size_t>(workers)) {
    const EvenParts parts(tasks, workers);
    for (int worker = 0; worker < workers; ++worker) {
      Share& share = shares_[static_cast<std::size_t>(worker)];
      share.next = parts.first(worker);
      share.end = parts.first(worker + 1);
    }
  }

  template <class Body>
  void for_each(int worker, Body&& body) {
    const std::size_t first = static_cast<std::size_t>(worker), count = shares_.size();
    for (std::size_t i = 0; i < count; ++i) {
      Share& share = shares_[(first + i) % count];
      // Asked first: what is exhausted stays shared by all caches.
      while (share.next.load(std::memory_order_relaxed) < share.end) {
        const Index task = share.next.fetch_add(1, std::memory_order_relaxed);
        if (task < share.end) body(task);
      }
    }
  }

 private:
  struct alignas(kApart) Share {
    std::atomic<Index> next;
    Index end;
  };
  std::vector<Share> shares_;
};

}  // namespace

int get_num_threads() {
  int threads = chosen_threads.load();
  if (threads == 0) {
    threads = default_thread_count(bound_cpu_count());
    chosen_threads = threads;
  }
  return threads;
}

void set_num_threads(int count) {
  if (count < 1 || count > 4096) {
    fail("set_num_threads: count must be from 1 to 4096, got ", count);
  }
  chosen_threads = count;
}

int worker_count(Index tasks, Index work) {
  if (tasks <= 1 || work < kSerialWork || inside_task || pool_is_lost) return 1;
  return static_cast<int>(std::min<Index>(tasks, get_num_threads()));
}

void run_tasks(Index tasks, int workers, TaskFunction function, void* context) {
  if (workers <= 1) {
    for (Index task = 0; task < tasks; ++task) function(context, task, 0);
    return;
  }
  install_fork_handler();
  Failure failure;
  TaskShares shares(tasks, workers);
  const int cpu = current_cpu();
  const auto run = [&](int worker) {
    const TaskScope scope;
    if (worker > 0) leave_cpu(cpu);
    shares.for_each(worker, [&](Index task) { failure.guard(function, context, task, worker); });
  };
#ifdef _OPENMP
#pragma omp parallel num_threads(workers)
  run(omp_get_thread_num());
#else
  std::vector<std::thread> others;
  try {
    for (int worker = 1; worker < workers; ++worker) others.emplace_back(run, worker);
  } catch (const std::exception&) {
    // The system gives no more threads: those that began share the tasks.
  }
  run(0);
  for (std::thread& other : others) other.join();
#endif
  failure.rethrow();
}

}  // namespace convolite
