// The copy of some rows of image planes in which every pixel is a vector with one lane for each of
// several groups (contract: kernels/table.h), and what the rows of a block of results read of it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/table.h"
#include "ops/conv2d/tap_lattice.h"
#include "runtime/buffer.h"

namespace convolite {

// Consecutive pixel rows of a phase that share their taps. Offsets are counted in elements.
struct LaneRun {
  std::size_t phase;
  Index row_begin, rows;     // of the phase
  Index tap_begin, tap_end;  // rows of taps
  Index source;              // place of the first pixel: what the taps' offsets are added to
};

// A block of result rows.
struct LaneBlock {
  Index row, rows;
  Index source_row, source_rows;  // what they read
  std::vector<LaneRun> runs;
};

// A band for each worker, zero at first: LaneBand::load leaves what lies around the rows zero. Each
// worker fills its own, in its own cache.
template <class T>
class LaneBands {
 public:
  LaneBands(int workers, Index size)
      : size_(size), bands_(workers, size), filled_(static_cast<std::size_t>(workers)) {}

  T* of(int worker) {
    T* const band = bands_.of(worker);
    unsigned char& filled = filled_[static_cast<std::size_t>(worker)];
    if (!filled) {  // written once: the flags share a cache line
      std::fill_n(band, size_, T(0));
      filled = 1;
    }
    return band;
  }

 private:
  Index size_;
  WorkerScratch<T> bands_;
  std::vector<unsigned char> filled_;
};

class LaneBand {
 public:
  // A block's band and one plane of its results take about kVectors, unless that would mean to copy
  // most rows again and again; many blocks are wanted where there are few `units` of lanes.
  LaneBand(const TapLattice& lattice, int lanes, Index element_size, Index units);

  const std::vector<LaneBlock>& blocks() const { return blocks_; }
  Index most_rows() const { return rows_; }  // of a block
  Index row_stride() const { return pitch_ * lanes_; }
  Index channel_stride() const { return channel_stride_; }
  Index size() const { return lattice_.source_channels() * channel_stride_; }
  // Of a tap from a pixel's place.
  Index offset(const Phase& phase, const AxisTap& row, const AxisTap& column) const {
    return ((row.offset - phase.rows.least_offset()) * pitch_ + column.offset) * lanes_;
  }

  // Whether all taps of a run meet rows of the block or the rows of zeros beside them.
  bool holds_all_taps(const LaneBlock& block, const LaneRun& run) const;
  // The place of what a tap meets of a row of zeros.
  Index zero_place(const AxisTap& column) const { return (lead_ + column.offset) * lanes_; }

  template <class T>
  LaneBands<T> bands(int workers) const {
    return LaneBands<T>(workers, size());
  }

  // Copies what a block reads of one channel of `planes` units, plane_stride apart.
  template <class T>
  void load(const KernelTable<T>& table, const LaneBlock& block, const T* source, Index planes,
            Index plane_stride, T* band) const;

 private:
  static constexpr Index kVectors = 4 << 10;  // with a task's other arrays they stay in L2

  void choose_rows(Index element_size, Index units);
  void add_block(Index row, Index rows);

  const TapLattice& lattice_;
  Index lanes_;
  // Zeros before the first row, which is all zero, as is the one behind a block's last; those after
  // a row serve the next.
  Index lead_ = 0, pitch_ = 0;
  Index rows_ = 1, most_source_rows_ = 1, channel_stride_ = 0;
  std::vector<LaneBlock> blocks_;
  Buffer<std::int32_t> places_;  // of the pixels of a block's rows
};

}  // namespace convolite
