// Cuts activation functions into blocks; the kernels do the rest.
#include <convolite/activation.h>

#include <cassert>

#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {
namespace {

constexpr Index kBlock = 1 << 14;  // elements of one task: 64 KB of floats, half of them in cache

template <class T>
const ActivationKernel<T>& kernel_of(ActivationFunction function) {
  const ActivationKernels<T>& table = kernels<T>().activation;
  switch (function) {
    case ActivationFunction::relu:
      return table.relu;
    case ActivationFunction::leaky_relu:
      return table.leaky_relu;
    case ActivationFunction::relu6:
      return table.relu6;
    case ActivationFunction::elu:
      return table.elu;
    case ActivationFunction::gelu:
      return table.gelu;
    case ActivationFunction::gelu_tanh:
      return table.gelu_tanh;
    case ActivationFunction::silu:
      return table.silu;
    case ActivationFunction::hardswish:
      return table.hardswish;
    case ActivationFunction::hardsigmoid:
      return table.hardsigmoid;
    case ActivationFunction::sigmoid:
      return table.sigmoid;
    case ActivationFunction::tanh:
      break;
  }
  return table.tanh;
}

}  // namespace

template <class T>
void activation_forward(ActivationFunction function, T parameter, Span<const T> input,
                        Span<T> output) {
  assert(input.size == output.size);
  const auto kernel = kernel_of<T>(function).forward;
  parallel_blocks(input.size, kBlock, input.size, [&](Index begin, Index end, int) {
    kernel(input.data + begin, end - begin, parameter, output.data + begin);
  });
}

template <class T>
void activation_backward(ActivationFunction function, T parameter, Span<const T> grad_output,
                         Span<const T> saved, Span<T> grad_input) {
  assert(grad_output.size == saved.size && saved.size == grad_input.size);
  const auto kernel = kernel_of<T>(function).backward;
  parallel_blocks(saved.size, kBlock, saved.size, [&](Index begin, Index end, int) {
    kernel(grad_output.data + begin, saved.data + begin, end - begin, parameter,
           grad_input.data + begin);
  });
}

#define CONVOLITE_INSTANTIATE(T)                                                   \
  template void activation_forward(ActivationFunction, T, Span<const T>, Span<T>); \
  template void activation_backward(ActivationFunction, T, Span<const T>, Span<const T>, Span<T>);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
