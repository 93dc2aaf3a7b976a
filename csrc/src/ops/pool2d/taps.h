// Which taps of which windows hit the image.
#pragma once

#include <convolite/pool2d.h>

#include <algorithm>
#include <vector>

#include "runtime/integers.h"

namespace convolite::pool2d {

// Taps of one window along one axis that hit the image: those of [begin, end); {0, 0} if none does.
struct Taps {
  Index begin, end;
};

// For each of `count` windows along an axis of `size` pixels.
inline std::vector<Taps> axis_taps(Index size, Index count, Index kernel, Index stride,
                                   Index before, Index dilation) {
  std::vector<Taps> taps;
  for (Index i = 0; i < count; ++i) {
    const Index start = i * stride - before;
    const Index begin = start < 0 ? ceil_divide(-start, dilation) : 0;
    const Index end = start < size ? std::min(kernel, (size - 1 - start) / dilation + 1) : 0;
    taps.push_back(begin < end ? Taps{begin, end} : Taps{0, 0});
  }
  return taps;
}

struct WindowTaps {
  std::vector<Taps> rows, columns;

  explicit WindowTaps(const Pool2dShape& shape)
      : rows(axis_taps(shape.input.h, shape.output.h, shape.window.kernel.h, shape.window.stride.h,
                       shape.window.padding.top, shape.window.dilation.h)),
        columns(axis_taps(shape.input.w, shape.output.w, shape.window.kernel.w,
                          shape.window.stride.w, shape.window.padding.left,
                          shape.window.dilation.w)) {}

  // Whether every window has a pixel; without dilation it always has.
  bool always_hit() const {
    const auto hits = [](const Taps& taps) { return taps.end != 0; };
    return std::all_of(rows.begin(), rows.end(), hits) &&
           std::all_of(columns.begin(), columns.end(), hits);
  }
};

}  // namespace convolite::pool2d
