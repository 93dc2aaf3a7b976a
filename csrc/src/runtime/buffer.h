// 64-byte aligned memory from a capped reuse cache. Fresh pages cost as much as a kernel (a new 5
// MB array about 1 ms, a reused one 0.2 ms), so results and scratch alike come from here.
#pragma once

#include <convolite/types.h>

#include <utility>

#include "runtime/integers.h"

namespace convolite {

constexpr Index kAlignment = 64;

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

// One cache line aligned piece of scratch for each worker of a parallel loop.
template <class T>
class WorkerScratch {
 public:
  WorkerScratch() = default;
  WorkerScratch(int workers, Index count)
      : pitch_(round_up(count, kLine)), buffer_(workers * pitch_) {}
  T* of(int worker) const { return buffer_.get() + worker * pitch_; }

 private:
  // Two cache lines: neighbours are fetched in pairs.
  static constexpr Index kLine = 2 * kAlignment / static_cast<Index>(sizeof(T));

  Index pitch_ = 0;
  Buffer<T> buffer_;
};

}  // namespace convolite
