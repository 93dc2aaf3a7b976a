// convolite._core.pad and pad_backward, for elements of any type but Python objects.
#include <convolite/pad.h>

#include <cstdint>

#include "arrays.h"

namespace convolite::python {
namespace {

// One element of an array's type.
py::array element_like(const py::array& array, double value) {
  if (is_plain<float>(array)) {  // the other way takes as long as all else here
    const float element = static_cast<float>(value);
    return py::array_t<float>(Shape{1}, &element);
  }
  return py::array(py::float_(value)).attr("astype")(array.dtype());
}

py::array padded(const py::array& any_array, const Shape& widths, double value) {
  const char* op = "pad";
  refuse_objects(op, "input", any_array);
  const py::dtype dtype = any_array.dtype();
  const PadShape shape = PadShape::infer(shape_of(any_array), widths);
  const py::array array = contiguous(any_array);
  const py::array border = element_like(array, value);
  const OutputBytes output(op, dtype, shape.output);
  {
    const py::gil_scoped_release release;
    pad(shape, dtype.itemsize(), bytes_of(array), bytes_of(border), output.span());
  }
  return output.array();
}

py::array backward(const py::object& grad_output, Shape widths) {
  for (Index& width : widths) {  // the only width without an opposite stays, and is refused
    width = static_cast<Index>(0 - static_cast<std::uint64_t>(width));
  }
  return padded(as_array(grad_output), widths, 0.0);
}

}  // namespace

void bind_pad(py::module_& module) {
  module.def("pad", padded, py::arg("input"), py::arg("widths"), py::arg("value"));
  module.def("pad_backward", backward, py::arg("grad_output"), py::arg("widths"));
}

}  // namespace convolite::python
