// Sum, mean, maximum and minimum of a dense array over any of its axes.
#pragma once

#include <convolite/types.h>

#include <vector>

namespace convolite {

enum class Reduction { sum, mean, maximum, minimum };

struct ReduceShape {
  // Neighbouring axes that are both kept or both reduced count as one. Strides are in elements.
  struct Axis {
    Index size, stride;
  };
  std::vector<Index> output;         // lengths of the result's axes
  std::vector<Axis> kept, reduced;   // outermost first; none of length 1
  Index output_size = 1, count = 1;  // elements of the result; elements that each one combines

  // The only validator. Axes may be negative and come in any order; keepdims leaves reduced axes as
  // axes of length 1. Fails, in the name of `op`, on axes that are wrong, and on an extremum of
  // nothing.
  static ReduceShape infer(const char* op, Reduction, const std::vector<Index>& input,
                           const std::vector<Index>& axes, bool keepdims);
};

// A sum is rounded in T over short blocks and in double beyond, in an order fixed by the shape. NaN
// wins over every extremum. The mean of nothing is NaN, the sum 0.
template <class T>
void reduce(Reduction, const ReduceShape&, Span<const T> input, Span<T> output);

// The gradient of a sum or mean: every summand gets the result's gradient, or its share of it.
// grad_output like the result, grad_input like the input.
template <class T>
void reduce_backward(Reduction, const ReduceShape&, Span<const T> grad_output, Span<T> grad_input);

}  // namespace convolite
