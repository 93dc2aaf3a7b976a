// Which taps each result pixel meets, for forward and for the gradient of the input.
#include "ops/conv2d/tap_lattice.h"

#include <algorithm>
#include <utility>

#include "runtime/integers.h"

namespace convolite {
namespace {

AxisPhase forward_axis(Index kernel, Index dilation, Index padding, Index output) {
  AxisPhase axis;
  axis.count = output;
  for (Index k = 0; k < kernel; ++k) axis.taps.push_back({k * dilation - padding, k});
  return axis;
}

// The phase that begins at result coordinate `first`: i + padding = stride * u + residue reads
// source coordinate u + (residue - dilation * k) / stride.
AxisPhase backward_axis(Index first, Index size, Index kernel, Index stride, Index dilation,
                        Index padding) {
  AxisPhase axis;
  axis.first = first;
  axis.count = (size - 1 - first) / stride + 1;
  const Index residue = (first + padding) % stride, start = (first + padding) / stride;
  for (Index k = 0; k < kernel; ++k) {
    const Index distance = residue - dilation * k;
    if (distance % stride == 0) axis.taps.push_back({start + distance / stride, k});
  }
  return axis;
}

}  // namespace

Index AxisPhase::least_offset() const {
  return taps.empty() ? 0 : std::min(taps.front().offset, taps.back().offset);
}

Index AxisPhase::greatest_offset() const {
  return taps.empty() ? 0 : std::max(taps.front().offset, taps.back().offset);
}

TapLattice TapLattice::forward(const Conv2dShape& shape) {
  TapLattice lattice;
  lattice.source = shape.input;
  lattice.result = shape.result();
  lattice.groups = shape.groups;
  lattice.step = shape.stride;
  lattice.spacing = {1, 1};
  lattice.phases.push_back(
      {forward_axis(shape.kernel.h, shape.dilation.h, shape.padding.top, shape.output.h),
       forward_axis(shape.kernel.w, shape.dilation.w, shape.padding.left, shape.output.w)});
  return lattice;
}

TapLattice TapLattice::backward_input(const Conv2dShape& shape) {
  TapLattice lattice;
  lattice.source = shape.result();
  lattice.result = shape.input;
  lattice.groups = shape.groups;
  lattice.step = {1, 1};
  lattice.spacing = shape.stride;
  for (Index a = 0; a < std::min(shape.stride.h, shape.input.h); ++a) {
    for (Index b = 0; b < std::min(shape.stride.w, shape.input.w); ++b) {
      lattice.phases.push_back({backward_axis(a, shape.input.h, shape.kernel.h, shape.stride.h,
                                              shape.dilation.h, shape.padding.top),
                                backward_axis(b, shape.input.w, shape.kernel.w, shape.stride.w,
                                              shape.dilation.w, shape.padding.left)});
    }
  }
  return lattice;
}

std::vector<RowRun> TapLattice::runs(const Phase& phase, Index row_begin, Index row_end) const {
  const auto phase_row = [&](Index result_row) {
    const Index row = ceil_divide(std::max<Index>(result_row - phase.rows.first, 0), spacing.h);
    return std::min(row, phase.rows.count);
  };
  const std::vector<AxisTap>& taps = phase.rows.taps;
  const Index end = phase_row(row_end);
  std::vector<RowRun> runs;
  for (Index row = phase_row(row_begin); row < end; ++row) {
    const auto inside = [&](const AxisTap& tap) {
      const Index at = row * step.h + tap.offset;
      return at >= 0 && at < source.h;
    };
    const auto first = std::find_if(taps.begin(), taps.end(), inside);
    const auto last = std::find_if_not(first, taps.end(), inside);
    const RowRun run{row, row + 1, first - taps.begin(), last - taps.begin()};
    if (!runs.empty() && runs.back().tap_begin == run.tap_begin &&
        runs.back().tap_end == run.tap_end) {
      runs.back().row_end = run.row_end;
    } else {
      runs.push_back(run);
    }
  }
  return runs;
}

Extent TapLattice::extent(Index row_begin, Index row_end) const {
  Extent extent{source.h, 0, source.w, 0};
  for (const Phase& phase : phases) {
    if (phase.taps() == 0) continue;
    extent.column_begin = std::min(extent.column_begin, phase.columns.least_offset());
    extent.column_end = std::max(extent.column_end, (phase.columns.count - 1) * step.w +
                                                        phase.columns.greatest_offset() + 1);
    for (const RowRun& run : runs(phase, row_begin, row_end)) {
      for (Index tap = run.tap_begin; tap < run.tap_end; ++tap) {
        const Index offset = phase.rows.taps[static_cast<std::size_t>(tap)].offset;
        extent.row_begin = std::min(extent.row_begin, run.row_begin * step.h + offset);
        extent.row_end = std::max(extent.row_end, (run.row_end - 1) * step.h + offset + 1);
      }
    }
  }
  extent.row_end = std::max(extent.row_begin, extent.row_end);
  extent.column_end = std::max(extent.column_begin, extent.column_end);
  return extent;
}

}  // namespace convolite
