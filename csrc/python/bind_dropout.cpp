// convolite._core.dropout_*.
#include <convolite/dropout.h>

#include "arrays.h"

namespace convolite::python {
namespace {

template <class T>
T scale_of(double probability) {
  return static_cast<T>(probability == 1.0 ? 0.0 : 1.0 / (1.0 - probability));
}

py::tuple forward(const py::array& input_array, const py::array& noise_array, double probability) {
  const char* op = "dropout";
  return dispatch(op, "input", input_array, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const Input<T> input(op, "input", input_array);
    const Input<float> noise(op, "noise", noise_array);
    const DropoutShape shape = DropoutShape::infer(input.span().size, noise.span().size);
    const Output<T> output(op, input.shape());
    const Output<unsigned char> kept(op, {shape.draws});
    {
      const py::gil_scoped_release release;
      dropout_forward(shape, scale_of<T>(probability), static_cast<float>(probability),
                      input.span(), noise.span(), output.span(), kept.span());
    }
    return py::make_tuple(output.array(), kept.array());
  });
}

py::array backward(const py::object& grad_output_object, const py::array& kept_array,
                   double probability) {
  const char* op = "dropout_backward";
  const py::array grad_output_array = as_array(grad_output_object);
  return dispatch(op, "grad_output", grad_output_array, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Input<T> grad_output(op, "grad_output", grad_output_array);
    const Input<unsigned char> kept(op, "kept", kept_array);
    const DropoutShape shape = DropoutShape::infer(grad_output.span().size, kept.span().size);
    const Output<T> grad_input(op, grad_output.shape());
    {
      const py::gil_scoped_release release;
      dropout_backward(shape, scale_of<T>(probability), grad_output.span(), kept.span(),
                       grad_input.span());
    }
    return grad_input.array();
  });
}

}  // namespace

void bind_dropout(py::module_& module) {
  module.def("dropout_forward", forward, py::arg("input"), py::arg("noise"), py::arg("p"));
  module.def("dropout_backward", backward, py::arg("grad_output"), py::arg("kept"), py::arg("p"));
}

}  // namespace convolite::python
