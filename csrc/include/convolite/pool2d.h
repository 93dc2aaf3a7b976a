// Pooling over image batches: maximum, average, and average over a fixed number of parts
// (adaptive).
#pragma once

#include <convolite/types.h>

namespace convolite {

// How a pooling window moves; pixels, rows before columns.
struct PoolWindow {
  HW kernel, stride;
  Padding padding;
  HW dilation{1, 1};
  bool ceil_mode = false;  // keep a last window that hangs over the padded image
};

struct Pool2dShape {
  Nchw input;
  PoolWindow window;
  HW output;  // number of windows, filled by infer()

  // The only validator; `op` opens its error messages.
  static Pool2dShape infer(const char* op, const Nchw& input, const PoolWindow& window);

  Index planes() const { return input.n * input.c; }
  Index output_size() const { return planes() * output.h * output.w; }
  // Whether every offset inside a window fits one byte.
  bool byte_offsets() const { return window.kernel.h * window.kernel.w <= 256; }
};

// input (n, c, h, w) -> output (n, c, oh, ow) and offsets of that shape: kernel row * kernel width
// + kernel column of the maximum, the first of equals. NaN wins over numbers. Padding never wins: a
// window without any pixel (possible with dilation) gives -inf. The activation comes last. Offset:
// uint8_t if byte_offsets(), or int32_t.
template <class T, class Offset>
void max_pool2d_forward(const Pool2dShape&, Span<const T> input, Activation, Span<T> output,
                        Span<Offset> offsets);
// grad_output and offsets (n, c, oh, ow) -> grad_input (n, c, h, w). An offset that points outside
// the image passes nothing on. With an activation, grad_output is what arrives behind it, and
// `output` is what forward gave. grad_bias (c) unless empty: of a bias added to each channel of the
// input, the sums of grad_input, each plane's while it is in the cache.
template <class T, class Offset>
void max_pool2d_backward(const Pool2dShape&, Span<const T> grad_output, Span<const Offset> offsets,
                         Activation, Span<const T> output, Span<T> grad_input,
                         Span<T> grad_bias = {});

// What the sum over a window is divided by: `divisor_override` unless it is 0; else the window's
// pixels, with or without the padding it covers. What hangs over the padded image never counts.
struct AverageRule {
  bool count_include_pad = true;
  Index divisor_override = 0;
};

// input (n, c, h, w) -> output (n, c, oh, ow); the window's dilation must be 1.
template <class T>
void avg_pool2d_forward(const Pool2dShape&, const AverageRule&, Span<const T> input,
                        Span<T> output);
template <class T>
void avg_pool2d_backward(const Pool2dShape&, const AverageRule&, Span<const T> grad_output,
                         Span<T> grad_input);

struct AdaptivePool2dShape {
  Nchw input;
  HW output;

  static AdaptivePool2dShape infer(const Nchw& input, const HW& output);

  Index planes() const { return input.n * input.c; }
  Index output_size() const { return planes() * output.h * output.w; }
};

// Part i of `size` pixels cut into `parts` goes from floor(i size / parts) up to, not including,
// ceil((i + 1) size / parts). input (n, c, h, w) -> output (n, c, output.h, output.w).
template <class T>
void adaptive_avg_pool2d_forward(const AdaptivePool2dShape&, Span<const T> input, Span<T> output);
template <class T>
void adaptive_avg_pool2d_backward(const AdaptivePool2dShape&, Span<const T> grad_output,
                                  Span<T> grad_input);

}  // namespace convolite
