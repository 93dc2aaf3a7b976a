// Normalisation by statistics gathered before as two numbers for each channel.
#include <convolite/batch_norm.h>

#include <cassert>
#include <cmath>

#include "ops/batch_norm/coefficients.h"
#include "ops/batch_norm/statistics.h"

namespace convolite {

using namespace batch_norm;

template <class T>
void batch_norm_fold(const BatchNormAffine<T>& affine, Span<const T> running_mean,
                     Span<const T> running_var, double eps, Span<const T> input_bias, Span<T> scale,
                     Span<T> shift) {
  assert(running_mean.size == scale.size && shift.size == scale.size);
  check_eps(eps);
  for (Index c = 0; c < scale.size; ++c) {
    const double deviation = std::sqrt(static_cast<double>(running_var[c]) + eps);
    scale[c] = static_cast<T>(weight_of(affine, c) / deviation);
    const double bias = affine.bias.size != 0 ? static_cast<double>(affine.bias[c]) : 0.0;
    const double before = input_bias.size != 0 ? static_cast<double>(input_bias[c]) : 0.0;
    const double centred = before - static_cast<double>(running_mean[c]);
    shift[c] = static_cast<T>(bias + centred * static_cast<double>(scale[c]));
  }
}

#define CONVOLITE_INSTANTIATE(T)                                                                 \
  template void batch_norm_fold(const BatchNormAffine<T>&, Span<const T>, Span<const T>, double, \
                                Span<const T>, Span<T>, Span<T>);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
