// Large blocks, cut from regions of memory and joined with their free neighbours when they come
// back. The sizes of a training step differ from layer to layer: blocks kept for one size each
// would need half as much memory again, and fresh pages in every step.
#pragma once

#include <array>

#include "runtime/free_lists.h"

namespace convolite {

// Not thread-safe: its owner holds a lock.
class Arena {
 public:
  // Aligned bytes with undefined contents; null if the system has no more.
  void* acquire(Index bytes);
  void release(void* pointer) noexcept;

  // Bytes of free blocks that were in use before, and so have pages. Where pages lie behind others
  // that were given back, all of them count.
  Index cached() const { return cached_; }
  // How often the system was asked for a region.
  Index regions_taken() const { return regions_taken_; }

  // Moves regions that hold no block to `surplus`, while more than `limit` bytes are cached.
  void trim(Index limit, Link& surplus) noexcept;
  // Moves every region that holds no block to `surplus`, and gives back the pages of all others
  // that no block needs.
  void trim_all(Link& surplus) noexcept;
  // Gives these regions back; needs no lock.
  static void give_back(Link& surplus) noexcept;

 private:
  // Stands before the first byte of each block, free or not, in an alignment unit of its own.
  struct Block : Link {
    Block* left;  // neighbour in the region; null for the first
    Index size;   // with this header; 0 in the mark at a region's end
    Index used;   // of a free block: bytes up to the last with a page; kInUse if it is not free
    Block* right() { return reinterpret_cast<Block*>(reinterpret_cast<char*>(this) + size); }
    bool is_free() const { return used != kInUse; }
    bool is_region() { return left == nullptr && right()->size == 0; }
  };
  static_assert(sizeof(Block) <= kAlignment);
  static constexpr Index kInUse = -1;

  static Block* block_of(Link* link) { return static_cast<Block*>(link); }
  static Block* new_block(void* place, Block* left, Index size, Index used);

  Block* find(Index size);
  Block* new_region(Index size);
  Block* region_of(Index bytes);
  Block* without_tail(Block* block, Index size);
  Block* joined(Block* left, Block* right);
  void insert(Block* block);
  void remove(Block* block);

  std::array<Link, kSizeClasses> free_;  // by the greatest class that fits into a block
  Index cached_ = 0, regions_bytes_ = 0, regions_taken_ = 0;
  Index empty_regions_ = 0;  // those that hold no block
};

}  // namespace convolite
