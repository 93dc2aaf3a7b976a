// convolite._core.concatenate and split, for elements of any type but Python objects.
#include <convolite/concatenate.h>

#include "arrays.h"

namespace convolite::python {
namespace {

constexpr const char* kOp = "cat";

// With the byte order, where it is not the machine's.
std::string text(const py::array& array) {
  return py::str(array.dtype());
}

void check_dtypes(const std::vector<py::array>& arrays) {
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    if (!arrays[i].dtype().equal(arrays[0].dtype())) {
      fail_type(std::string(kOp) + ": tensor " + std::to_string(i) + " must be " + text(arrays[0]) +
                " like tensor 0, got " + text(arrays[i]));
    }
  }
}

py::array join(const std::vector<py::array>& given, Index axis) {
  std::vector<Shape> shapes;
  for (const py::array& array : given) shapes.push_back(shape_of(array));
  check_dtypes(given);
  const ConcatenateShape shape = ConcatenateShape::infer(shapes, axis);
  refuse_objects(kOp, "tensors", given[0]);
  std::vector<py::array> arrays;
  std::vector<Span<const unsigned char>> inputs;
  for (const py::array& array : given) {
    arrays.push_back(contiguous(array));
    inputs.push_back(bytes_of(arrays.back()));
  }
  const py::dtype dtype = given[0].dtype();
  const OutputBytes output(kOp, dtype, shape.output);
  {
    const py::gil_scoped_release release;
    concatenate(shape, dtype.itemsize(), inputs, output.span());
  }
  return output.array();
}

// None for a part that is not wanted.
py::tuple cut(const py::array& any_array, const std::vector<Shape>& shapes, Index axis,
              const std::vector<bool>& wanted) {
  const ConcatenateShape shape = ConcatenateShape::infer(shapes, axis);
  if (shape_of(any_array) != shape.output) {
    fail("split: array must have shape ", shape_text(shape.output), ", got ",
         shape_text(shape_of(any_array)));
  }
  if (wanted.size() != shapes.size()) fail("split: wanted must tell of each part");
  refuse_objects("split", "array", any_array);
  const py::array array = contiguous(any_array);
  std::vector<OutputBytes> outputs;
  std::vector<Span<unsigned char>> parts;
  py::tuple results(shapes.size());
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    if (!wanted[i]) {
      parts.push_back({});
      results[i] = py::none();
      continue;
    }
    outputs.emplace_back("split", array.dtype(), shapes[i]);
    parts.push_back(outputs.back().span());
    results[i] = outputs.back().array();
  }
  {
    const py::gil_scoped_release release;
    split(shape, array.itemsize(), bytes_of(array), parts);
  }
  return results;
}

}  // namespace

void bind_concatenate(py::module_& module) {
  module.def("concatenate", join, py::arg("arrays"), py::arg("axis"));
  module.def("split", cut, py::arg("array"), py::arg("shapes"), py::arg("axis"), py::arg("wanted"));
}

}  // namespace convolite::python
