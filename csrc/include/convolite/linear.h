// Fully connected layer: output = input weight^T + bias, and plain matrix multiplication.
#pragma once

#include <convolite/types.h>

namespace convolite {

struct LinearShape {
  Index batch = 0, in_features = 0, out_features = 0;

  // The only validator: fails on sizes that are negative or too large.
  static LinearShape infer(Index batch, Index in_features, Index out_features);

  Index input_size() const { return batch * in_features; }
  Index weight_size() const { return out_features * in_features; }
  Index output_size() const { return batch * out_features; }
};

// input (batch, in), weight (out, in), bias (out) or empty -> output (batch, out).
template <class T>
void linear_forward(const LinearShape&, Span<const T> input, Span<const T> weight,
                    Span<const T> bias, Activation, Span<T> output);
// grad_output (batch, out), weight (out, in) -> grad_input (batch, in) = grad_output weight.
template <class T>
void linear_backward_input(const LinearShape&, Span<const T> grad_output, Span<const T> weight,
                           Span<T> grad_input);
// grad_output (batch, out), input (batch, in) -> grad_weight (out, in) = grad_output^T input.
template <class T>
void linear_backward_weight(const LinearShape&, Span<const T> grad_output, Span<const T> input,
                            Span<T> grad_weight);
// grad_output (batch, out) -> grad_bias (out), the sum over the batch.
template <class T>
void linear_backward_bias(const LinearShape&, Span<const T> grad_output, Span<T> grad_bias);
// As conv2d_backward_epilogue: grad_output, output and passed (batch, out), grad_bias (out).
template <class T>
void linear_backward_epilogue(const LinearShape&, Activation, Span<const T> grad_output,
                              Span<const T> output, Span<T> passed, Span<T> grad_bias);

// a (m, k), b (k, n) -> output (m, n); the shape is checked by MatmulShape::infer.
struct MatmulShape {
  Index m = 0, n = 0, k = 0;

  static MatmulShape infer(Index a_rows, Index a_columns, Index b_rows, Index b_columns);
};
template <class T>
void matmul(const MatmulShape&, Span<const T> a, Span<const T> b, Span<T> output);

}  // namespace convolite
