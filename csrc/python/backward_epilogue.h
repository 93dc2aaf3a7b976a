// What the layers with a fused activation share on their way back.
#pragma once

#include "arrays.h"

namespace convolite::python {

// What an operation makes of one argument and may leave in that argument's memory: there if
// `in_place` says so and the core can work on it, else in a new array.
template <class T>
py::array rewritten(const char* op, const py::array& argument, bool in_place) {
  if (in_place && is_plain<T>(argument) && argument.writeable()) return argument;
  return Output<T>(op, shape_of(argument)).array();
}

// (what passes, gradient of the bias), each None unless it is wanted. The layer's outputs have
// `ndim` axes, the second of which is the bias's; compute(shape, activation, grad_output, output,
// passed, grad_bias) takes empty spans for what is not wanted.
template <class Compute>
py::tuple backward_epilogue(const char* op, const std::string& activation_name,
                            const py::array& grad_output_array, const py::array& output_array,
                            std::pair<bool, bool> wanted, bool in_place, Index ndim,
                            const char* axes, Compute&& compute) {
  const Activation activation = parse_activation(op, activation_name);
  if (activation == Activation::none) fail(op, ": activation must be relu or relu6, got none");
  return dispatch(op, "grad_output", grad_output_array, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const Input<T> grad_output(op, "grad_output", grad_output_array);
    const Input<T> output(op, "output", output_array, "grad_output");
    check_ndim(op, "output", output, ndim, axes);
    check_shape(op, "grad_output", grad_output, output.shape());
    py::object passed_array = py::none(), bias_array = py::none();
    Span<T> passed, grad_bias;
    if (wanted.first) {
      py::array array = rewritten<T>(op, grad_output_array, in_place);
      passed = {static_cast<T*>(array.mutable_data()), output.span().size};
      passed_array = std::move(array);
    }
    if (wanted.second) {
      const Output<T> sums(op, {output.shape(1)});
      grad_bias = sums.span();
      bias_array = sums.array();
    }
    {
      const py::gil_scoped_release release;
      compute(output.shape(), activation, grad_output.span(), output.span(), passed, grad_bias);
    }
    return py::make_tuple(std::move(passed_array), std::move(bias_array));
  });
}

}  // namespace convolite::python
