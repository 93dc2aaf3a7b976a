// The rectangles over which average pooling takes means: one list of segments for each axis.
#pragma once

#include <convolite/pool2d.h>

#include <algorithm>
#include <cassert>
#include <vector>

#include "kernels/table.h"
#include "runtime/integers.h"

namespace convolite::pool2d {

// Pixels [begin, end) of one axis.
struct Segment {
  Index begin, end;
};

// The segments of one axis, cut at the image's edges, and their share of what to divide by.
template <class T>
class Axis {
 public:
  void add(const Segment& segment, Index divisor) {
    begin_.push_back(segment.begin);
    end_.push_back(segment.end);
    divisor_.push_back(static_cast<T>(divisor));
  }
  // Lets kernels read the divisors in whole vectors.
  void finish() { divisor_.resize(divisor_.size() + kLongestVector, T(1)); }

  Index count() const { return static_cast<Index>(begin_.size()); }
  Segment operator[](Index i) const {
    return {begin_[static_cast<std::size_t>(i)], end_[static_cast<std::size_t>(i)]};
  }
  T divisor(Index i) const { return divisor_[static_cast<std::size_t>(i)]; }
  const T* divisors() const { return divisor_.data(); }
  Segments<T> segments() const { return {count(), begin_.data(), end_.data(), divisor_.data()}; }

 private:
  static constexpr std::size_t kLongestVector = 16;
  std::vector<std::ptrdiff_t> begin_, end_;
  std::vector<T> divisor_;
};

// A grid of rectangles over every plane. Where columns are windows that move by one or two pixels,
// `stride`, `kernel` and the padding `left` of them describe them as well; else stride is 0.
template <class T>
struct Grid {
  Nchw input;
  Axis<T> rows, columns;
  Index stride = 0, kernel = 0, left = 0;

  Index planes() const { return input.n * input.c; }
  Index outputs() const { return rows.count() * columns.count(); }
  bool is_regular() const { return stride != 0; }
  AverageRowArguments<T> row_arguments(Index row) const {
    return {columns.count(), kernel, columns.divisors(), rows.divisor(row)};
  }
};

// The windows of one axis. `paid` pixels include padding, not what hangs over it.
template <class T>
Axis<T> windows(Index size, Index count, Index kernel, Index stride, Index before, Index after,
                const AverageRule& rule, Index divisor_override) {
  Axis<T> axis;
  for (Index i = 0; i < count; ++i) {
    const Index start = i * stride - before;
    const Segment inside{std::max<Index>(start, 0), std::min(start + kernel, size)};
    const Index paid = std::min(start + kernel, size + after) - start;
    const Index counted = rule.count_include_pad ? paid : inside.end - inside.begin;
    axis.add(inside, rule.divisor_override != 0 ? divisor_override : counted);
  }
  axis.finish();
  return axis;
}

template <class T>
Grid<T> window_grid(const Pool2dShape& shape, const AverageRule& rule) {
  const PoolWindow& window = shape.window;
  assert(window.dilation.h == 1 && window.dilation.w == 1);
  Grid<T> grid{shape.input,
               windows<T>(shape.input.h, shape.output.h, window.kernel.h, window.stride.h,
                          window.padding.top, window.padding.bottom, rule, rule.divisor_override),
               windows<T>(shape.input.w, shape.output.w, window.kernel.w, window.stride.w,
                          window.padding.left, window.padding.right, rule, 1)};
  // Padding that dwarfs the image would be summed for nothing.
  if (window.stride.w <= 2 && window.kernel.w <= shape.input.w + 64) {
    grid.stride = window.stride.w;
    grid.kernel = window.kernel.w;
    grid.left = window.padding.left;
  }
  return grid;
}

template <class T>
Axis<T> parts(Index size, Index count) {
  Axis<T> axis;
  for (Index i = 0; i < count; ++i) {
    const Segment part{i * size / count, ceil_divide((i + 1) * size, count)};
    axis.add(part, part.end - part.begin);
  }
  axis.finish();
  return axis;
}

template <class T>
Grid<T> part_grid(const AdaptivePool2dShape& shape) {
  return {shape.input, parts<T>(shape.input.h, shape.output.h),
          parts<T>(shape.input.w, shape.output.w)};
}

}  // namespace convolite::pool2d
