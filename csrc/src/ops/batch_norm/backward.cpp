// Batch normalisation backward: two passes over the input and the gradient (sums, then the gradient
// of the input), both bound by memory. A fused activation's derivative is recomputed on the way;
// with a residual, the first pass stores what passes the activation, and the second reads that.
#include <convolite/batch_norm.h>

#include <cassert>

#include "ops/batch_norm/coefficients.h"
#include "ops/batch_norm/view.h"
#include "runtime/isa.h"

namespace convolite {

using namespace batch_norm;

namespace {

// The gradient that passes the activation, read off the activation's output.
template <class T>
struct Gate {
  Activation activation;
  Span<const T> grad_output, output;
  Span<T> passed;

  void run(Index offset, Index count) const {
    const ActivationKernels<T>& kernel = kernels<T>().activation;
    (activation == Activation::relu6 ? kernel.relu6 : kernel.relu)
        .backward(grad_output.data + offset, output.data + offset, count, T(0),
                  passed.data + offset);
  }
};

// Sums of the gradient and of its product with input - mean, for each channel. With a gate,
// grad_output is its result, made plane by plane just before it is summed.
template <class T>
void gradient_sums(const BatchNormShape& shape, const View& view, Span<const T> grad_output,
                   Span<const T> input, const ForwardCoefficients<T>& coefficients,
                   const Gate<T>* gate, const Buffer<double>& first, const Buffer<double>& second) {
  if (gate != nullptr && !view.by_planes) {
    for_each_run(view, shape.size(),
                 [&](Index offset, Index) { gate->run(offset, view.run_length); });
  }
  const NormKernels<T>& norm = kernels<T>().norm;
  const Partials<2> parts(view);
  const Workers workers = view.block_workers(shape.size());
  const WorkerScratch<double> scratch(workers.count, 2 * view.widest_block());
  for_each_block(view, workers, [&](const Block& block, int worker) {
    const Index image = block.group * view.images, images = view.images_of(block.group);
    double* firsts = parts.of(block.group, 0);
    double* seconds = parts.of(block.group, 1);
    if (!view.by_planes) {
      double* sums = scratch.of(worker);
      const Index offset = image * view.columns + block.begin;
      norm.column_gradient_sums(images, block.count, view.columns, grad_output.data + offset,
                                input.data + offset, coefficients.at(block.begin), sums);
      std::copy_n(sums, block.count, firsts + block.begin);
      std::copy_n(sums + block.count, block.count, seconds + block.begin);
      return;
    }
    for (Index column = block.begin; column < block.begin + block.count; ++column) {
      double sums[2] = {0, 0};
      for (Index i = 0; i < images; ++i) {
        const Index offset = ((image + i) * view.columns + column) * view.run_length;
        if (gate != nullptr) gate->run(offset, view.run_length);
        norm.gradient_sums(view.run_length, grad_output.data + offset, input.data + offset,
                           coefficients.at(column), sums);
      }
      firsts[column] = sums[0];
      seconds[column] = sums[1];
    }
  });
  for (Index channel = 0; channel < shape.c; ++channel) {
    first[channel] = second[channel] = 0;
    for (Index group = 0; group < view.groups; ++group) {
      for (Index i = channel * view.spread; i < (channel + 1) * view.spread; ++i) {
        first[channel] += parts.of(group, 0)[i];
        second[channel] += parts.of(group, 1)[i];
      }
    }
  }
}

}  // namespace

// With x_hat = (input - mean) * inv_std, Ioffe & Szegedy 2015, section 3:
//   grad_input = weight * inv_std * (g - mean(g) - x_hat * mean(g * x_hat))
// which is g * factor + (input - mean) * slope + constant.
template <class T>
void batch_norm_backward(const BatchNormShape& shape, Span<const T> grad_output,
                         Span<const T> input, const BatchNormAffine<T>& affine, Span<const T> mean,
                         Span<const T> inv_std, bool training, Activation activation,
                         Span<T> grad_input, Span<T> grad_weight, Span<T> grad_bias,
                         Span<const T> output, Span<T> grad_residual) {
  assert(input.size == shape.size() && grad_output.size == shape.size());
  assert(grad_input.size == shape.size() && grad_residual.size == output.size);
  assert(output.size == 0 || activation != Activation::none);
  const View view(shape);
  const bool gated = output.size != 0;
  const Gate<T> gate{activation, grad_output, output, grad_residual};
  if (gated) {
    grad_output = {grad_residual.data, grad_residual.size};
    activation = Activation::none;
  }
  const ForwardCoefficients<T> forward(view, shape, affine, mean, inv_std, activation);
  const Buffer<double> sum(shape.c), product_sum(shape.c);
  gradient_sums(shape, view, grad_output, input, forward, gated ? &gate : nullptr, sum,
                product_sum);
  ColumnValues<T> factor(view), slope(view), constant(view);
  const double count = static_cast<double>(std::max<Index>(1, shape.count()));
  for (Index c = 0; c < shape.c; ++c) {
    const double deviation = static_cast<double>(inv_std[c]);
    const double scale = weight_of(affine, c) * deviation;
    factor.set(c, scale);
    slope.set(c, -scale * deviation * deviation * product_sum[c] / count);
    constant.set(c, -scale * sum[c] / count);
    grad_weight[c] = static_cast<T>(product_sum[c] * deviation);
    grad_bias[c] = static_cast<T>(sum[c]);
  }
  const auto kernel = kernels<T>().norm.gradient[training ? 1 : 0][view.by_planes ? 0 : 1];
  for_each_run(view, shape.size(), [&](Index offset, Index column) {
    NormArguments<T> arguments = forward.at(column);
    arguments.factor = factor.get() + column;
    arguments.slope = slope.get() + column;
    arguments.constant = constant.get() + column;
    kernel(view.run_length, grad_output.data + offset, input.data + offset, arguments,
           grad_input.data + offset);
  });
}

#define CONVOLITE_INSTANTIATE(T)                                                                   \
  template void batch_norm_backward(const BatchNormShape&, Span<const T>, Span<const T>,           \
                                    const BatchNormAffine<T>&, Span<const T>, Span<const T>, bool, \
                                    Activation, Span<T>, Span<T>, Span<T>, Span<const T>,          \
                                    Span<T>);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
