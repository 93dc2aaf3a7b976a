// Average pooling, windowed and adaptive: both are means over rectangles, which two lists of
// segments describe, one for each axis. Sums run down the columns first (vectors), then along the
// segments.
#include <convolite/error.h>
#include <convolite/pool2d.h>

#include <algorithm>
#include <cassert>
#include <vector>

#include "runtime/buffer.h"
#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {
namespace {

constexpr Index kTaskPixels = 1 << 14;  // input pixels of one task: 64 KB of floats

// The segments of one axis, cut at the image's edges, and their share of what to divide by.
template <class T>
struct Axis {
  std::vector<std::ptrdiff_t> begin, end;
  std::vector<T> divisor;

  void add(Index first, Index last, Index count) {
    begin.push_back(first);
    end.push_back(last);
    divisor.push_back(static_cast<T>(count));
  }
  Segments<T> segments() const {
    return {static_cast<std::ptrdiff_t>(begin.size()), begin.data(), end.data(), divisor.data()};
  }
};

// The windows of one axis. `paid` pixels include padding, not what hangs over it.
template <class T>
Axis<T> windows(Index size, Index count, Index kernel, Index stride, Index before, Index after,
                const AverageRule& rule) {
  Axis<T> axis;
  for (Index i = 0; i < count; ++i) {
    const Index start = i * stride - before;
    const Index first = std::max<Index>(start, 0), last = std::min(start + kernel, size);
    const Index paid = std::min(start + kernel, size + after) - start;
    const Index counted = rule.count_include_pad ? paid : last - first;
    axis.add(first, last, rule.divisor_override != 0 ? 1 : counted);
  }
  return axis;
}

template <class T>
Axis<T> parts(Index size, Index count) {
  Axis<T> axis;
  for (Index i = 0; i < count; ++i) {
    const Index first = i * size / count, last = ((i + 1) * size + count - 1) / count;
    axis.add(first, last, last - first);
  }
  return axis;
}

// A grid of rectangles over every plane.
template <class T>
struct Grid {
  Nchw input;
  Axis<T> rows, columns;

