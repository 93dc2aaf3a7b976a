// convolite._core.activation_forward and activation_backward.
#include <convolite/activation.h>

#include "arrays.h"

namespace convolite::python {
namespace {

constexpr std::pair<const char*, ActivationFunction> kFunctions[] = {
    {"relu", ActivationFunction::relu},
    {"leaky_relu", ActivationFunction::leaky_relu},
    {"relu6", ActivationFunction::relu6},
    {"elu", ActivationFunction::elu},
    {"gelu", ActivationFunction::gelu},
    {"gelu_tanh", ActivationFunction::gelu_tanh},
    {"silu", ActivationFunction::silu},
    {"hardswish", ActivationFunction::hardswish},
    {"hardsigmoid", ActivationFunction::hardsigmoid},
    {"sigmoid", ActivationFunction::sigmoid},
    {"tanh", ActivationFunction::tanh},
};

ActivationFunction parse(const char* op, const std::string& name) {
  std::string names;
  for (const auto& [known, function] : kFunctions) {
    if (name == known) return function;
    names += (names.empty() ? "" : ", ") + std::string(known);
  }
  fail(op, ": name must be one of ", names, ", got ", name);
}

py::array forward(const std::string& name, const py::array& input_array, double parameter) {
  const ActivationFunction function = parse("activation_forward", name);
  return dispatch(name.c_str(), "input", input_array, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Input<T> input(name.c_str(), "input", input_array);
    const Output<T> output(name.c_str(), input.shape());
    {
      const py::gil_scoped_release release;
      activation_forward(function, static_cast<T>(parameter), input.span(), output.span());
    }
    return output.array();
  });
}

py::array backward(const std::string& name, const py::array& grad_output_array,
                   const py::array& saved_array, double parameter) {
  const ActivationFunction function = parse("activation_backward", name);
  const std::string op = name + "_backward";
  return dispatch(op.c_str(), "grad_output", grad_output_array, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Input<T> grad_output(op.c_str(), "grad_output", grad_output_array);
    const Input<T> saved(op.c_str(), "saved", saved_array, "grad_output");
    check_shape(op.c_str(), "grad_output", grad_output, saved.shape());
    const Output<T> grad_input(op.c_str(), saved.shape());
    {
      const py::gil_scoped_release release;
      activation_backward(function, static_cast<T>(parameter), grad_output.span(), saved.span(),
                          grad_input.span());
    }
    return grad_input.array();
  });
}

}  // namespace

void bind_activation(py::module_& module) {
  module.def("activation_forward", forward, py::arg("name"), py::arg("input"),
             py::arg("parameter"));
  module.def("activation_backward", backward, py::arg("name"), py::arg("grad_output"),
             py::arg("saved"), py::arg("parameter"));
}

}  // namespace convolite::python
