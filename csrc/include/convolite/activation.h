// Activation functions and their gradients, element by element, with PyTorch's formulas.
#pragma once

#include <convolite/types.h>

namespace convolite {

// The fused epilogues of other ops have their own, shorter list: `Activation` in types.h.
enum class ActivationFunction {
  relu,
  leaky_relu,  // parameter: slope left of 0
  relu6,
  elu,  // parameter: alpha
  gelu,
  gelu_tanh,
  silu,
  hardswish,
  hardsigmoid,
  sigmoid,
  tanh,
};

// Functions without a parameter ignore it. Input and output may be the same memory.
template <class T>
void activation_forward(ActivationFunction, T parameter, Span<const T> input, Span<T> output);

// saved: the output of relu, relu6, sigmoid and tanh; the input of the others.
template <class T>
void activation_backward(ActivationFunction, T parameter, Span<const T> grad_output,
                         Span<const T> saved, Span<T> grad_input);

}  // namespace convolite
