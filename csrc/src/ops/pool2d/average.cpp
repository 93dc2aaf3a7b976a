// Average pooling, windowed and adaptive: both are means over the rectangles of a grid. Sums run
// down the columns first, in vectors, then along the rows: in vectors where windows move by one or
// two pixels.
#include <convolite/error.h>
#include <convolite/pool2d.h>

#include <algorithm>
#include <cassert>
#include <vector>

#include "ops/pool2d/grid.h"
#include "ops/pool2d/tasks.h"
#include "runtime/buffer.h"
#include "runtime/integers.h"
#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {

using namespace pool2d;

namespace {

// One worker's rows, between zeros.
template <class T>
struct RowScratch {
  T* shares;  // (columns.count)
  T* row;     // (left + w)
};

// body(plane, end of the task's planes, scratch) for every plane.
template <class T, class Body>
void for_each_plane(const Grid<T>& grid, const Body& body) {
  const Index planes = grid.planes();
  const Index block = planes_per_task(grid.input);
  const Index work = grid.input.size() + planes * grid.outputs();
  const Index margin = grid.kernel + kernels<T>().lanes;
  const Index pitch = grid.left + grid.input.w + 2 * grid.columns.count() + 4 * margin;
  const Workers workers{worker_count(ceil_divide(planes, block), work)};
  const WorkerScratch<T> scratch(workers.count, 2 * pitch);
  parallel_blocks(planes, block, workers, [&](Index begin, Index end, int worker) {
    T* memory = scratch.of(worker);
    std::fill_n(memory, 2 * pitch, T(0));
    for (Index plane = begin; plane < end; ++plane) {
      body(plane, end, RowScratch<T>{memory + margin, memory + pitch});
    }
  });
}

template <class T>
void forward(const Grid<T>& grid, Span<const T> input, Span<T> output) {
  assert(input.size == grid.input.size() && output.size == grid.planes() * grid.outputs());
  const PoolKernels<T>& pool = kernels<T>().pool;
  const Index w = grid.input.w, count = grid.columns.count();
  for_each_plane(grid, [&](Index plane, Index end, const RowScratch<T>& scratch) {
    const T* image = input.data + plane * grid.input.pixels();
    T* result = output.data + plane * grid.outputs();
    for (Index i = 0; i < grid.rows.count(); ++i, result += count) {
      const Segment rows = grid.rows[i];
      const T divisor = grid.rows.divisor(i);
      T* sums = scratch.row + grid.left;
      pool.add_rows(rows.end - rows.begin, w, image + rows.begin * w, input.data + input.size,
                    sums);
      if (grid.is_regular()) {
        const Index room = (output.data + end * grid.outputs()) - result;
        pool.average_row[grid.stride - 1](grid.row_arguments(i), scratch.row, result, room);
      } else {
        pool.average_segments(grid.columns.segments(), divisor, sums, result);
      }
    }
  });
}

// What one row of windows gives to each image row that it covers: (w).
template <class T>
const T* spread(const Grid<T>& grid, Index i, const T* grad_output, const RowScratch<T>& scratch) {
  const PoolKernels<T>& pool = kernels<T>().pool;
  if (grid.is_regular()) {
    pool.spread_row[grid.stride - 1](grid.row_arguments(i), grad_output, scratch.shares,
                                     scratch.row);
  } else {
    pool.spread_segments(grid.columns.segments(), grid.rows.divisor(i), grad_output, grid.input.w,
                         scratch.row);
  }
  return scratch.row + grid.left;
}

// The first row of windows that reaches a row of the image stores into it, later ones add.
template <class T>
void backward(const Grid<T>& grid, Span<const T> grad_output, Span<T> grad_input) {
  assert(grad_input.size == grid.input.size());
  assert(grad_output.size == grid.planes() * grid.outputs());
  const Index w = grid.input.w, pixels = grid.input.pixels();
  for_each_plane(grid, [&](Index plane, Index, const RowScratch<T>& scratch) {
    const T* grads = grad_output.data + plane * grid.outputs();
    T* image = grad_input.data + plane * pixels;
    Index written = 0;  // rows above it hold values
    for (Index i = 0; i < grid.rows.count(); ++i, grads += grid.columns.count()) {
      const Segment rows = grid.rows[i];
      const T* shares = spread(grid, i, grads, scratch);
      for (; written < rows.begin; ++written) std::fill_n(image + written * w, w, T(0));
      for (Index y = rows.begin; y < std::min(written, rows.end); ++y) {
        kernels<T>().pool.add_row(w, shares, image + y * w);
      }
      for (; written < rows.end; ++written) std::copy_n(shares, w, image + written * w);
    }
    std::fill(image + written * w, image + pixels, T(0));
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
