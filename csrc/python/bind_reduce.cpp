// convolite._core.reduce.
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

}  // namespace

void bind_reduce(py::module_& module) {
  module.def("reduce", apply, py::arg("op"), py::arg("a"), py::arg("axes"), py::arg("keepdims"));
}

}  // namespace convolite::python
