// The reuse cache behind every result and every piece of scratch. Large blocks come from the arena.
// Small ones keep their size when they are free and stand in two lists: one for each size class
// (newest last, taken from the end) and one of all blocks by age (trimmed from the front).
#include "runtime/buffer.h"

#include <convolite/runtime.h>
#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>

#include "runtime/arena.h"
#include "runtime/free_lists.h"

namespace convolite {
namespace {

constexpr std::uint64_t kGuard = 0x7ff7c0ffee7ff7c0;  // written after a poisoned buffer's last byte
constexpr Index kFreeCacheFloor = 64 << 20;           // cached bytes always allowed
constexpr Index kPage = 4096;
constexpr Index kLargestSmall = 256 << 10;  // anything larger is the arena's

struct SizeLink : Link {};
struct AgeLink : Link {};

// Stands before each buffer's first byte, in an alignment unit of its own.
struct Header : SizeLink, AgeLink {
  Index capacity;  // usable bytes
  Index guarded;   // bytes asked for, when a guard follows them; else -1
};
static_assert(sizeof(Header) <= kAlignment);

Header* header_of(void* pointer) {
  return reinterpret_cast<Header*>(static_cast<char*>(pointer) - kAlignment);
}

Header* header_by_size(Link* link_of_size) {
  return static_cast<Header*>(static_cast<SizeLink*>(link_of_size));
}
Header* header_by_age(Link* link_of_age) {
  return static_cast<Header*>(static_cast<AgeLink*>(link_of_age));
}

void* pointer_of(Header* header) {
  return reinterpret_cast<char*>(header) + kAlignment;
}

// What the cache gives back to the system. Declared before a lock, it does so after it: that takes
// 0.2 ms for a region of 50 MiB.
struct Surplus {
  AgeLink blocks;
  Link regions;

  ~Surplus() {
    while (!blocks.alone()) {
      Header* header = header_by_age(blocks.after);
      header->AgeLink::remove();
      std::free(header);
    }
    Arena::give_back(regions);
  }
};

class Cache {
 public:
  void* acquire(Index bytes) {
    if (bytes < 0 || bytes > kLargestBuffer) throw std::bad_alloc();
    const Index needed = bytes + static_cast<Index>(sizeof kGuard);
    Header* header = needed <= kLargestSmall ? small(SizeClass(needed)) : large(needed);
    void* pointer = pointer_of(header);
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
    Surplus surplus;
    const std::lock_guard<std::mutex> lock(mutex_);
    stats_.in_use -= header->capacity;
    if (header->capacity <= kLargestSmall) {
      stats_.cached += header->capacity;
      header->SizeLink::insert_before(free_[SizeClass(header->capacity).number]);
      header->AgeLink::insert_before(by_age_);
    } else {
      arena_.release(header);
    }
    // An eighth more than was ever used: blocks that differ in size cannot leave no gaps.
    trim(std::max(kFreeCacheFloor, stats_.peak_in_use / 8 * 9), surplus);
  }

  void trim_all() {
    Surplus surplus;
    const std::lock_guard<std::mutex> lock(mutex_);
    trim(0, surplus);
    arena_.trim_all(surplus.regions);
    stats_.peak_in_use = stats_.in_use;
  }

  MemoryStats stats() {
    const std::lock_guard<std::mutex> lock(mutex_);
    MemoryStats all = stats_;
    all.cached += arena_.cached();
    return all;
  }

  std::atomic<bool> poison{false};

  // A fork must not copy the lock while another thread holds it.
  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

 private:
  Header* small(const SizeClass& size) {
    Header* header = take(size);
    return header != nullptr ? header : allocate(size.capacity);
  }

  Header* large(Index capacity) {
    Header* header = from_arena(capacity);
    if (header == nullptr) {  // what the cache keeps may make room
      trim_all();
      header = from_arena(capacity);
    }
    if (header == nullptr) throw std::bad_alloc();
    return header;
  }

  Header* from_arena(Index capacity) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const Index regions = arena_.regions_taken();
    void* block = arena_.acquire(capacity + kAlignment);
    if (block == nullptr) return nullptr;
    ++(arena_.regions_taken() == regions ? stats_.reused : stats_.allocated);
    return in_use(new (block) Header{}, capacity);
  }

  // A cached block of this class, or of one less than twice as large.
  Header* take(const SizeClass& size) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (std::size_t number = size.number; number < size.number + 8; ++number) {
      if (free_[number].alone()) continue;
      Header* header = header_by_size(free_[number].before);
      if (header->capacity >= 2 * size.capacity) break;
      header->SizeLink::remove();
      header->AgeLink::remove();
      stats_.cached -= header->capacity;
      ++stats_.reused;
      return in_use(header, header->capacity);
    }
    return nullptr;
  }

  Header* allocate(Index capacity) {
    const auto bytes = static_cast<std::size_t>(capacity + kAlignment);
    void* block = std::aligned_alloc(kAlignment, bytes);
    if (block == nullptr) {
      trim_all();
      block = std::aligned_alloc(kAlignment, bytes);
    }
    if (block == nullptr) throw std::bad_alloc();
    const std::lock_guard<std::mutex> lock(mutex_);
    ++stats_.allocated;
    return in_use(new (block) Header{}, capacity);
  }

  Header* in_use(Header* header, Index capacity) {
    header->capacity = capacity;
    stats_.in_use += capacity;
    stats_.peak_in_use = std::max(stats_.peak_in_use, stats_.in_use);
    return header;
  }

  // While more than `limit` bytes are cached, the small blocks released longest ago go, then the
  // arena's empty regions: after a burst of small blocks it is not the regions that nobody needs.
  void trim(Index limit, Surplus& surplus) {
    while (stats_.cached + arena_.cached() > limit && !by_age_.alone()) {
      Header* header = header_by_age(by_age_.after);
      header->SizeLink::remove();
      header->AgeLink::remove();
      header->AgeLink::insert_before(surplus.blocks);
      stats_.cached -= header->capacity;
    }
    arena_.trim(limit - stats_.cached, surplus.regions);
  }

  std::mutex mutex_;
  std::array<SizeLink, kSizeClasses> free_;
  AgeLink by_age_;
  Arena arena_;
  MemoryStats stats_;  // its `cached` counts small blocks only
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
Index worker_gap() {
  return cache().poison ? 0 : kPage;
}

void set_buffer_poison(bool on) {
  cache().poison = on;
}

}  // namespace convolite
