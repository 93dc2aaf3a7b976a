// convolite._core.softmax_* and log_softmax_*.
#include <convolite/softmax.h>

#include "arrays.h"

namespace convolite::python {
namespace {

template <class Compute>
py::array forward(const char* op, const py::array& input_array, Index axis, Compute&& compute) {
  return dispatch(op, "input", input_array, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Input<T> input(op, "input", input_array);
    const SoftmaxShape shape = SoftmaxShape::infer(op, input.shape(), axis);
    const Output<T> output(op, input.shape());
    {
      const py::gil_scoped_release release;
      compute(shape, input.span(), output.span());
    }
    return output.array();
  });
}

template <class Compute>
py::array backward(const char* op, const py::array& grad_output_array,
                   const py::array& output_array, Index axis, Compute&& compute) {
  return dispatch(op, "grad_output", grad_output_array, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Input<T> grad_output(op, "grad_output", grad_output_array);
    const Input<T> output(op, "output", output_array, "grad_output");
    check_shape(op, "grad_output", grad_output, output.shape());
    const SoftmaxShape shape = SoftmaxShape::infer(op, output.shape(), axis);
    const Output<T> grad_input(op, output.shape());
    {
      const py::gil_scoped_release release;
      compute(shape, grad_output.span(), output.span(), grad_input.span());
    }
    return grad_input.array();
  });
}

}  // namespace

void bind_softmax(py::module_& module) {
  module.def(
      "softmax_forward",
      [](const py::array& input, Index axis) {
        return forward("softmax", input, axis, [](auto&&... all) { softmax_forward(all...); });
      },
      py::arg("input"), py::arg("axis"));
  module.def(
      "log_softmax_forward",
      [](const py::array& input, Index axis) {
        return forward("log_softmax", input, axis,
                       [](auto&&... all) { log_softmax_forward(all...); });
      },
      py::arg("input"), py::arg("axis"));
  module.def(
      "softmax_backward",
      [](const py::array& grad_output, const py::array& output, Index axis) {
        return backward("softmax_backward", grad_output, output, axis,
                        [](auto&&... all) { softmax_backward(all...); });
      },
      py::arg("grad_output"), py::arg("output"), py::arg("axis"));
  module.def(
      "log_softmax_backward",
      [](const py::array& grad_output, const py::array& output, Index axis) {
        return backward("log_softmax_backward", grad_output, output, axis,
                        [](auto&&... all) { log_softmax_backward(all...); });
      },
      py::arg("grad_output"), py::arg("output"), py::arg("axis"));
}

}  // namespace convolite::python
