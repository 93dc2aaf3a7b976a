// The gradient of the bias, and what of a gradient passes the fused activation: one reading of the
// gradient for both, plane by plane.
#include <convolite/activation.h>
#include <convolite/conv2d.h>

#include <algorithm>
#include <cassert>

#include "ops/fused_activation.h"
#include "ops/plane_sums.h"
#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {
namespace {

constexpr Index kTaskPixels = 1 << 14;  // 64 KB of floats

// sum(first element, planes, sums) for runs of planes of the gradient; their sums become grad_bias.
template <class T, class Sum>
void sum_planes(const Nchw& result, Span<T> grad_bias, const Sum& sum) {
  const PlaneSums<T> sums(result, grad_bias);
  const Index pixels = result.pixels();
  const Index block = std::max<Index>(1, kTaskPixels / std::max<Index>(1, pixels));
  parallel_blocks(result.n * result.c, block, result.size(), [&](Index begin, Index end, int) {
    sum(begin * pixels, end - begin, sums.from(begin));
  });
  sums.finish();
}

}  // namespace

template <class T>
void conv2d_backward_bias(const Nchw& result, Span<const T> grad_output, Span<T> grad_bias) {
  assert(grad_output.size == result.size() && grad_bias.size == result.c);
  const Index pixels = result.pixels();
  const auto sum = kernels<T>().bias.sum;
  sum_planes(result, grad_bias, [&](Index first, Index planes, double* sums) {
    sum(grad_output.data + first, planes, pixels, sums);
  });
}

template <class T>
void conv2d_backward_epilogue(const Nchw& result, Activation activation, Span<const T> grad_output,
                              Span<const T> output, Span<T> passed, Span<T> grad_bias) {
  assert(activation != Activation::none);
  assert(grad_output.size == result.size() && output.size == result.size());
  if (grad_bias.size == 0) {
    if (passed.size != 0) fused_activation_backward(activation, grad_output, output, passed);
    return;
  }
  const Index pixels = result.pixels();
  const PassKernel<T>& kernel = pass_kernel<T>(activation);
  if (passed.size == 0) {
    return sum_planes(result, grad_bias, [&](Index first, Index planes, double* sums) {
      kernel.sum_passed(grad_output.data + first, output.data + first, planes, pixels, sums);
    });
  }
  sum_planes(result, grad_bias, [&](Index first, Index planes, double* sums) {
    kernel.pass_and_sum(grad_output.data + first, output.data + first, planes, pixels,
                        passed.data + first, sums);
  });
}

#define CONVOLITE_INSTANTIATE(T)                                                                \
  template void conv2d_backward_bias(const Nchw&, Span<const T>, Span<T>);                      \
  template void conv2d_backward_epilogue(const Nchw&, Activation, Span<const T>, Span<const T>, \
                                         Span<T>, Span<T>);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
