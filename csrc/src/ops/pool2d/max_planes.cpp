// Max pooling. Forward has three methods, the first that fits runs: 2x2 windows with stride 2 read
// in place; small windows with stride 1 or 2 over padded copies of the rows in use; any window, tap
// by tap.
#include "ops/pool2d/max_planes.h"

#include <algorithm>
#include <limits>

#include "ops/fused_activation.h"
#include "ops/pool2d/row_ring.h"

namespace convolite::pool2d {
namespace {

bool is_2x2(const Pool2dShape& shape) {
  const PoolWindow& window = shape.window;
  return window.kernel.h == 2 && window.kernel.w == 2 && window.stride.h == 2 &&
         window.stride.w == 2 && window.dilation.h == 1 && window.dilation.w == 1 &&
         shape.output.h == shape.input.h / 2 && shape.output.w == shape.input.w / 2 &&
         window.padding.top == 0 && window.padding.left == 0;
}

// Windows of at most 256 taps with stride 1 or 2, each with a pixel to start from.
template <class T>
bool fits_rows(const Pool2dShape& shape, const WindowTaps& taps) {
  return shape.byte_offsets() && shape.window.stride.w <= 2 && RowRing<T>::layout(shape).roomy &&
         taps.always_hit();
}

template <class T>
Index ring_size(const Pool2dShape& shape) {
  const auto layout = RowRing<T>::layout(shape);
  return layout.slots * layout.pitch;
}

// For each column of output the first tap inside the image, readable in whole pairs of vectors.
std::vector<std::uint8_t> first_column_taps(const WindowTaps& taps, Index lanes) {
  std::vector<std::uint8_t> first;
  for (const Taps& column : taps.columns) first.push_back(static_cast<std::uint8_t>(column.begin));
  first.resize(first.size() + 2 * static_cast<std::size_t>(lanes));
  return first;
}

}  // namespace

template <class T, class Offset>
MaxForward<T, Offset>::MaxForward(const Pool2dShape& shape, Activation activation, int workers)
    : shape_(shape), activation_(activation), taps_(shape), method_(choose(shape, taps_)) {
  if (method_ != Method::rows) return;
  first_taps_ = first_column_taps(taps_, kernels<T>().lanes);
  scratch_ = WorkerScratch<T>(workers, ring_size<T>(shape));
}

template <class T, class Offset>
typename MaxForward<T, Offset>::Method MaxForward<T, Offset>::choose(const Pool2dShape& shape,
                                                                     const WindowTaps& taps) {
  if (is_2x2(shape)) return Method::in_place_2x2;
  return fits_rows<T>(shape, taps) ? Method::rows : Method::taps;
}

template <class T, class Offset>
void MaxForward<T, Offset>::run(Index planes, const T* input, T* output, Offset* offsets,
                                int worker) const {
  if constexpr (sizeof(Offset) == 1) {
    if (method_ == Method::in_place_2x2) {
      kernels<T>().pool.max_2x2(planes, shape_.input.h, shape_.input.w, input, output, offsets);
    } else if (method_ == Method::rows) {
      run_rows(planes, input, output, offsets, scratch_.of(worker));
    } else {
      run_taps(planes, input, output, offsets);
    }
  } else {
    run_taps(planes, input, output, offsets);
  }
  if (activation_ == Activation::none) return;
  fused_activation<T>(activation_)
      .forward(output, planes * shape_.output.h * shape_.output.w, T(0), output);
}

template <class T, class Offset>
void MaxForward<T, Offset>::run_rows(Index planes, const T* input, T* output, std::uint8_t* offsets,
                                     T* scratch) const {
  const PoolWindow& window = shape_.window;
  RowRing<T> ring(shape_, RowRing<T>::layout(shape_), scratch);
  MaxRowArguments<T> row{};
  row.kernel_h = window.kernel.h;
  row.kernel_w = window.kernel.w;
  row.dilation = window.dilation.w;
  row.columns = shape_.output.w;
  row.first = first_taps_.data();
  row.output = output;
  row.offsets = offsets;
  row.room = planes * shape_.output.h * shape_.output.w;
  for (Index plane = 0; plane < planes; ++plane) {
    ring.start_plane(input + plane * shape_.input.pixels());
    for (Index y = 0; y < shape_.output.h; ++y) {
      const Taps taps = taps_.rows[static_cast<std::size_t>(y)];
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
void MaxForward<T, Offset>::run_taps(Index planes, const T* input, T* output,
                                     Offset* offsets) const {
  const PoolWindow& window = shape_.window;
  for (Index plane = 0; plane < planes; ++plane, input += shape_.input.pixels()) {
    for (Index row = 0; row < shape_.output.h; ++row) {
      const Index y = row * window.stride.h - window.padding.top;
      const Taps rows = taps_.rows[static_cast<std::size_t>(row)];
      for (Index column = 0; column < shape_.output.w; ++column) {
        const Index x = column * window.stride.w - window.padding.left;
        const Taps taps = taps_.columns[static_cast<std::size_t>(column)];
        const bool hits = rows.end != 0 && taps.end != 0;
        T best = -std::numeric_limits<T>::infinity();
        Index where = hits ? rows.begin * window.kernel.w + taps.begin : 0;
        for (Index i = rows.begin; i < rows.end; ++i) {
          const T* values = input + (y + i * window.dilation.h) * shape_.input.w;
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

OffsetSteps::OffsetSteps(const Pool2dShape& shape) : window_(shape.window) {
  if (!shape.byte_offsets()) return;
  for (Index i = 0; i < 256; ++i) steps_[static_cast<std::size_t>(i)] = step(i);
}

HW OffsetSteps::step(Index offset) const {
  constexpr Index outside = Index{1} << 40;
  const HW& kernel = window_.kernel;
  if (offset < 0 || offset >= kernel.h * kernel.w) return {outside, outside};
  return {offset / kernel.w * window_.dilation.h, offset % kernel.w * window_.dilation.w};
}

template <class T, class Offset>
MaxBackward<T, Offset>::MaxBackward(const Pool2dShape& shape, Activation activation, Index planes,
                                    int workers)
    : shape_(shape), activation_(activation), steps_(shape) {
  if (activation == Activation::none) return;
  passed_ = WorkerScratch<T>(workers, planes * shape.output.h * shape.output.w);
}

template <class T, class Offset>
void MaxBackward<T, Offset>::run(Index planes, const T* grad_output, const T* output,
                                 const Offset* offsets, T* grad_input, int worker) const {
  const Index output_pixels = shape_.output.h * shape_.output.w;
  if (activation_ != Activation::none) {
    T* const passed = passed_.of(worker);
    fused_activation<T>(activation_)
        .backward(grad_output, output, planes * output_pixels, T(0), passed);
    grad_output = passed;
  }
  if constexpr (sizeof(Offset) == 1) {
    if (is_2x2(shape_)) {
      return kernels<T>().pool.max_2x2_backward(planes, shape_.input.h, shape_.input.w, grad_output,
                                                offsets, grad_input);
    }
  }
  for (Index plane = 0; plane < planes; ++plane) {
    run_plane(grad_output + plane * output_pixels, offsets + plane * output_pixels,
              grad_input + plane * shape_.input.pixels());
  }
}

// Writes each row of the image once: rows are zeroed just before the first window that needs them,
// so that they are still in the L1 cache when gradients are added.
template <class T, class Offset>
void MaxBackward<T, Offset>::run_plane(const T* grad_output, const Offset* offsets,
                                       T* grad_input) const {
  const PoolWindow& window = shape_.window;
  const Index h = shape_.input.h, w = shape_.input.w;
  const Index span_h = window.dilation.h * (window.kernel.h - 1) + 1;
  T* zeroed = grad_input;
  for (Index row = 0; row < shape_.output.h; ++row) {
    const Index top = row * window.stride.h - window.padding.top;
    T* const needed = grad_input + std::clamp<Index>(top + span_h, 0, h) * w;
    if (zeroed < needed) zeroed = std::fill_n(zeroed, needed - zeroed, T(0));
    Index left = -window.padding.left;
    for (Index column = 0; column < shape_.output.w; ++column, left += window.stride.w) {
      const HW step = steps_[*offsets++];
      const Index y = top + step.h, x = left + step.w;
      const T grad = *grad_output++;
      if (y >= 0 && y < h && x >= 0 && x < w) grad_input[y * w + x] += grad;
    }
  }
  std::fill(zeroed, grad_input + h * w, T(0));
}

template class MaxForward<float, std::uint8_t>;
template class MaxForward<float, std::int32_t>;
template class MaxForward<double, std::uint8_t>;
template class MaxForward<double, std::int32_t>;
template class MaxBackward<float, std::uint8_t>;
template class MaxBackward<float, std::int32_t>;
template class MaxBackward<double, std::uint8_t>;
template class MaxBackward<double, std::int32_t>;

}  // namespace convolite::pool2d
