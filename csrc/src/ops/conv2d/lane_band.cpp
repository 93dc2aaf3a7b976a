// Layout and filling of the band of lanes.
#include "ops/conv2d/lane_band.h"

#include <algorithm>

#include "runtime/integers.h"

namespace convolite {
namespace {

constexpr Index kMostBytes = Index{4} << 20;  // of a band that is kept long to copy rows once
constexpr Index kFewestTasks = 16;  // if there are rows enough: some for each of a few threads
constexpr Index kFewestRows = 16;   // shorter blocks copy their halo too often

}  // namespace

LaneBand::LaneBand(const TapLattice& lattice, int lanes, Index element_size, Index units)
    : lattice_(lattice), lanes_(lanes) {
  const Extent extent = lattice.extent(0, lattice.result.h);
  lead_ = std::max<Index>(-extent.column_begin, 0);
  pitch_ = lattice.source.w + std::max({lead_, extent.column_end - lattice.source.w, Index{0}});
  choose_rows(element_size, units);
  Index source_rows = 1;
  for (Index row = 0; row < lattice.result.h; row += rows_) {
    add_block(row, std::min(rows_, lattice.result.h - row));
    source_rows = std::max(source_rows, blocks_.back().source_rows);
  }
  most_source_rows_ = source_rows;
  channel_stride_ = (lead_ + (source_rows + 2) * pitch_) * lanes_;
  places_ = Buffer<std::int32_t>(source_rows * lattice.source.w);
  std::int32_t* place = places_.get();
  for (Index row = 0; row < source_rows; ++row) {
    for (Index x = 0; x < lattice.source.w; ++x) {
      *place++ = static_cast<std::int32_t>((lead_ + (row + 1) * pitch_ + x) * lanes_);
    }
  }
}

void LaneBand::choose_rows(Index element_size, Index units) {
  Index halo = 0;
  for (const Phase& phase : lattice_.phases) {
    halo = std::max(halo, phase.rows.greatest_offset() - phase.rows.least_offset());
  }
  const Index height = lattice_.result.h;
  const Index source_row = pitch_ * lanes_ * element_size * lattice_.source_channels();
  const Index row =
      ceil_divide(source_row * std::min(lattice_.step.h, lattice_.source.h), lattice_.spacing.h) +
      lattice_.result.w * lanes_ * element_size;
  const auto rows_within = [&](Index limit) {
    return std::clamp<Index>((limit - halo * source_row) / row, 1, height);
  };
  const Index twice_halo = 2 * halo * lattice_.spacing.h / lattice_.step.h;
  rows_ = std::max(rows_within(kVectors * lanes_ * element_size),
                   std::min(twice_halo, rows_within(kMostBytes)));
  const Index wanted = ceil_divide(height, ceil_divide(kFewestTasks, units));
  rows_ = std::min(rows_, std::max(wanted, kFewestRows));
  rows_ = ceil_divide(height, ceil_divide(height, rows_));  // even shares
}

void LaneBand::add_block(Index row, Index rows) {
  const Extent extent = lattice_.extent(row, row + rows);
  LaneBlock block{row, rows, extent.row_begin, extent.rows(), {}};
  for (std::size_t p = 0; p < lattice_.phases.size(); ++p) {
    const Phase& phase = lattice_.phases[p];
    for (const RowRun& run : lattice_.runs(phase, row, row + rows)) {
      const Index source_row = run.row_begin * lattice_.step.h + phase.rows.least_offset();
      block.runs.push_back({p, run.row_begin, run.row_end - run.row_begin, run.tap_begin,
                            run.tap_end,
                            (lead_ + (source_row - extent.row_begin + 1) * pitch_) * lanes_});
    }
  }
  blocks_.push_back(std::move(block));
}

bool LaneBand::holds_all_taps(const LaneBlock& block, const LaneRun& run) const {
  const Phase& phase = lattice_.phases[run.phase];
  const Index first = run.row_begin * lattice_.step.h + phase.rows.least_offset();
  const Index last =
      (run.row_begin + run.rows - 1) * lattice_.step.h + phase.rows.greatest_offset();
  return first >= block.source_row - 1 && last <= block.source_row + block.source_rows;
}

template <class T>
void LaneBand::load(const KernelTable<T>& table, const LaneBlock& block, const T* source,
                    Index planes, Index plane_stride, T* band) const {
  LaneGatherArguments<T> arguments{};
  arguments.source = source + block.source_row * lattice_.source.w;
  arguments.planes = planes;
  arguments.plane_stride = plane_stride;
  arguments.pixels = block.source_rows * lattice_.source.w;
  arguments.next_plane = lattice_.source.pixels();
  arguments.places = places_.get();
  arguments.lanes = band;
  table.group_lanes.gather(arguments);
  if (block.source_rows < most_source_rows_) {
    std::fill_n(band + (lead_ + (block.source_rows + 1) * pitch_) * lanes_, row_stride(), T(0));
  }
}

template void LaneBand::load(const KernelTable<float>&, const LaneBlock&, const float*, Index,
                             Index, float*) const;
template void LaneBand::load(const KernelTable<double>&, const LaneBlock&, const double*, Index,
                             Index, double*) const;

}  // namespace convolite