  Index planes() const { return input.n * input.c; }
  Index outputs() const {
    return static_cast<Index>(rows.begin.size()) * static_cast<Index>(columns.begin.size());
  }
};

template <class T>
Grid<T> window_grid(const Pool2dShape& shape, const AverageRule& rule) {
  const PoolWindow& window = shape.window;
  assert(window.dilation.h == 1 && window.dilation.w == 1);
  Grid<T> grid{shape.input,
               windows<T>(shape.input.h, shape.output.h, window.kernel.h, window.stride.h,
                          window.padding.top, window.padding.bottom, rule),
               windows<T>(shape.input.w, shape.output.w, window.kernel.w, window.stride.w,
                          window.padding.left, window.padding.right, rule)};
  if (rule.divisor_override != 0) {
    std::fill(grid.rows.divisor.begin(), grid.rows.divisor.end(),
              static_cast<T>(rule.divisor_override));
  }
  return grid;
}

template <class T>
Grid<T> part_grid(const AdaptivePool2dShape& shape) {
  return {shape.input, parts<T>(shape.input.h, shape.output.h),
          parts<T>(shape.input.w, shape.output.w)};
}

// body(plane, scratch) for every plane; the scratch holds a row of the image and a vector more.
template <class T, class Body>
void for_each_plane(const Grid<T>& grid, const Body& body) {
  const Index planes = grid.planes();
  const Index block = std::max<Index>(1, kTaskPixels / grid.input.pixels());
  const Index work = grid.input.size() + planes * grid.outputs();
  const WorkerScratch<T> scratch(worker_count((planes + block - 1) / block, work),
                                 grid.input.w + kernels<T>().lanes);
  parallel_blocks(planes, block, work, [&](Index begin, Index end, int worker) {
    for (Index plane = begin; plane < end; ++plane) body(plane, scratch.of(worker));
  });
}

template <class T>
void forward(const Grid<T>& grid, Span<const T> input, Span<T> output) {
  assert(input.size == grid.input.size() && output.size == grid.planes() * grid.outputs());
  const PoolKernels<T>& pool = kernels<T>().pool;
  const Index w = grid.input.w;
  const Segments<T> columns = grid.columns.segments(), rows = grid.rows.segments();
  for_each_plane(grid, [&](Index plane, T* sums) {
    const T* image = input.data + plane * grid.input.pixels();
    T* result = output.data + plane * grid.outputs();
    for (Index i = 0; i < rows.count; ++i) {
      pool.add_rows(rows.end[i] - rows.begin[i], w, image + rows.begin[i] * w,
                    input.data + input.size, sums);
      pool.average_segments(columns, rows.divisor[i], sums, result + i * columns.count);
    }
  });
}

// The first row of windows that reaches a row of the image stores into it, later ones add.
template <class T>
void backward_plane(const Grid<T>& grid, const T* grad_output, T* shares, T* grad_input) {
  const PoolKernels<T>& pool = kernels<T>().pool;
  const Index w = grid.input.w;
  const Segments<T> columns = grid.columns.segments(), rows = grid.rows.segments();
  Index written = 0;  // rows above it hold values
  for (Index i = 0; i < rows.count; ++i) {
    pool.spread_segments(columns, rows.divisor[i], grad_output + i * columns.count, w, shares);
    for (; written < rows.begin[i]; ++written) std::fill_n(grad_input + written * w, w, T(0));
    for (Index y = rows.begin[i]; y < rows.end[i]; ++y) {
      if (y < written) {
        pool.add_row(w, shares, grad_input + y * w);
      } else {
        std::copy(shares, shares + w, grad_input + y * w);
      }
    }
    written = std::max<Index>(written, rows.end[i]);
  }
  std::fill(grad_input + written * w, grad_input + grid.input.pixels(), T(0));
}

template <class T>
void backward(const Grid<T>& grid, Span<const T> grad_output, Span<T> grad_input) {
  assert(grad_input.size == grid.input.size());
  assert(grad_output.size == grid.planes() * grid.outputs());
  for_each_plane(grid, [&](Index plane, T* shares) {
    backward_plane(grid, grad_output.data + plane * grid.outputs(), shares,
                   grad_input.data + plane * grid.input.pixels());
  });
}

}  // namespace

template <class T>
void avg_pool2d_forward(const Pool2dShape& shape, const AverageRule& rule, Span<const T> input,
                        Span<T> output) {
  forward(window_grid<T>(shape, rule), input, output);
}

template <class T>
void avg_pool2d_backward(const Pool2dShape& shape, const AverageRule& rule,
                         Span<const T> grad_output, Span<T> grad_input) {
  backward(window_grid<T>(shape, rule), grad_output, grad_input);
}

template <class T>
void adaptive_avg_pool2d_forward(const AdaptivePool2dShape& shape, Span<const T> input,
                                 Span<T> output) {
  forward(part_grid<T>(shape), input, output);
}

template <class T>
void adaptive_avg_pool2d_backward(const AdaptivePool2dShape& shape, Span<const T> grad_output,
                                  Span<T> grad_input) {
  backward(part_grid<T>(shape), grad_output, grad_input);
}

#define CONVOLITE_INSTANTIATE(T)                                                                 \
  template void avg_pool2d_forward(const Pool2dShape&, const AverageRule&, Span<const T>,        \
                                   Span<T>);                                                     \
  template void avg_pool2d_backward(const Pool2dShape&, const AverageRule&, Span<const T>,       \
                                    Span<T>);                                                    \
  template void adaptive_avg_pool2d_forward(const AdaptivePool2dShape&, Span<const T>, Span<T>); \
  template void adaptive_avg_pool2d_backward(const AdaptivePool2dShape&, Span<const T>, Span<T>);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
