// What the bindings of batch norm and of convolutions that normalise have in common.
#pragma once

#include <convolite/batch_norm.h>

#include "arrays.h"

namespace convolite::python {

template <class T>
struct AffineInputs {
  OptionalInput<T> weight, bias;

  AffineInputs(const py::object& weight_object, const py::object& bias_object, Index channels)
      : weight("batch_norm", "weight", weight_object), bias("batch_norm", "bias", bias_object) {
    if (weight.given()) check_shape("batch_norm", "weight", weight.get(), {channels});
    if (bias.given()) check_shape("batch_norm", "bias", bias.get(), {channels});
  }
  BatchNormAffine<T> spans() const { return {weight.span(), bias.span()}; }
};

// What a normalisation by statistics gathered before reads besides images.
template <class T>
struct NormInputs {
  AffineInputs<T> affine;
  Input<T> running_mean, running_var;

  NormInputs(const py::object& weight, const py::object& bias, const py::array& mean,
             const py::array& var, Index channels)
      : affine(weight, bias, channels),
        running_mean("batch_norm", "running_mean", mean),
        running_var("batch_norm", "running_var", var) {
    check_shape("batch_norm", "running_mean", running_mean, {channels});
    check_shape("batch_norm", "running_var", running_var, {channels});
  }
};

}  // namespace convolite::python
