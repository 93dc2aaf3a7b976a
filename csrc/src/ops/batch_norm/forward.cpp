// Batch normalisation forward: in training two passes over the input (statistics, then normalise
// and activate), in inference one. All of them are bound by memory.
#include <convolite/batch_norm.h>
#include <convolite/error.h>

#include <cassert>

#include "ops/batch_norm/coefficients.h"
#include "ops/batch_norm/statistics.h"
#include "ops/batch_norm/view.h"
#include "runtime/isa.h"

namespace convolite {

using namespace batch_norm;

namespace {

template <class T>
void normalise(const BatchNormShape& shape, const View& view, Span<const T> input,
               const ForwardCoefficients<T>& coefficients, Span<const T> residual, Span<T> output) {
  const NormKernels<T>& norm = kernels<T>().norm;
  const int per_element = view.by_planes ? 0 : 1;
  if (residual.size != 0) {
    for_each_run(view, shape.size(), [&](Index offset, Index column) {
      norm.normalise_residual[per_element](view.run_length, input.data + offset,
                                           residual.data + offset, coefficients.at(column),
                                           output.data + offset);
    });
    return;
  }
  for_each_run(view, shape.size(), [&](Index offset, Index column) {
    norm.normalise[per_element](view.run_length, input.data + offset, coefficients.at(column),
                                output.data + offset);
  });
}

}  // namespace

BatchNormShape BatchNormShape::infer(const std::vector<Index>& input_shape, bool training) {
  const char* op = "batch_norm";
  if (input_shape.size() < 2 || input_shape.size() > 4) {
    fail(op, ": input must have 2 to 4 axes (n, c), (n, c, l) or (n, c, h, w), got input.shape = ",
         shape_text(input_shape));
  }
  BatchNormShape shape{input_shape[0], input_shape[1], 1};
  for (std::size_t i = 2; i < input_shape.size(); ++i) {
    shape.length = checked_product(op, shape.length, input_shape[i]);
  }
  checked_product(op, shape.n, shape.c, shape.length, 8);
  if (training && shape.count() == 1) {
    fail(op, ": training needs more than one value per channel, got input.shape = ",
         shape_text(input_shape));
  }
  return shape;
}

template <class T>
void batch_norm_forward_training(const BatchNormShape& shape, Span<const T> input,
                                 const BatchNormAffine<T>& affine,
                                 const RunningStatistics<T>& running, double eps,
                                 Activation activation, Span<T> output, Span<T> mean,
                                 Span<T> inv_std, Span<const T> residual) {
  assert(input.size == shape.size() && output.size == shape.size());
  assert(residual.size == 0 || residual.size == shape.size());
  assert(mean.size == shape.c && inv_std.size == shape.c);
  check_eps(eps);
  if (shape.count() == 0) {  // nothing to learn from: the running statistics stay
    std::fill_n(mean.data, shape.c, T(0));
    std::fill_n(inv_std.data, shape.c, T(0));
    return;
  }
  const View view(shape);
  batch_statistics(shape, view, input, running, eps, mean, inv_std);
  normalise(shape, view, input,
            ForwardCoefficients<T>(view, shape, affine, mean, inv_std, activation), residual,
            output);
}

template <class T>
void batch_norm_forward_inference(const BatchNormShape& shape, Span<const T> input,
                                  const BatchNormAffine<T>& affine, Span<const T> running_mean,
                                  Span<const T> running_var, double eps, Activation activation,
                                  Span<T> output, Span<const T> residual) {
  assert(input.size == shape.size() && output.size == shape.size());
  assert(residual.size == 0 || residual.size == shape.size());
  check_eps(eps);
  const View view(shape);
  const Buffer<T> inv_std(shape.c);
  inverse_deviations(running_var, eps, {inv_std.get(), shape.c});
  normalise(shape, view, input,
            ForwardCoefficients<T>(view, shape, affine, running_mean, {inv_std.get(), shape.c},
                                   activation),
            residual, output);
}

template <class T>
void batch_norm_inverse_deviation(Span<const T> running_var, double eps, Span<T> inv_std) {
  assert(running_var.size == inv_std.size);
  check_eps(eps);
  inverse_deviations(running_var, eps, inv_std);
}

#define CONVOLITE_INSTANTIATE(T)                                                                  \
  template void batch_norm_forward_training(                                                      \
      const BatchNormShape&, Span<const T>, const BatchNormAffine<T>&,                            \
      const RunningStatistics<T>&, double, Activation, Span<T>, Span<T>, Span<T>, Span<const T>); \
  template void batch_norm_forward_inference(                                                     \
      const BatchNormShape&, Span<const T>, const BatchNormAffine<T>&, Span<const T>,             \
      Span<const T>, double, Activation, Span<T>, Span<const T>);                                 \
  template void batch_norm_inverse_deviation(Span<const T>, double, Span<T>);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
