// convolite._core's view of the runtime: threads, instruction set, memory.
#include <convolite/runtime.h>

#include <cstring>

#include "arrays.h"

namespace convolite::python {
namespace {

std::string compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

py::dict config() {
  py::dict result;
  result["version"] = version();
  result["compiler"] = compiler();
  result["isa"] = isa();
  result["compiled_isas"] = py::tuple(py::cast(compiled_isas()));
  result["supported_isas"] = py::tuple(py::cast(supported_isas()));
  result["threads"] = get_num_threads();
  return result;
}

py::dict statistics() {
  const MemoryStats stats = memory_stats();
  py::dict result;
  result["in_use"] = stats.in_use;
  result["peak_in_use"] = stats.peak_in_use;
  result["cached"] = stats.cached;
  result["reused"] = stats.reused;
  result["allocated"] = stats.allocated;
  return result;
}

py::array uninitialised(const char* op, const Shape& shape, const py::object& dtype_like) {
  const py::array like(py::dtype::from_args(dtype_like), Shape{0});
  for (const Index extent : shape) {
    if (extent < 0) fail(op, ": shape must not be negative, got ", shape_text(shape));
  }
  return dispatch(op, "dtype", like, [&](auto zero) -> py::array {
    return Output<decltype(zero)>(op, shape).array();
  });
}

py::array empty(const Shape& shape, const py::object& dtype_like) {
  return uninitialised("empty", shape, dtype_like);
}

py::array zeros(const Shape& shape, const py::object& dtype_like) {
  py::array array = uninitialised("zeros", shape, dtype_like);
  std::memset(array.mutable_data(), 0, static_cast<std::size_t>(array.nbytes()));
  return array;
}

}  // namespace

void bind_runtime(py::module_& module) {
  module.def("config", config);
  module.def("get_num_threads", get_num_threads);
  module.def("set_num_threads", set_num_threads, py::arg("count"));
  module.def("get_fast_math", get_fast_math);
  module.def("set_fast_math", set_fast_math, py::arg("on"));
  module.def("set_isa", set_isa, py::arg("name"));
  module.def("memory_stats", statistics);
  module.def("release_memory", release_memory);
  module.def("set_buffer_poison", set_buffer_poison, py::arg("on"));
  module.def("empty", empty, py::arg("shape"), py::arg("dtype"));
  module.def("zeros", zeros, py::arg("shape"), py::arg("dtype"));
}

}  // namespace convolite::python
