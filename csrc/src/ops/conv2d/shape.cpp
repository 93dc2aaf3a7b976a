// Conv2dShape::infer: every rule about the numbers of a convolution, checked once.
#include <convolite/conv2d.h>
#include <convolite/error.h>

#include <algorithm>

namespace convolite {
namespace {

constexpr Index kLargestImage = Index{1} << 31;  // offsets inside one image are 32 bits wide
constexpr Index kLargestRow = Index{1} << 25;    // as are those of a row of tiles, 48 lanes wide

void check_positive(const char* name, HW value) {
  if (value.h < 1 || value.w < 1) fail("conv2d: ", name, " must be positive, got ", value);
}

void check_channels(const Nchw& input, const Nchw& weight, Index groups) {
  if (groups < 1) fail("conv2d: groups must be positive, got ", groups);
  if (input.c % groups != 0) {
    fail("conv2d: input has ", input.c, " channels, which ", groups,
         " groups do not divide (input.shape = ", input, ")");
  }
  if (weight.n % groups != 0) {
    fail("conv2d: filters has ", weight.n, " output channels, which ", groups,
         " groups do not divide (filters.shape = ", weight, ")");
  }
  if (input.c != weight.c * groups) {
    fail("conv2d: input has ", input.c, " channels but filters expect ", weight.c * groups,
         " (filters.shape = ", weight, ", groups = ", groups, ")");
  }
}

Index extent(Index size, Index before, Index after, Index span, Index stride) {
  return (size + before + after - span) / stride + 1;
}

}  // namespace

Conv2dShape Conv2dShape::infer(const Nchw& input, const Nchw& weight, HW stride,
                               const Padding& padding, HW dilation, Index groups) {
  check_channels(input, weight, groups);
  if (input.c < 1 || weight.n < 1) {
    fail("conv2d: channels must be positive (input.shape = ", input, ", filters.shape = ", weight,
         ")");
  }
  if (input.n < 0 || input.h < 0 || input.w < 0) {
    fail("conv2d: sizes must not be negative (input.shape = ", input, ")");
  }
  const HW kernel{weight.h, weight.w};
  check_positive("kernel size", kernel);
  check_positive("stride", stride);
  check_positive("dilation", dilation);
  if (padding.top < 0 || padding.bottom < 0 || padding.left < 0 || padding.right < 0) {
    fail("conv2d: padding must not be negative, got ", padding);
  }
  for (const Index value : {stride.h, stride.w, dilation.h, dilation.w, padding.top, padding.bottom,
                            padding.left, padding.right, input.h, input.w, kernel.h, kernel.w}) {
    if (value >= kLargestImage) fail("conv2d: sizes must be below 2^31, got ", value);
  }
  const HW span{(kernel.h - 1) * dilation.h + 1, (kernel.w - 1) * dilation.w + 1};
  const HW padded{input.h + padding.top + padding.bottom, input.w + padding.left + padding.right};
  if (span.h > padded.h || span.w > padded.w) {
    fail("conv2d: window does not fit, kernel ", kernel.h, "x", kernel.w, " with dilation ",
         dilation, " spans ", span.h, "x", span.w, " but the padded input is ", padded.h, "x",
         padded.w, " (input.shape = ", input, ", padding = ", padding, ")");
  }
  const Index longest = std::max({padded.h, padded.w, std::min(stride.h, input.h) * input.w,
                                  checked_product("conv2d", weight.c, kernel.h, kernel.w)});
  if (longest >= kLargestRow) {
    fail(
        "conv2d: a padded side, stride times width, and one filter must be below 2^25 "
        "(input.shape = ",
        input, ", filters.shape = ", weight, ", padding = ", padding, ")");
  }
  Conv2dShape shape;
  shape.input = input;
  shape.out_channels = weight.n;
  shape.kernel = kernel;
  shape.stride = stride;
  shape.padding = padding;
  shape.dilation = dilation;
  shape.groups = groups;
  shape.output = {extent(input.h, padding.top, padding.bottom, span.h, stride.h),
                  extent(input.w, padding.left, padding.right, span.w, stride.w)};
  checked_product("conv2d", input.n, input.c, input.h, input.w, 8);
  checked_product("conv2d", input.n, weight.n, shape.output.h, shape.output.w, 8);
  const Index largest =
      std::max({checked_product("conv2d", input.c, padded.h, padded.w),
                checked_product("conv2d", weight.n, shape.output.h, shape.output.w + span.w),
                checked_product("conv2d", weight.n, weight.c, kernel.h, kernel.w)});
  if (largest >= kLargestImage) {
    fail(
        "conv2d: one padded image and the filters must have fewer than 2^31 elements "
        "(input.shape = ",
        input, ", filters.shape = ", weight, ", padding = ", padding, ")");
  }
  return shape;
}

}  // namespace convolite
