#include "runtime/buffer.h"

#include <convolite/runtime.h>
#include <pthread.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <iterator>
#include <map>
#include <mutex>
#include <new>
#include <vector>

namespace convolite {
namespace {

constexpr std::uint64_t kGuard = 0x7ff7c0ffee7ff7c0;  // written after a poisoned buffer's last byte
constexpr Index kFreeCacheFloor = 64 << 20;           // cached bytes always allowed

// Stands before each buffer's first byte, in an alignment unit of its own.
struct Header {
  Index capacity;  // usable bytes
  Index guarded;   // bytes asked for, when a guard follows them; else -1
};

Header* header_of(void* pointer) {
  return reinterpret_cast<Header*>(static_cast<char*>(pointer) - kAlignment);
}

// Sizes come in classes one eighth of a power of two apart, so that a slightly different batch can
// reuse a block and at most 1/8 of it is waste.
Index size_class(Index bytes) {
  Index step = kAlignment;
  while (step * 16 < bytes) step *= 2;
  return std::max(kAlignment, (bytes + step - 1) / step * step);
}

class Cache {
 public:
  void* acquire(Index bytes) {
    if (bytes < 0 || bytes > (Index{1} << 56)) throw std::bad_alloc();
    const Index capacity = size_class(bytes + static_cast<Index>(sizeof kGuard));
    void* pointer = take(capacity);
    if (pointer == nullptr) pointer = allocate(capacity);
    Header* header = header_of(pointer);
    header->guarded = -1;
    if (poison) {
      std::memset(pointer, 0xff, static_cast<std::size_t>(bytes));  // NaN as float and as double
      std::memcpy(static_cast<char*>(pointer) + bytes, &kGuard, sizeof kGuard);
      header->guarded = bytes;
    }
    return pointer;
  }

  void release(void* pointer) noexcept {
    Header* header = header_of(pointer);
    if (header->guarded >= 0 &&
        std::memcmp(static_cast<char*>(pointer) + header->guarded, &kGuard, sizeof kGuard) != 0) {
      std::abort();  // only in tests: something wrote past the end of its result
    }
    std::vector<void*> surplus;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stats_.in_use -= header->capacity;
      stats_.cached += header->capacity;
      blocks_[header->capacity].push_back(pointer);
      order_.push_back(header->capacity);
      trim(std::max(kFreeCacheFloor, stats_.peak_in_use), surplus);
    }
    for (void* block : surplus) std::free(header_of(block));
  }

  void trim_all() {
    std::vector<void*> surplus;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      trim(0, surplus);
      stats_.peak_in_use = stats_.in_use;
    }
    for (void* block : surplus) std::free(header_of(block));
  }

  MemoryStats stats() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return stats_;
  }

  bool poison = false;

  // A fork must not copy the lock while another thread holds it.
  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

 private:
  // A cached block of this class, or of one less than twice as large.
  void* take(Index capacity) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto found = blocks_.lower_bound(capacity);
         found != blocks_.end() && found->first < 2 * capacity; ++found) {
      if (found->second.empty()) continue;
      void* pointer = found->second.back();
      found->second.pop_back();
      forget(found->first);
      stats_.cached -= found->first;
      ++stats_.reused;
      count_in_use(found->first);
      return pointer;
    }
    return nullptr;
  }

  void* allocate(Index capacity) {
    void* block = std::aligned_alloc(kAlignment, static_cast<std::size_t>(capacity + kAlignment));
    if (block == nullptr) throw std::bad_alloc();
    void* pointer = static_cast<char*>(block) + kAlignment;
    header_of(pointer)->capacity = capacity;
    const std::lock_guard<std::mutex> lock(mutex_);
    ++stats_.allocated;
    count_in_use(capacity);
    return pointer;
  }

  void count_in_use(Index capacity) {
    stats_.in_use += capacity;
    stats_.peak_in_use = std::max(stats_.peak_in_use, stats_.in_use);
  }

  // Drops the newest mention of this class from the order of release.
  void forget(Index capacity) {
    const auto mention = std::find(order_.rbegin(), order_.rend(), capacity);
    order_.erase(std::next(mention).base());
  }

  // Gives up the blocks released longest ago until at most `limit` bytes stay cached.
  void trim(Index limit, std::vector<void*>& surplus) {
    while (stats_.cached > limit && !order_.empty()) {
      const Index capacity = order_.front();
      order_.pop_front();
      std::vector<void*>& same = blocks_[capacity];
      surplus.push_back(same.front());
      same.erase(same.begin());
      stats_.cached -= capacity;
    }
  }

  std::mutex mutex_;
  std::map<Index, std::vector<void*>> blocks_;
  std::deque<Index> order_;
  MemoryStats stats_;
};

// Never destroyed: arrays may outlive static destruction.
Cache& cache() {
  static Cache* instance = [] {
    pthread_atfork([] { cache().lock(); }, [] { cache().unlock(); }, [] { cache().unlock(); });
    return new Cache;
  }();
  return *instance;
}

}  // namespace

void* acquire_bytes(Index bytes) {
  return cache().acquire(bytes);
}

void release_bytes(void* pointer) noexcept {
  if (pointer != nullptr) cache().release(pointer);
}

MemoryStats memory_stats() {
  return cache().stats();
}
void release_memory() {
  cache().trim_all();
}
void set_buffer_poison(bool on) {
  cache().poison = on;
}

}  // namespace convolite
