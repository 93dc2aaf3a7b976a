#include "ops/conv2d/tap_lattice.h"

#include <algorithm>
#include <limits>

namespace convolite {
namespace {

Index ceil_divide(Index a, Index b) {
  return (a + b - 1) / b;
}

// One axis of a backward phase: which result pixels, and for each kernel index whether and where it
// reads.
struct AxisPhase {
  Index first, count, start;
  Index residue, stride, dilation;

  AxisPhase(Index residue_, Index size, Index padding, Index stride_, Index dilation_)
      : residue(residue_), stride(stride_), dilation(dilation_) {
    first = ((residue - padding) % stride + stride) % stride;
    count = first < size ? (size - 1 - first) / stride + 1 : 0;
    start = (first + padding) / stride;
  }
  bool reads(Index kernel) const { return (residue - dilation * kernel) % stride == 0; }
  Index offset(Index kernel) const { return start + (residue - dilation * kernel) / stride; }
};

}  // namespace

TapLattice TapLattice::forward(const Conv2dShape& shape) {
  TapLattice lattice;
  lattice.source = shape.input;
  lattice.result = shape.result();
  lattice.groups = shape.groups;
  lattice.step = shape.stride;
  lattice.spacing = {1, 1};
  Phase phase;
  phase.count = shape.output;
  for (Index r = 0; r < shape.kernel.h; ++r) {
    for (Index s = 0; s < shape.kernel.w; ++s) {
      phase.taps.push_back(
          {{r * shape.dilation.h - shape.padding.top, s * shape.dilation.w - shape.padding.left},
           r * shape.kernel.w + s});
    }
  }
  lattice.phases.push_back(std::move(phase));
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
    const Index row_residue = (a + shape.padding.top) % shape.stride.h;
    const AxisPhase rows(row_residue, shape.input.h, shape.padding.top, shape.stride.h,
                         shape.dilation.h);
    for (Index b = 0; b < std::min(shape.stride.w, shape.input.w); ++b) {
      const Index column_residue = (b + shape.padding.left) % shape.stride.w;
      const AxisPhase columns(column_residue, shape.input.w, shape.padding.left, shape.stride.w,
                              shape.dilation.w);
      Phase phase;
      phase.first = {rows.first, columns.first};
      phase.count = {rows.count, columns.count};
      for (Index r = 0; r < shape.kernel.h; ++r) {
        for (Index s = 0; s < shape.kernel.w; ++s) {
          if (!rows.reads(r) || !columns.reads(s)) continue;
          phase.taps.push_back({{rows.offset(r), columns.offset(s)}, r * shape.kernel.w + s});
        }
      }
      lattice.phases.push_back(std::move(phase));
    }
  }
  return lattice;
}

Index TapLattice::phase_row(const Phase& phase, Index result_row) const {
  const Index row = ceil_divide(std::max<Index>(result_row - phase.first.h, 0), spacing.h);
  return std::min(row, phase.count.h);
}

Extent TapLattice::extent(Index row_begin, Index row_end) const {
  constexpr Index far = std::numeric_limits<Index>::max();
  Extent extent{far, -far, far, -far};
  for (const Phase& phase : phases) {
    const Index first = phase_row(phase, row_begin), last = phase_row(phase, row_end) - 1;
    if (first > last || phase.count.w == 0) continue;
    for (const Tap& tap : phase.taps) {
      extent.row_begin = std::min(extent.row_begin, first * step.h + tap.offset.h);
      extent.row_end = std::max(extent.row_end, last * step.h + tap.offset.h + 1);
      extent.column_begin = std::min(extent.column_begin, tap.offset.w);
      extent.column_end =
          std::max(extent.column_end, (phase.count.w - 1) * step.w + tap.offset.w + 1);
    }
  }
  return extent.row_begin < extent.row_end ? extent : Extent{};
}

}  // namespace convolite
