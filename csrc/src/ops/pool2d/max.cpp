// Max pooling. Forward has three methods, the first that fits runs: 2x2 windows with stride 2 read
// in place; small windows with stride 1 or 2 over padded copies of the rows in use; any window, tap
// by tap.
#include <convolite/error.h>
#include <convolite/pool2d.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <limits>
#include <vector>

#include "ops/pool2d/row_ring.h"
#include "ops/pool2d/taps.h"
#include "ops/pool2d/tasks.h"
#include "runtime/buffer.h"
#include "runtime/integers.h"
#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {

using namespace pool2d;

namespace {

Index work(const Pool2dShape& shape) {
  return shape.input.size() + shape.output_size();
}

bool is_2x2(const Pool2dShape& shape) {
  const PoolWindow& window = shape.window;
  return window.kernel.h == 2 && window.kernel.w == 2 && window.stride.h == 2 &&
         window.stride.w == 2 && window.dilation.h == 1 && window.dilation.w == 1 &&
         shape.output.h == shape.input.h / 2 && shape.output.w == shape.input.w / 2 &&
         window.padding.top == 0 && window.padding.left == 0;
}

// A run of planes that one task owns: everything it reads and writes.
template <class T, class Offset>
struct ForwardTask {
  Index planes;
  const T* input;
  T* output;
  Offset* offsets;
};

// Windows of at most 256 taps with stride 1 or 2, each with a pixel to start from.
template <class T>
bool fits_rows(const Pool2dShape& shape, const WindowTaps& taps) {
  return shape.byte_offsets() && shape.window.stride.w <= 2 && RowRing<T>::layout(shape).roomy &&
         taps.always_hit();
}

// For each column of output the first tap inside the image, readable in whole pairs of vectors.
std::vector<std::uint8_t> first_column_taps(const WindowTaps& taps, Index lanes) {
  std::vector<std::uint8_t> first;
  for (const Taps& column : taps.columns) first.push_back(static_cast<std::uint8_t>(column.begin));
  first.resize(first.size() + 2 * static_cast<std::size_t>(lanes));
  return first;
}

template <class T>
void forward_rows(const Pool2dShape& shape, const std::vector<Taps>& row_taps,
                  const std::vector<std::uint8_t>& first, T* scratch,
                  const ForwardTask<T, std::uint8_t>& task) {
  const PoolWindow& window = shape.window;
  RowRing<T> ring(shape, RowRing<T>::layout(shape), scratch);
  MaxRowArguments<T> row{};
  row.kernel_h = window.kernel.h;
  row.kernel_w = window.kernel.w;
  row.dilation = window.dilation.w;
  row.columns = shape.output.w;
  row.first = first.data();
  row.output = task.output;
  row.offsets = task.offsets;
  row.room = task.planes * shape.output.h * shape.output.w;
  for (Index plane = 0; plane < task.planes; ++plane) {
    ring.start_plane(task.input + plane * shape.input.pixels());
    for (Index y = 0; y < shape.output.h; ++y) {
      const Taps taps = row_taps[static_cast<std::size_t>(y)];
      row.rows = ring.rows_at(y);
      row.first_row_offset = static_cast<int>(taps.begin * window.kernel.w);
      kernels<T>().pool.max_row[window.stride.w - 1](row);
      row.output += row.columns;
      row.offsets += row.columns;
      row.room -= row.columns;
    }
  }
}

template <class T, class Offset>
void forward_taps(const Pool2dShape& shape, const WindowTaps& window_taps,
                  const ForwardTask<T, Offset>& task) {
  const PoolWindow& window = shape.window;
  T* output = task.output;
  Offset* offsets = task.offsets;
  for (Index plane = 0; plane < task.planes; ++plane) {
    const T* input = task.input + plane * shape.input.pixels();
    for (Index row = 0; row < shape.output.h; ++row) {
      const Index y = row * window.stride.h - window.padding.top;
      const Taps rows = window_taps.rows[static_cast<std::size_t>(row)];
      for (Index column = 0; column < shape.output.w; ++column) {
        const Index x = column * window.stride.w - window.padding.left;
        const Taps taps = window_taps.columns[static_cast<std::size_t>(column)];
        const bool hits = rows.end != 0 && taps.end != 0;
        T best = -std::numeric_limits<T>::infinity();
        Index where = hits ? rows.begin * window.kernel.w + taps.begin : 0;
        for (Index i = rows.begin; i < rows.end; ++i) {
          const T* values = input + (y + i * window.dilation.h) * shape.input.w;
          for (Index j = taps.begin; j < taps.end; ++j) {
            const T value = values[x + j * window.dilation.w];
            if (value > best || value != value) {
              best = value;
              where = i * window.kernel.w + j;
            }
          }
        }
        *output++ = best;
        *offsets++ = static_cast<Offset>(where);
      }
    }
  }
}

// Where each offset leads from a window's first pixel; one that is not of the window leads outside
// the image.
class OffsetSteps {
 public:
  explicit OffsetSteps(const Pool2dShape& shape) : window_(shape.window) {
    if (!shape.byte_offsets()) return;
    for (Index i = 0; i < 256; ++i) steps_[static_cast<std::size_t>(i)] = step(i);
  }
  HW operator[](std::uint8_t offset) const { return steps_[offset]; }
  HW operator[](std::int32_t offset) const { return step(offset); }

