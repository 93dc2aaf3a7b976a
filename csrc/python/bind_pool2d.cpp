// convolite._core.max_pool2d_*, avg_pool2d_* and adaptive_avg_pool2d_*.
#include <convolite/pool2d.h>

#include "arrays.h"
#include "pool_arguments.h"

namespace convolite::python {
namespace {

template <class Offset>
Input<Offset> offsets_of(const char* op, const Pool2dShape& shape, const py::array& array) {
  if (!holds<Offset>(array)) {
    fail_type(std::string(op) + ": offsets must be " + (sizeof(Offset) == 1 ? "uint8" : "int32") +
              " for this kernel, got " + dtype_name(array));
  }
  Input<Offset> offsets(op, "offsets", array);
  check_shape(op, "offsets", offsets, array_shape(shape.input, shape.output));
  return offsets;
}

// The gradient behind the pooling, and what forward gave, which an activation needs.
template <class T>
void check_pooled_gradient(const char* op, const Pool2dShape& shape, const Input<T>& grad_output,
                           const OptionalInput<T>& output, Activation activation) {
  check_shape(op, "grad_output", grad_output, array_shape(shape.input, shape.output));
  if (output.given() != (activation != Activation::none)) {
    fail(op, ": output is needed behind an activation, and only there");
  }
  if (output.given())
    check_shape(op, "output", output.get(), array_shape(shape.input, shape.output));
}

py::tuple max_forward(const py::array& input_array, const Pair& kernel, const Pair& stride,
                      const Quadruple& padding, const Pair& dilation, bool ceil_mode,
                      const std::string& activation_name) {
  const char* op = "max_pool2d";
  const Activation activation = parse_activation(op, activation_name);
  return dispatch(op, "input", input_array, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const Input<T> input(op, "input", input_array);
    const Pool2dShape shape = Pool2dShape::infer(
        op, nchw(op, input), window_of(kernel, stride, padding, dilation, ceil_mode));
    return with_offset_type(shape, [&](auto zero_offset) -> py::tuple {
      using Offset = decltype(zero_offset);
      const Output<T> output(op, array_shape(shape.input, shape.output));
      const Output<Offset> offsets(op, array_shape(shape.input, shape.output));
      {
        const py::gil_scoped_release release;
        max_pool2d_forward(shape, input.span(), activation, output.span(), offsets.span());
      }
      return py::make_tuple(output.array(), offsets.array());
    });
  });
}

py::array max_backward(const py::array& grad_output_array, const py::array& offsets_array,
                       const Quadruple& input_shape, const Pair& kernel, const Pair& stride,
                       const Quadruple& padding, const Pair& dilation, bool ceil_mode,
                       const std::string& activation_name, const py::object& output_object,
                       const py::object& grad_bias_object) {
  const char* op = "max_pool2d_backward";
  const Activation activation = parse_activation(op, activation_name);
  const Pool2dShape shape = Pool2dShape::infer(
      op, nchw(input_shape), window_of(kernel, stride, padding, dilation, ceil_mode));
  return dispatch(op, "grad_output", grad_output_array, [&](auto zero) -> py::array {
    using T = decltype(zero);
    return with_offset_type(shape, [&](auto zero_offset) -> py::array {
      using Offset = decltype(zero_offset);
      const Input<T> grad_output(op, "grad_output", grad_output_array);
      const Input<Offset> offsets = offsets_of<Offset>(op, shape, offsets_array);
      const OptionalInput<T> output(op, "output", output_object);
      check_pooled_gradient(op, shape, grad_output, output, activation);
      const Span<T> grad_bias = optional_span_in_place<T>(op, "grad_bias", grad_bias_object,
                                                          {shape.input.c}, "grad_output");
      const Output<T> grad_input(op, array_shape(shape.input));
      {
        const py::gil_scoped_release release;
        max_pool2d_backward(shape, grad_output.span(), offsets.span(), activation, output.span(),
                            grad_input.span(), grad_bias);
      }
      return grad_input.array();
    });
  });
}

py::array avg_forward(const py::array& input_array, const Pair& kernel, const Pair& stride,
                      const Quadruple& padding, bool ceil_mode, bool count_include_pad,
                      Index divisor_override) {
  const char* op = "avg_pool2d";
  return dispatch(op, "input", input_array, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Input<T> input(op, "input", input_array);
    const Pool2dShape shape = Pool2dShape::infer(
        op, nchw(op, input), window_of(kernel, stride, padding, {1, 1}, ceil_mode));
    const Output<T> output(op, array_shape(shape.input, shape.output));
    {
      const py::gil_scoped_release release;
      avg_pool2d_forward(shape, {count_include_pad, divisor_override}, input.span(), output.span());
    }
    return output.array();
  });
}

