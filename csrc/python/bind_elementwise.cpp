// convolite._core.unary, binary, add_in_place and are_apart.
#include <convolite/elementwise.h>

#include "arrays.h"

namespace convolite::python {
namespace {

UnaryOperation parse_unary(const std::string& name) {
  if (name == "negative") return UnaryOperation::negative;
  if (name == "exp") return UnaryOperation::exp;
  if (name == "log") return UnaryOperation::log;
  if (name == "sqrt") return UnaryOperation::sqrt;
  if (name == "abs") return UnaryOperation::abs;
  if (name == "sign") return UnaryOperation::sign;
  if (name == "reciprocal") return UnaryOperation::reciprocal;
  fail("unary: op must be one of negative, exp, log, sqrt, abs, sign, reciprocal, got ", name);
}

BinaryOperation parse_binary(const std::string& name) {
  if (name == "add") return BinaryOperation::add;
  if (name == "subtract") return BinaryOperation::subtract;
  if (name == "multiply") return BinaryOperation::multiply;
  if (name == "divide") return BinaryOperation::divide;
  if (name == "power") return BinaryOperation::power;
  if (name == "maximum") return BinaryOperation::maximum;
  if (name == "minimum") return BinaryOperation::minimum;
  if (name == "equal") return BinaryOperation::equal;
  if (name == "power_slope") return BinaryOperation::power_slope;
  if (name == "exponent_slope") return BinaryOperation::exponent_slope;
  fail("binary: op must be one of add, subtract, multiply, divide, power, power_slope, ",
       "exponent_slope, equal, maximum, minimum, got ", name);
}

py::array apply_unary(const std::string& name, const py::object& operand) {
  const UnaryOperation operation = parse_unary(name);
  const py::array array = as_array(operand);
  return dispatch(name.c_str(), "a", array, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Input<T> a(name.c_str(), "a", array);
    const Output<T> output(name.c_str(), a.shape());
    {
      const py::gil_scoped_release release;
      unary(operation, a.span(), output.span());
    }
    return output.array();
  });
}

py::array apply_binary(const std::string& name, const py::object& a_operand,
                       const py::object& b_operand) {
  const BinaryOperation operation = parse_binary(name);
  const py::array a_array = as_array(a_operand);
  const py::array b_array = as_array(b_operand);
  return dispatch(name.c_str(), "a", a_array, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Input<T> a(name.c_str(), "a", a_array);
    const Input<T> b(name.c_str(), "b", b_array, "a");
    const BroadcastShape shape = BroadcastShape::infer(name.c_str(), a.shape(), b.shape());
    const Output<T> output(name.c_str(), shape.output);
    {
      const py::gil_scoped_release release;
      binary(operation, shape, a.span(), b.span(), output.span());
    }
    return output.array();
  });
}

void add_in_place(const py::array& total_array, const py::array& addend_array) {
  const char* op = "add_in_place";
  dispatch(op, "total", total_array, [&](auto zero) {
    using T = decltype(zero);
    const Span<T> total = span_in_place<T>(op, "total", total_array, "addend");
    const Input<T> addend(op, "addend", addend_array, "total");
    const std::vector<Index> shape = shape_of(total_array);
    if (addend.shape() != shape) {
      fail(op, ": addend must have shape ", shape_text(shape), " like total, got ",
           shape_text(addend.shape()));
    }
    const BroadcastShape same = BroadcastShape::infer(op, shape, shape);
    const py::gil_scoped_release release;
    binary<T>(BinaryOperation::add, same, {total.data, total.size}, addend.span(), total);
  });
}

// Whether each array has memory of its own, which no view shares, and none is there twice; None
// counts for nothing.
bool are_apart(const py::sequence& arrays) {
  std::vector<py::array> found;
  for (const py::object each : arrays) {  // a sequence may make its items as they are asked for
    if (!py::isinstance<py::array>(each)) continue;
    const auto array = py::reinterpret_borrow<py::array>(each);
    for (const py::array& other : found) {
      if (other.is(array)) return false;
    }
    if (!owns_memory(array)) return false;
    found.push_back(array);
  }
  return true;
}

}  // namespace

void bind_elementwise(py::module_& module) {
  module.def("unary", apply_unary, py::arg("op"), py::arg("a"));
  module.def("binary", apply_binary, py::arg("op"), py::arg("a"), py::arg("b"));
  module.def("are_apart", are_apart, py::arg("arrays"));
  module.def("add_in_place", add_in_place, py::arg("total"), py::arg("addend"));
}

}  // namespace convolite::python