 private:
  HW step(Index offset) const {
    constexpr Index outside = Index{1} << 40;
    const HW& kernel = window_.kernel;
    if (offset < 0 || offset >= kernel.h * kernel.w) return {outside, outside};
    return {offset / kernel.w * window_.dilation.h, offset % kernel.w * window_.dilation.w};
  }

  PoolWindow window_;
  std::array<HW, 256> steps_{};
};

// Writes each row of the image once: rows are zeroed just before the first window that needs them,
// so that they are still in the L1 cache when gradients are added.
template <class T, class Offset>
void backward_plane(const Pool2dShape& shape, const OffsetSteps& steps, const T* grad_output,
                    const Offset* offsets, T* grad_input) {
  const PoolWindow& window = shape.window;
  const Index h = shape.input.h, w = shape.input.w;
  const Index span_h = window.dilation.h * (window.kernel.h - 1) + 1;
  T* zeroed = grad_input;
  for (Index row = 0; row < shape.output.h; ++row) {
    const Index top = row * window.stride.h - window.padding.top;
    T* const needed = grad_input + std::clamp<Index>(top + span_h, 0, h) * w;
    if (zeroed < needed) zeroed = std::fill_n(zeroed, needed - zeroed, T(0));
    Index left = -window.padding.left;
    for (Index column = 0; column < shape.output.w; ++column, left += window.stride.w) {
      const HW step = steps[*offsets++];
      const Index y = top + step.h, x = left + step.w;
      const T grad = *grad_output++;
      if (y >= 0 && y < h && x >= 0 && x < w) grad_input[y * w + x] += grad;
    }
  }
  std::fill(zeroed, grad_input + h * w, T(0));
}

}  // namespace

template <class T, class Offset>
void max_pool2d_forward(const Pool2dShape& shape, Span<const T> input, Span<T> output,
                        Span<Offset> offsets) {
  assert(input.size == shape.input.size() && output.size == shape.output_size());
  assert(offsets.size == shape.output_size());
  assert(shape.byte_offsets() == (sizeof(Offset) == 1));
  const Index output_pixels = shape.output.h * shape.output.w;
  const Index block = planes_per_task(shape.input);
  const Workers workers{worker_count(ceil_divide(shape.planes(), block), work(shape))};
  const auto run = [&](const auto& body) {
    parallel_blocks(shape.planes(), block, workers, [&](Index begin, Index end, int worker) {
      body(ForwardTask<T, Offset>{end - begin, input.data + begin * shape.input.pixels(),
                                  output.data + begin * output_pixels,
                                  offsets.data + begin * output_pixels},
           worker);
    });
  };
  if constexpr (sizeof(Offset) == 1) {
    if (is_2x2(shape)) {
      return run([&](const ForwardTask<T, Offset>& task, int) {
        kernels<T>().pool.max_2x2(task.planes, shape.input.h, shape.input.w, task.input,
                                  task.output, task.offsets);
      });
    }
  }
  const WindowTaps taps(shape);
  if constexpr (sizeof(Offset) == 1) {
    if (fits_rows<T>(shape, taps)) {
      const auto first = first_column_taps(taps, kernels<T>().lanes);
      const auto layout = RowRing<T>::layout(shape);
      const WorkerScratch<T> scratch(workers.count, layout.slots * layout.pitch);
      return run([&](const ForwardTask<T, Offset>& task, int worker) {
        forward_rows(shape, taps.rows, first, scratch.of(worker), task);
      });
    }
  }
  run([&](const ForwardTask<T, Offset>& task, int) { forward_taps(shape, taps, task); });
}

template <class T, class Offset>
void max_pool2d_backward(const Pool2dShape& shape, Span<const T> grad_output,
                         Span<const Offset> offsets, Span<T> grad_input) {
  assert(grad_input.size == shape.input.size() && grad_output.size == shape.output_size());
  assert(offsets.size == shape.output_size());
  const Index input_pixels = shape.input.pixels(), output_pixels = shape.output.h * shape.output.w;
  const OffsetSteps steps(shape);
  const auto body = [&](Index begin, Index end, int) {
    const T* grads = grad_output.data + begin * output_pixels;
    const Offset* offset = offsets.data + begin * output_pixels;
    T* result = grad_input.data + begin * input_pixels;
    if constexpr (sizeof(Offset) == 1) {
      if (is_2x2(shape)) {
        return kernels<T>().pool.max_2x2_backward(end - begin, shape.input.h, shape.input.w, grads,
                                                  offset, result);
      }
    }
    for (Index plane = begin; plane < end; ++plane) {
      backward_plane(shape, steps, grads, offset, result);
      grads += output_pixels;
      offset += output_pixels;
      result += input_pixels;
    }
  };
  parallel_blocks(shape.planes(), planes_per_task(shape.input), work(shape), body);
}

#define CONVOLITE_INSTANTIATE(T, Offset)                                                      \
  template void max_pool2d_forward(const Pool2dShape&, Span<const T>, Span<T>, Span<Offset>); \
  template void max_pool2d_backward(const Pool2dShape&, Span<const T>, Span<const Offset>, Span<T>);
CONVOLITE_INSTANTIATE(float, std::uint8_t)
CONVOLITE_INSTANTIATE(float, std::int32_t)
CONVOLITE_INSTANTIATE(double, std::uint8_t)
CONVOLITE_INSTANTIATE(double, std::int32_t)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
