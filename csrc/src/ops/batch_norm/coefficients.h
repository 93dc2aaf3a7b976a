// The per-channel numbers of the normalisation formula, laid out as the kernels want them.
#pragma once

#include <convolite/batch_norm.h>

#include <limits>

#include "kernels/table.h"
#include "ops/batch_norm/view.h"

namespace convolite::batch_norm {

template <class T>
double weight_of(const BatchNormAffine<T>& affine, Index channel) {
  return affine.weight.size != 0 ? static_cast<double>(affine.weight[channel]) : 1.0;
}

// The coefficients of the forward formula, which backward needs as well to know what the clamp cut
// off.
template <class T>
class ForwardCoefficients {
 public:
  ForwardCoefficients(const View& view, const BatchNormShape& shape,
                      const BatchNormAffine<T>& affine, Span<const T> mean, Span<const T> inv_std,
                      Activation activation)
      : mean_(view), scale_(view), shift_(view) {
    for (Index c = 0; c < shape.c; ++c) {
      mean_.set(c, static_cast<double>(mean[c]));
      scale_.set(c, weight_of(affine, c) * static_cast<double>(inv_std[c]));
      shift_.set(c, affine.bias.size != 0 ? static_cast<double>(affine.bias[c]) : 0.0);
    }
    const T none = std::numeric_limits<T>::quiet_NaN();
    arguments_.mean = mean_.get();
    arguments_.scale = scale_.get();
    arguments_.shift = shift_.get();
    arguments_.low = activation == Activation::none ? none : T(0);
    arguments_.high = activation == Activation::relu6 ? T(6) : none;
  }

  // For a run whose first coefficient is number `column`.
  NormArguments<T> at(Index column) const {
    NormArguments<T> arguments = arguments_;
    arguments.mean += column;
    arguments.scale += column;
    arguments.shift += column;
    return arguments;
  }

 private:
  ColumnValues<T> mean_, scale_, shift_;
  NormArguments<T> arguments_{};
};

}  // namespace convolite::batch_norm
