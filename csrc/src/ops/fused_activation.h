// The activations that other ops apply to what they have just computed.
#pragma once

#include <convolite/activation.h>
#include <convolite/types.h>

#include "runtime/isa.h"

namespace convolite {

// These are for any but Activation::none.

template <class T>
const ActivationKernel<T>& fused_activation(Activation activation) {
  const ActivationKernels<T>& table = kernels<T>().activation;
  return activation == Activation::relu6 ? table.relu6 : table.relu;
}

template <class T>
const PassKernel<T>& pass_kernel(Activation activation) {
  const BiasKernels<T>& table = kernels<T>().bias;
  return activation == Activation::relu6 ? table.relu6 : table.relu;
}

// What of grad_output passes; grad_input may be its memory.
template <class T>
void fused_activation_backward(Activation activation, Span<const T> grad_output,
                               Span<const T> output, Span<T> grad_input) {
  activation_backward(
      activation == Activation::relu6 ? ActivationFunction::relu6 : ActivationFunction::relu, T(0),
      grad_output, output, grad_input);
}

}  // namespace convolite
