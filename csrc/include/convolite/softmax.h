// Softmax and its logarithm along one axis, with their gradients.
#pragma once

#include <convolite/types.h>

#include <vector>

namespace convolite {

// A dense array seen as (outer, length, inner), normalised along the middle axis.
struct SoftmaxShape {
  Index outer = 1, length = 1, inner = 1;

  // The only validator: fails, in the name of `op`, if there is no such axis. Negative axes count
  // from the end.
  static SoftmaxShape infer(const char* op, const std::vector<Index>& input, Index axis);

  Index size() const { return outer * length * inner; }
};

// NaN, or an infinite largest entry, makes all entries along the axis NaN.
template <class T>
void softmax_forward(const SoftmaxShape&, Span<const T> input, Span<T> output);
template <class T>
void log_softmax_forward(const SoftmaxShape&, Span<const T> input, Span<T> output);

// From the output y of the forward call: y (g - sum g y), and g - exp(y) sum g.
template <class T>
void softmax_backward(const SoftmaxShape&, Span<const T> grad_output, Span<const T> output,
                      Span<T> grad_input);
template <class T>
void log_softmax_backward(const SoftmaxShape&, Span<const T> grad_output, Span<const T> output,
                          Span<T> grad_input);

}  // namespace convolite
