// The rules of pooling sizes, all checked here and nowhere else.
#include <convolite/error.h>
#include <convolite/pool2d.h>

#include "runtime/integers.h"

namespace convolite {
namespace {

// Window sizes and steps beyond this cannot be told from it, and below it no product of two
// overflows.
constexpr Index kLargestExtent = (Index{1} << 31) - 1;

void check_from(const char* op, const char* name, Index least, const char* word, const HW& value) {
  if (value.h < least || value.w < least) fail(op, ": ", name, " must ", word, ", got ", value);
  if (value.h > kLargestExtent || value.w > kLargestExtent) {
    fail(op, ": ", name, " must be at most ", kLargestExtent, ", got ", value);
  }
}

HW span_of(const PoolWindow& window) {
  return {window.dilation.h * (window.kernel.h - 1) + 1,
          window.dilation.w * (window.kernel.w - 1) + 1};
}

// PyTorch's callers give a pair; four different sides are printed as such.
struct PaddingText {
  Padding padding;
};
std::ostream& operator<<(std::ostream& out, const PaddingText& text) {
  const Padding& padding = text.padding;
  if (padding.top != padding.bottom || padding.left != padding.right) return out << padding;
  return out << HW{padding.top, padding.left};
}

void check_padding(const char* op, const PoolWindow& window, const HW& span) {
  const Padding& padding = window.padding;
  if (padding.top < 0 || padding.bottom < 0 || padding.left < 0 || padding.right < 0) {
    fail(op, ": padding must not be negative, got ", PaddingText{padding});
  }
  if (padding.top <= span.h / 2 && padding.bottom <= span.h / 2 && padding.left <= span.w / 2 &&
      padding.right <= span.w / 2) {
    return;
  }
  if (window.dilation.h == 1 && window.dilation.w == 1) {
    fail(op, ": padding must be at most half the kernel (kernel_size = ", window.kernel,
         ", padding = ", PaddingText{padding}, ")");
  }
  fail(op, ": padding must be at most half of what the dilated kernel spans (kernel_size = ",
       window.kernel, ", dilation = ", window.dilation, ", padding = ", PaddingText{padding}, ")");
}

void check_input(const char* op, const Nchw& input) {
  if (input.n < 0 || input.c < 0 || input.h < 0 || input.w < 0) {
    fail(op, ": input sizes must not be negative, got ", input);
  }
  checked_product(op, checked_product(op, input.n, input.c), input.h, input.w, 8);
}

// Windows along one axis; 0 or less if none fits. A last window that ceil_mode adds must start
// inside the image or the padding before it.
Index count_windows(Index size, Index before, Index after, Index span, Index stride,
                    bool ceil_mode) {
  const Index room = size + before + after - span;
  if (!ceil_mode) return room < 0 ? 0 : room / stride + 1;
  if (room <= -stride) return 0;
  const Index count = room < 0 ? 1 : ceil_divide(room, stride) + 1;
  return (count - 1) * stride >= size + before ? count - 1 : count;
}

}  // namespace

Pool2dShape Pool2dShape::infer(const char* op, const Nchw& input, const PoolWindow& window) {
  check_input(op, input);
  check_from(op, "kernel_size", 1, "be positive", window.kernel);
  check_from(op, "stride", 1, "be positive", window.stride);
  check_from(op, "dilation", 1, "be positive", window.dilation);
  if (window.kernel.h * window.kernel.w > kLargestExtent) {
    fail(op, ": kernel_size must span at most ", kLargestExtent, " pixels, got ", window.kernel);
  }
  const HW span = span_of(window);
  check_padding(op, window, span);
  const Padding& padding = window.padding;
  Pool2dShape shape{input, window, {}};
  shape.output = {count_windows(input.h, padding.top, padding.bottom, span.h, window.stride.h,
                                window.ceil_mode),
                  count_windows(input.w, padding.left, padding.right, span.w, window.stride.w,
                                window.ceil_mode)};
  if (input.h == 0 || input.w == 0 || shape.output.h < 1 || shape.output.w < 1) {
    const bool dilated = window.dilation.h != 1 || window.dilation.w != 1;
    std::ostringstream dilation;
    if (dilated) dilation << " with dilation " << window.dilation;
    fail(op, ": window does not fit, kernel ", window.kernel.h, "x", window.kernel.w,
         dilation.str(), " spans ", span.h, "x", span.w, " but the padded input is ",
         input.h + padding.top + padding.bottom, "x", input.w + padding.left + padding.right,
         " (input.shape = ", input, ", padding = ", PaddingText{padding}, ")");
  }
  checked_product(op, checked_product(op, input.n, input.c), shape.output.h, shape.output.w, 8);
  return shape;
}

AdaptivePool2dShape AdaptivePool2dShape::infer(const Nchw& input, const HW& output) {
  const char* op = "adaptive_avg_pool2d";
  check_input(op, input);
  check_from(op, "output_size", 0, "not be negative", output);
  if (input.h == 0 || input.w == 0) {
    fail(op, ": input must have at least one pixel, got input.shape = ", input);
  }
  checked_product(op, checked_product(op, input.n, input.c), output.h, output.w, 8);
  return {input, output};
}

}  // namespace convolite
