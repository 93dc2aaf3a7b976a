// The activations that other ops apply to what they have just computed.
#pragma once

#include <convolite/types.h>

#include "runtime/isa.h"

namespace convolite {

// For any but Activation::none.
template <class T>
const ActivationKernel<T>& fused_activation(Activation activation) {
  const ActivationKernels<T>& table = kernels<T>().activation;
  return activation == Activation::relu6 ? table.relu6 : table.relu;
}

}  // namespace convolite
