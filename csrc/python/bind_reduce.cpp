// convolite._core.reduce and reduce_backward.
#include <convolite/reduce.h>

#include <numeric>
#include <optional>

#include "arrays.h"

namespace convolite::python {
namespace {

Reduction parse(const std::string& name) {
  if (name == "sum") return Reduction::sum;
  if (name == "mean") return Reduction::mean;
  if (name == "max") return Reduction::maximum;
  if (name == "min") return Reduction::minimum;
  fail("reduce: op must be one of sum, mean, max, min, got ", name);
}

py::array apply(const std::string& name, const py::array& array,
                const std::optional<std::vector<Index>>& given_axes, bool keepdims) {
  const Reduction reduction = parse(name);
  return dispatch(name.c_str(), "a", array, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Input<T> a(name.c_str(), "a", array);
    std::vector<Index> axes = given_axes.value_or(std::vector<Index>());
    if (!given_axes) {
      axes.resize(static_cast<std::size_t>(a.ndim()));
      std::iota(axes.begin(), axes.end(), 0);
    }
    const ReduceShape shape =
        ReduceShape::infer(name.c_str(), reduction, a.shape(), axes, keepdims);
    const Output<T> output(name.c_str(), shape.output);
    {
      const py::gil_scoped_release release;
      reduce(reduction, shape, a.span(), output.span());
    }
    return output.array();
  });
}

py::array backward(const std::string& name, const py::object& grad_output_object,
                   const Shape& input_shape, const Shape& axes) {
  const char* op = "reduce_backward";
  const Reduction reduction = parse(name);
  if (reduction != Reduction::sum && reduction != Reduction::mean) {
    fail(op, ": op must be sum or mean, got ", name);
  }
  const py::array grad_output_array = as_array(grad_output_object);
  return dispatch(op, "grad_output", grad_output_array, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Input<T> grad_output(op, "grad_output", grad_output_array);
    const ReduceShape shape = ReduceShape::infer(op, reduction, input_shape, axes, false);
    if (grad_output.span().size != shape.output_size) {
      fail(op, ": grad_output must have ", shape.output_size,
           " elements, got grad_output.shape = ", shape_text(grad_output.shape()));
    }
    const Output<T> grad_input(op, input_shape);
    {
      const py::gil_scoped_release release;
      reduce_backward(reduction, shape, grad_output.span(), grad_input.span());
    }
    return grad_input.array();
  });
}

}  // namespace

void bind_reduce(py::module_& module) {
  module.def("reduce", apply, py::arg("op"), py::arg("a"), py::arg("axes"), py::arg("keepdims"));
  module.def("reduce_backward", backward, py::arg("op"), py::arg("grad_output"),
             py::arg("input_shape"), py::arg("axes"));
}

}  // namespace convolite::python
