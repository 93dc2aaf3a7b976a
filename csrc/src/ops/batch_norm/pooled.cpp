// Batch normalisation with max pooling behind it: one pass over the input where the parts take two
// in inference and three in training. Bound by memory: planes in between stay in the L2 cache.
// The gradient is that of the parts: a fused one would read as much, and compute more.
#include <convolite/batch_norm.h>

#include <cassert>

#include "ops/batch_norm/coefficients.h"
#include "ops/batch_norm/statistics.h"
#include "ops/batch_norm/view.h"
#include "ops/pool2d/max_planes.h"
#include "ops/pool2d/tasks.h"
#include "runtime/isa.h"

namespace convolite {

using namespace batch_norm;
using namespace pool2d;

namespace {

template <class T, class Offset>
void normalise_and_pool(const PooledBatchNormShape& shape, Span<const T> input,
                        const ForwardCoefficients<T>& coefficients, Activation activation,
                        Span<T> output, Span<Offset> offsets) {
  const NormKernels<T>& norm = kernels<T>().norm;
  const Index pixels = shape.norm.length, pooled = shape.pool.output.h * shape.pool.output.w;
  const Index planes = shape.pool.planes(), block = planes_per_task(shape.pool.input);
  const Workers workers{worker_count(ceil_divide(planes, block), input.size + output.size)};
  const MaxForward<T, Offset> pool(shape.pool, activation, workers.count);
  const WorkerScratch<T> scratch(workers.count, block * pixels);
  parallel_blocks(planes, block, workers, [&](Index begin, Index end, int worker) {
    T* const normalised = scratch.of(worker);
    for (Index plane = begin; plane < end; ++plane) {
      norm.normalise[0](pixels, input.data + plane * pixels, coefficients.at(plane % shape.norm.c),
                        normalised + (plane - begin) * pixels);
    }
    pool.run(end - begin, normalised, output.data + begin * pooled, offsets.data + begin * pooled,
             worker);
  });
}

// For planes shorter than a vector, which are normalised by rows of channels: pooling cannot follow
// those, and runs behind them.
template <class T, class Offset, class Norm>
void in_two_steps(const PooledBatchNormShape& shape, Activation activation, Span<T> output,
                  Span<Offset> offsets, const Norm& norm) {
  const Buffer<T> normalised(shape.norm.size());
  norm(Span<T>{normalised.get(), shape.norm.size()});
  max_pool2d_forward(shape.pool, Span<const T>{normalised.get(), shape.norm.size()}, activation,
                     output, offsets);
}

}  // namespace

PooledBatchNormShape PooledBatchNormShape::infer(const Nchw& input, const PoolWindow& window,
                                                 bool training) {
  return {BatchNormShape::infer({input.n, input.c, input.h, input.w}, training),
          Pool2dShape::infer("max_pool2d", input, window)};
}

template <class T, class Offset>
void pooled_batch_norm_forward_training(const PooledBatchNormShape& shape, Span<const T> input,
                                        const BatchNormAffine<T>& affine,
                                        const RunningStatistics<T>& running, double eps,
                                        Activation activation, Span<T> output, Span<Offset> offsets,
                                        Span<T> mean, Span<T> inv_std) {
  assert(input.size == shape.norm.size() && output.size == shape.pool.output_size());
  const View view(shape.norm);
  if (!view.by_planes || shape.norm.count() == 0) {
    return in_two_steps(shape, activation, output, offsets, [&](Span<T> normalised) {
      batch_norm_forward_training(shape.norm, input, affine, running, eps, Activation::none,
                                  normalised, mean, inv_std);
    });
  }
  check_eps(eps);
  batch_statistics(shape.norm, view, input, running, eps, mean, inv_std);
  const ForwardCoefficients<T> coefficients(view, shape.norm, affine, mean, inv_std,
                                            Activation::none);
  normalise_and_pool(shape, input, coefficients, activation, output, offsets);
}

template <class T, class Offset>
void pooled_batch_norm_forward_inference(const PooledBatchNormShape& shape, Span<const T> input,
                                         const BatchNormAffine<T>& affine,
                                         Span<const T> running_mean, Span<const T> running_var,
                                         double eps, Activation activation, Span<T> output,
                                         Span<Offset> offsets) {
  assert(input.size == shape.norm.size() && output.size == shape.pool.output_size());
  const View view(shape.norm);
  if (!view.by_planes) {
    return in_two_steps(shape, activation, output, offsets, [&](Span<T> normalised) {
      batch_norm_forward_inference(shape.norm, input, affine, running_mean, running_var, eps,
                                   Activation::none, normalised);
    });
  }
  check_eps(eps);
  const Buffer<T> inv_std(shape.norm.c);
  inverse_deviations(running_var, eps, {inv_std.get(), shape.norm.c});
  const ForwardCoefficients<T> coefficients(view, shape.norm, affine, running_mean,
                                            {inv_std.get(), shape.norm.c}, Activation::none);
  normalise_and_pool(shape, input, coefficients, activation, output, offsets);
}

#define CONVOLITE_INSTANTIATE(T, Offset)                                                         \
  template void pooled_batch_norm_forward_training(                                              \
      const PooledBatchNormShape&, Span<const T>, const BatchNormAffine<T>&,                     \
      const RunningStatistics<T>&, double, Activation, Span<T>, Span<Offset>, Span<T>, Span<T>); \
  template void pooled_batch_norm_forward_inference(                                             \
      const PooledBatchNormShape&, Span<const T>, const BatchNormAffine<T>&, Span<const T>,      \
      Span<const T>, double, Activation, Span<T>, Span<Offset>);
CONVOLITE_INSTANTIATE(float, std::uint8_t)
CONVOLITE_INSTANTIATE(float, std::int32_t)
CONVOLITE_INSTANTIATE(double, std::uint8_t)
CONVOLITE_INSTANTIATE(double, std::int32_t)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
