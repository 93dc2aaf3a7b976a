// 64-byte aligned memory from a capped reuse cache. Fresh pages cost as much as a kernel (a new 5
// MB array about 1 ms, a reused one 0.2 ms), so results and scratch alike come from here.
#pragma once

#include <convolite/types.h>

#include <utility>

#include "runtime/integers.h"

namespace convolite {

constexpr Index kAlignment = 64;
// Of what one worker writes, from what another one does: lines are fetched in pairs.
constexpr Index kApart = 2 * kAlignment;

void* acquire_bytes(Index bytes);            // never null; throws std::bad_alloc
void release_bytes(void* pointer) noexcept;  // null is allowed

// Scratch that goes back to the cache at the end of its scope. Contents start undefined.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(Index count)
      : data_(static_cast<T*>(acquire_bytes(count * static_cast<Index>(sizeof(T))))) {}
  Buffer(Buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  ~Buffer() { release_bytes(data_); }
  T* get() const { return data_; }
  T& operator[](Index i) const { return data_[i]; }

 private:
  T* data_ = nullptr;
};

// Bytes between what one worker reads and writes and what follows: a page. A core that reads to the
// end of its own fetches ahead, and would take from another one the lines that it is writing. On
// cores without a common cache sample1 (csrc/benchmarks/bench_conv2d) took 1.7 times as long (Zen
// 5, 2026-11). None while fresh buffers are poisoned: the guard stands at the very end.
Index worker_gap();

// Memory of one worker of a parallel loop.
template <class T>
Buffer<T> worker_buffer(Index count) {
  return Buffer<T>(count + worker_gap() / static_cast<Index>(sizeof(T)));
}

// A piece of such memory for each worker.
template <class T>
class WorkerScratch {
 public:
  WorkerScratch() = default;
  WorkerScratch(int workers, Index count)
      : pitch_(round_up(count, kLine) + worker_gap() / static_cast<Index>(sizeof(T))),
        buffer_(workers * pitch_) {}
  T* of(int worker) const { return buffer_.get() + worker * pitch_; }

 private:
  static constexpr Index kLine = kApart / static_cast<Index>(sizeof(T));

  Index pitch_ = 0;
  Buffer<T> buffer_;
};

}  // namespace convolite
