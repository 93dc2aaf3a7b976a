// The module convolite._core: one bind_<op> for each op family.
#include <pybind11/pybind11.h>

namespace convolite::python {

namespace py = pybind11;

void bind_activation(py::module_& module);
void bind_batch_norm(py::module_& module);
void bind_concatenate(py::module_& module);
void bind_conv2d(py::module_& module);
void bind_cross_entropy(py::module_& module);
void bind_dropout(py::module_& module);
void bind_elementwise(py::module_& module);
void bind_gather(py::module_& module);
void bind_linear(py::module_& module);
void bind_optimizer(py::module_& module);
void bind_pad(py::module_& module);
void bind_pool2d(py::module_& module);
void bind_reduce(py::module_& module);
void bind_runtime(py::module_& module);
void bind_softmax(py::module_& module);

}  // namespace convolite::python

PYBIND11_MODULE(_core, module) {
  using namespace convolite::python;
  module.doc() = "The compiled core of convolite: kernels over numpy arrays.";
  bind_activation(module);
  bind_batch_norm(module);
  bind_cross_entropy(module);
  bind_dropout(module);
  bind_elementwise(module);
  bind_optimizer(module);
  bind_pad(module);
  bind_pool2d(module);
  bind_reduce(module);
  bind_runtime(module);
  bind_concatenate(module);
  bind_conv2d(module);
  bind_gather(module);
  bind_linear(module);
  bind_softmax(module);
}
