// Forward and backward_input as the same computation. A result pixel is a sum over taps, each a
// source pixel at a fixed distance; taps are the product of tap rows and tap columns. Pixels that
// share their taps form a phase: one in forward; in backward_input stride_h x stride_w of them,
// since input pixel i meets kernel row r only where i + padding - r * dilation is a multiple of the
// stride.
#pragma once

#include <convolite/conv2d.h>

#include <vector>

#include "ops/conv2d/image_band.h"

namespace convolite {

// One tap along one axis: pixel i of a phase reads source coordinate i * step + offset.
struct AxisTap {
  Index offset;
  Index kernel;  // which row or column of the kernel
};

// The pixels and taps of a phase along one axis.
struct AxisPhase {
  Index first = 0;  // result coordinate of the first pixel
  Index count = 0;  // pixels
  std::vector<AxisTap> taps;

  Index least_offset() const;
  Index greatest_offset() const;
};

struct Phase {
  AxisPhase rows, columns;

  Index taps() const { return static_cast<Index>(rows.taps.size() * columns.taps.size()); }
};

// Consecutive pixel rows of a phase that meet the same tap rows inside the source; the other tap
// rows would only add zeros and are left out.
struct RowRun {
  Index row_begin, row_end;  // of the phase
  Index tap_begin, tap_end;  // of phase.rows.taps
};

struct TapLattice {
  Nchw source, result;
  Index groups = 1;
  HW step;     // source pixels from one result pixel of a phase to the next
  HW spacing;  // result pixels from one pixel of a phase to the next
  std::vector<Phase> phases;

  static TapLattice forward(const Conv2dShape& shape);
  static TapLattice backward_input(const Conv2dShape& shape);

  Index source_channels() const { return source.c / groups; }
  Index result_channels() const { return result.c / groups; }
  Index depth(const Phase& phase) const { return source_channels() * phase.taps(); }

  // The runs of a phase within the result rows [row_begin, row_end), in order.
  std::vector<RowRun> runs(const Phase& phase, Index row_begin, Index row_end) const;
  // What those result rows read: rows clipped to the source, columns of the whole result as they
  // are.
  Extent extent(Index row_begin, Index row_end) const;
};

}  // namespace convolite