py::array avg_backward(const py::array& grad_output_array, const Quadruple& input_shape,
                       const Pair& kernel, const Pair& stride, const Quadruple& padding,
                       bool ceil_mode, bool count_include_pad, Index divisor_override) {
  const char* op = "avg_pool2d_backward";
  const Pool2dShape shape = Pool2dShape::infer(
      op, nchw(input_shape), window_of(kernel, stride, padding, {1, 1}, ceil_mode));
  return dispatch(op, "grad_output", grad_output_array, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Input<T> grad_output(op, "grad_output", grad_output_array);
    check_shape(op, "grad_output", grad_output, array_shape(shape.input, shape.output));
    const Output<T> grad_input(op, array_shape(shape.input));
    {
      const py::gil_scoped_release release;
      avg_pool2d_backward(shape, {count_include_pad, divisor_override}, grad_output.span(),
                          grad_input.span());
    }
    return grad_input.array();
  });
}

py::array adaptive_forward(const py::array& input_array, const Pair& output_size) {
  const char* op = "adaptive_avg_pool2d";
  return dispatch(op, "input", input_array, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Input<T> input(op, "input", input_array);
    const AdaptivePool2dShape shape =
        AdaptivePool2dShape::infer(nchw(op, input), to_hw(output_size));
    const Output<T> output(op, array_shape(shape.input, shape.output));
    {
      const py::gil_scoped_release release;
      adaptive_avg_pool2d_forward(shape, input.span(), output.span());
    }
    return output.array();
  });
}

py::array adaptive_backward(const py::array& grad_output_array, const Quadruple& input_shape) {
  const char* op = "adaptive_avg_pool2d_backward";
  return dispatch(op, "grad_output", grad_output_array, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Input<T> grad_output(op, "grad_output", grad_output_array);
    check_ndim(op, "grad_output", grad_output, 4, "(n, c, oh, ow)");
    const AdaptivePool2dShape shape =
        AdaptivePool2dShape::infer(nchw(input_shape), {grad_output.shape(2), grad_output.shape(3)});
    check_shape(op, "grad_output", grad_output, array_shape(shape.input, shape.output));
    const Output<T> grad_input(op, array_shape(shape.input));
    {
      const py::gil_scoped_release release;
      adaptive_avg_pool2d_backward(shape, grad_output.span(), grad_input.span());
    }
    return grad_input.array();
  });
}

}  // namespace

void bind_pool2d(py::module_& module) {
  module.def("max_pool2d_forward", max_forward, py::arg("input"), py::arg("kernel"),
             py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("ceil_mode"),
             py::arg("activation") = "none");
  module.def("max_pool2d_backward", max_backward, py::arg("grad_output"), py::arg("offsets"),
             py::arg("input_shape"), py::arg("kernel"), py::arg("stride"), py::arg("padding"),
             py::arg("dilation"), py::arg("ceil_mode"), py::arg("activation") = "none",
             py::arg("output") = py::none(), py::arg("grad_bias") = py::none());
  module.def("avg_pool2d_forward", avg_forward, py::arg("input"), py::arg("kernel"),
             py::arg("stride"), py::arg("padding"), py::arg("ceil_mode"),
             py::arg("count_include_pad"), py::arg("divisor_override"));
  module.def("avg_pool2d_backward", avg_backward, py::arg("grad_output"), py::arg("input_shape"),
             py::arg("kernel"), py::arg("stride"), py::arg("padding"), py::arg("ceil_mode"),
             py::arg("count_include_pad"), py::arg("divisor_override"));
  module.def("adaptive_avg_pool2d_forward", adaptive_forward, py::arg("input"),
             py::arg("output_size"));
  module.def("adaptive_avg_pool2d_backward", adaptive_backward, py::arg("grad_output"),
             py::arg("input_shape"));
}

}  // namespace convolite::python
