// Forward and backward_input as the same computation. A result pixel is a sum over taps, each a
// source pixel at a fixed distance. Pixels that share their taps form a phase: one in forward; in
// backward_input stride_h x stride_w of them, since input pixel i meets kernel row r only where (i
// + padding - r * dilation) is a multiple of the stride.
#pragma once

#include <convolite/conv2d.h>

#include <vector>

#include "ops/conv2d/image_band.h"

namespace convolite {

struct Tap {
  HW offset;     // the first pixel of the phase reads the source at this place
  Index kernel;  // r * kernel_w + s
};

struct Phase {
  HW first;  // the first result pixel
  HW count;  // result pixels of this phase
  std::vector<Tap> taps;
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
  Index depth(const Phase& phase) const {
    return source_channels() * static_cast<Index>(phase.taps.size());
  }
  // The first pixel row of the phase at or after this result row, counted within the phase.
  Index phase_row(const Phase& phase, Index result_row) const;
  // What the result rows [row_begin, row_end) read, inside the source or not.
  Extent extent(Index row_begin, Index row_end) const;
};

}  // namespace convolite
