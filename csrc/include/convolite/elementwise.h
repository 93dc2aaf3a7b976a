// Arithmetic element by element: one operand, or two that are broadcast by numpy's rules.
#pragma once

#include <convolite/types.h>

#include <vector>

namespace convolite {

enum class UnaryOperation { negative, exp, log, sqrt, abs, sign, reciprocal };

// equal gives 1 or 0. power_slope is the derivative of power(a, b) by a; exponent_slope that by the
// exponent, where b is the power itself. They are 0, not NaN, where b is 0 or where a finite power
// of 0 has no logarithm.
enum class BinaryOperation {
  add,
  subtract,
  multiply,
  divide,
  power,
  maximum,
  minimum,
  equal,
  power_slope,
  exponent_slope,
};

// Two operands of given shapes, aligned at their last axes; axes of length 1 are repeated.
struct BroadcastShape {
  // Neighbouring axes that are walked alike count as one. Strides are in elements, 0 where
  // repeated.
  struct Axis {
    Index size, a_stride, b_stride;
  };
  std::vector<Index> output;
  std::vector<Axis> axes;  // outermost first; none of length 1
  Index size = 1;          // elements of the output

  // The only validator: fails, in the name of `op`, if the shapes do not fit.
  static BroadcastShape infer(const char* op, const std::vector<Index>& a,
                              const std::vector<Index>& b);
};

// input and output have the same number of elements; they may be the same memory.
template <class T>
void unary(UnaryOperation, Span<const T> input, Span<T> output);

// a and b are dense arrays of the two shapes; one of the output's shape may be the same memory,
// but not a shifted part of it.
template <class T>
void binary(BinaryOperation, const BroadcastShape&, Span<const T> a, Span<const T> b,
            Span<T> output);

}  // namespace convolite
