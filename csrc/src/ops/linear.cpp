// linear and matmul as calls of the blocked GEMM.
#include <convolite/error.h>
#include <convolite/linear.h>

#include <cassert>

#include "gemm/gemm.h"

namespace convolite {
namespace {

constexpr Index kLargestSide = Index{1} << 28;  // tile offsets are 32 bits wide

void check_side(const char* op, const char* name, Index value) {
  if (value < 0 || value >= kLargestSide) {
    fail(op, ": ", name, " must be from 0 to ", kLargestSide - 1, ", got ", value);
  }
}

}  // namespace

LinearShape LinearShape::infer(Index batch, Index in_features, Index out_features) {
  check_side("linear", "in_features", in_features);
  check_side("linear", "out_features", out_features);
  if (batch < 0) fail("linear: batch must not be negative, got ", batch);
  checked_product("linear", batch, in_features, 8);
  checked_product("linear", batch, out_features, 8);
  return {batch, in_features, out_features};
}

MatmulShape MatmulShape::infer(Index a_rows, Index a_columns, Index b_rows, Index b_columns) {
  if (a_columns != b_rows) {
    fail("matmul: a has ", a_columns, " columns but b has ", b_rows, " rows (a.shape = (", a_rows,
         ", ", a_columns, "), b.shape = (", b_rows, ", ", b_columns, "))");
  }
  check_side("matmul", "columns of a", a_columns);
  check_side("matmul", "columns of b", b_columns);
  checked_product("matmul", a_rows, b_columns, 8);
  return {a_rows, b_columns, a_columns};
}

template <class T>
void linear_forward(const LinearShape& shape, Span<const T> input, Span<const T> weight,
                    Span<const T> bias, Activation activation, Span<T> output) {
  assert(input.size == shape.input_size() && weight.size == shape.weight_size());
  assert(output.size == shape.output_size());
  gemm<T>({shape.batch, shape.out_features, shape.in_features}, {input.data, shape.in_features, 1},
          {weight.data, 1, shape.in_features}, output.data, {bias.data, activation});
}

template <class T>
void linear_backward_input(const LinearShape& shape, Span<const T> grad_output,
                           Span<const T> weight, Span<T> grad_input) {
  gemm<T>({shape.batch, shape.in_features, shape.out_features},
          {grad_output.data, shape.out_features, 1}, {weight.data, shape.in_features, 1},
          grad_input.data, {});
}

template <class T>
void linear_backward_weight(const LinearShape& shape, Span<const T> grad_output,
                            Span<const T> input, Span<T> grad_weight) {
  gemm<T>({shape.out_features, shape.in_features, shape.batch},
          {grad_output.data, 1, shape.out_features}, {input.data, shape.in_features, 1},
          grad_weight.data, {});
}

template <class T>
void matmul(const MatmulShape& shape, Span<const T> a, Span<const T> b, Span<T> output) {
  gemm<T>({shape.m, shape.n, shape.k}, {a.data, shape.k, 1}, {b.data, shape.n, 1}, output.data, {});
}

#define CONVOLITE_INSTANTIATE(T)                                                                   \
  template void linear_forward(const LinearShape&, Span<const T>, Span<const T>, Span<const T>,    \
                               Activation, Span<T>);                                               \
  template void linear_backward_input(const LinearShape&, Span<const T>, Span<const T>, Span<T>);  \
  template void linear_backward_weight(const LinearShape&, Span<const T>, Span<const T>, Span<T>); \
  template void matmul(const MatmulShape&, Span<const T>, Span<const T>, Span<T>);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
