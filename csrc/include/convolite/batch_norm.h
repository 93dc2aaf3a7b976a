// Batch normalisation over every axis but the channels: training, inference, gradients.
#pragma once

#include <convolite/pool2d.h>
#include <convolite/types.h>

#include <vector>

namespace convolite {

// (n, c), (n, c, l) or (n, c, h, w), seen as n images of c channels of `length` values.
struct BatchNormShape {
  Index n = 0, c = 0, length = 0;

  // The only validator. Training needs more than one value per channel, or none at all.
  static BatchNormShape infer(const std::vector<Index>& input_shape, bool training);

  Index size() const { return n * c * length; }
  Index count() const { return n * length; }  // values per channel
};

// gamma and beta, both (c), or empty for 1 and 0.
template <class T>
struct BatchNormAffine {
  Span<const T> weight, bias;
};

// Statistics for inference, (c) each or empty. Training moves them: running = (1 - momentum) *
// running + momentum * the batch's statistic, where the variance is the unbiased one.
template <class T>
struct RunningStatistics {
  Span<T> mean, var;
  double momentum = 0.1;
};

// Normalises with the batch's own mean and biased variance, then scales, shifts, adds a residual
// (n, c, length) if there is one, and activates: output (n, c, length), mean and inv_std = 1 /
// sqrt(variance + eps) (c).
template <class T>
void batch_norm_forward_training(const BatchNormShape&, Span<const T> input,
                                 const BatchNormAffine<T>&, const RunningStatistics<T>&, double eps,
                                 Activation, Span<T> output, Span<T> mean, Span<T> inv_std,
                                 Span<const T> residual = {});

// Normalises with statistics gathered before.
template <class T>
void batch_norm_forward_inference(const BatchNormShape&, Span<const T> input,
                                  const BatchNormAffine<T>&, Span<const T> running_mean,
                                  Span<const T> running_var, double eps, Activation, Span<T> output,
                                  Span<const T> residual = {});

// The same as a factor and a shift for each channel: the normalisation of `input + input_bias` is
// scale * input + shift, all (c), input_bias (c) or empty. A convolution takes them as its
// epilogue.
template <class T>
void batch_norm_fold(const BatchNormAffine<T>&, Span<const T> running_mean,
                     Span<const T> running_var, double eps, Span<const T> input_bias, Span<T> scale,
                     Span<T> shift);

// What backward needs of statistics gathered before: inv_std = 1 / sqrt(running_var + eps) (c).
template <class T>
void batch_norm_inverse_deviation(Span<const T> running_var, double eps, Span<T> inv_std);

// grad_output and input (n, c, length), mean and inv_std (c) as forward used them -> grad_input
// (n, c, length), grad_weight and grad_bias (c). With an activation, grad_output is what arrives
// behind it. Where forward added a residual in front of an activation, `output` is what it gave,
// and grad_residual (n, c, length) receives what passes the activation. `training`: mean and
// inv_std were computed from this input, and depend on it.
template <class T>
void batch_norm_backward(const BatchNormShape&, Span<const T> grad_output, Span<const T> input,
                         const BatchNormAffine<T>&, Span<const T> mean, Span<const T> inv_std,
                         bool training, Activation, Span<T> grad_input, Span<T> grad_weight,
                         Span<T> grad_bias, Span<const T> output = {}, Span<T> grad_residual = {});

// Batch norm, max pooling and activation in one pass: the normalised image is pooled while it is in
// the cache, and never goes to memory. Its gradient is that of the parts: max_pool2d_backward, then
// batch_norm_backward without an activation.
struct PooledBatchNormShape {
  BatchNormShape norm;
  Pool2dShape pool;

  // The only validator.
  static PooledBatchNormShape infer(const Nchw& input, const PoolWindow&, bool training);
};

// input (n, c, h, w) -> output and offsets (n, c, oh, ow) as max_pool2d_forward gives them; the
// rest as batch_norm_forward_training and batch_norm_forward_inference.
template <class T, class Offset>
void pooled_batch_norm_forward_training(const PooledBatchNormShape&, Span<const T> input,
                                        const BatchNormAffine<T>&, const RunningStatistics<T>&,
                                        double eps, Activation, Span<T> output,
                                        Span<Offset> offsets, Span<T> mean, Span<T> inv_std);
template <class T, class Offset>
void pooled_batch_norm_forward_inference(const PooledBatchNormShape&, Span<const T> input,
                                         const BatchNormAffine<T>&, Span<const T> running_mean,
                                         Span<const T> running_var, double eps, Activation,
                                         Span<T> output, Span<Offset> offsets);

}  // namespace convolite
