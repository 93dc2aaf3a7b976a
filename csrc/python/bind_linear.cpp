// convolite._core.linear_* and matmul.
#include <convolite/linear.h>

#include "arrays.h"
#include "backward_epilogue.h"

namespace convolite::python {
namespace {

template <class T>
LinearShape infer(const char* op, const Input<T>& input, const Input<T>& weight) {
  check_ndim(op, "input", input, 2, "(batch, in_features)");
  check_ndim(op, "weight", weight, 2, "(out_features, in_features)");
  if (input.shape(1) != weight.shape(1)) {
    fail(op, ": input has ", input.shape(1), " features but weight expects ", weight.shape(1),
         " (input.shape = ", shape_text(input.shape()),
         ", weight.shape = ", shape_text(weight.shape()), ")");
  }
  return LinearShape::infer(input.shape(0), weight.shape(1), weight.shape(0));
}

py::array forward(const py::array& input_array, const py::array& weight_array,
                  const py::object& bias_object, const std::string& activation_name) {
  return dispatch("linear", "input", input_array, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Input<T> input("linear", "input", input_array);
    const Input<T> weight("linear", "weight", weight_array);
    const OptionalInput<T> bias("linear", "bias", bias_object);
    const LinearShape shape = infer("linear", input, weight);
    if (bias.given()) check_shape("linear", "bias", bias.get(), {shape.out_features});
    const Activation activation = parse_activation("linear", activation_name);
    const Output<T> output("linear", {shape.batch, shape.out_features});
    {
      const py::gil_scoped_release release;
      linear_forward(shape, input.span(), weight.span(), bias.span(), activation, output.span());
    }
    return output.array();
  });
}

py::array backward_input(const py::array& grad_output_array, const py::array& weight_array) {
  const char* op = "linear_backward_input";
  return dispatch(op, "grad_output", grad_output_array, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Input<T> grad_output(op, "grad_output", grad_output_array);
    const Input<T> weight(op, "weight", weight_array);
    check_ndim(op, "grad_output", grad_output, 2, "(batch, out_features)");
    check_ndim(op, "weight", weight, 2, "(out_features, in_features)");
    check_shape(op, "grad_output", grad_output, {grad_output.shape(0), weight.shape(0)});
    const LinearShape shape =
        LinearShape::infer(grad_output.shape(0), weight.shape(1), weight.shape(0));
    const Output<T> grad_input(op, {shape.batch, shape.in_features});
    {
      const py::gil_scoped_release release;
      linear_backward_input(shape, grad_output.span(), weight.span(), grad_input.span());
    }
    return grad_input.array();
  });
}

py::array backward_weight(const py::array& grad_output_array, const py::array& input_array) {
  const char* op = "linear_backward_weight";
  return dispatch(op, "grad_output", grad_output_array, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Input<T> grad_output(op, "grad_output", grad_output_array);
    const Input<T> input(op, "input", input_array);
    check_ndim(op, "grad_output", grad_output, 2, "(batch, out_features)");
    check_ndim(op, "input", input, 2, "(batch, in_features)");
    check_shape(op, "grad_output", grad_output, {input.shape(0), grad_output.shape(1)});
    const LinearShape shape =
        LinearShape::infer(input.shape(0), input.shape(1), grad_output.shape(1));
    const Output<T> grad_weight(op, {shape.out_features, shape.in_features});
    {
      const py::gil_scoped_release release;
      linear_backward_weight(shape, grad_output.span(), input.span(), grad_weight.span());
    }
    return grad_weight.array();
  });
}

py::array backward_bias(const py::array& grad_output_array) {
  const char* op = "linear_backward_bias";
  return dispatch(op, "grad_output", grad_output_array, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Input<T> grad_output(op, "grad_output", grad_output_array);
    check_ndim(op, "grad_output", grad_output, 2, "(batch, out_features)");
    const LinearShape shape = LinearShape::infer(grad_output.shape(0), 0, grad_output.shape(1));
    const Output<T> grad_bias(op, {shape.out_features});
    {
      const py::gil_scoped_release release;
      linear_backward_bias(shape, grad_output.span(), grad_bias.span());
    }
    return grad_bias.array();
  });
}

py::tuple epilogue(const std::string& activation_name, const py::array& grad_output,
                   const py::array& output, bool wants_passed, bool wants_bias, bool in_place) {
  return backward_epilogue("linear_backward_epilogue", activation_name, grad_output, output,
                           {wants_passed, wants_bias}, in_place, 2, "(batch, out_features)",
                           [](const Shape& axes, Activation activation, auto grads, auto outputs,
                              auto passed, auto grad_bias) {
                             linear_backward_epilogue(LinearShape::infer(axes[0], 0, axes[1]),
                                                      activation, grads, outputs, passed,
                                                      grad_bias);
                           });
}

py::array multiply(const py::array& a_array, const py::array& b_array) {
  return dispatch("matmul", "a", a_array, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Input<T> a("matmul", "a", a_array);
    const Input<T> b("matmul", "b", b_array);
    check_ndim("matmul", "a", a, 2, "(m, k)");
    check_ndim("matmul", "b", b, 2, "(k, n)");
    const MatmulShape shape = MatmulShape::infer(a.shape(0), a.shape(1), b.shape(0), b.shape(1));
    const Output<T> output("matmul", {shape.m, shape.n});
    {
      const py::gil_scoped_release release;
      matmul(shape, a.span(), b.span(), output.span());
    }
    return output.array();
  });
}

}  // namespace

void bind_linear(py::module_& module) {
  module.def("linear_forward", forward, py::arg("input"), py::arg("weight"), py::arg("bias"),
             py::arg("activation"));
  module.def("linear_backward_input", backward_input, py::arg("grad_output"), py::arg("weight"));
  module.def("linear_backward_weight", backward_weight, py::arg("grad_output"), py::arg("input"));
  module.def("linear_backward_bias", backward_bias, py::arg("grad_output"));
  module.def("linear_backward_epilogue", epilogue, py::arg("activation"), py::arg("grad_output"),
             py::arg("output"), py::arg("wants_passed"), py::arg("wants_bias"),
             py::arg("in_place"));
  module.def("matmul", multiply, py::arg("a"), py::arg("b"));
}

}  // namespace convolite::python
