// convolite._core.sgd_step, adam_step and rmsprop_step: lists of arrays, updated in place.
#include <convolite/optimizer.h>

#include "arrays.h"

namespace convolite::python {
namespace {

using Arrays = std::vector<py::array>;

std::string element_name(const char* list, std::size_t i) {
  return std::string(list) + "[" + std::to_string(i) + "]";
}

void check_length(const char* op, const char* name, const Arrays& arrays,
                  const Arrays& parameters) {
  if (arrays.size() != parameters.size()) {
    fail(op, ": ", name, " must have ", parameters.size(), " arrays like parameters, got ",
         arrays.size());
  }
}

void check_like_parameter(const char* op, const std::string& name, const py::array& array,
                          const py::array& parameter) {
  if (!same_shape(array, parameter)) {
    fail(op, ": ", name, " must have shape ", shape_text(shape_of(parameter)),
         " like its parameter, got ", shape_text(shape_of(array)));
  }
}

// The usual case, which needs no name for a message: the lists of a network have hundreds of
// arrays.
template <class T>
bool usable(const py::array& array, const py::array& parameter) {
  return is_plain<T>(array) && same_shape(array, parameter);
}

// The arrays' own memory, or TypeError and ValueError that name the array which cannot be updated.
template <class T>
std::vector<Span<T>> spans_in_place(const char* op, const char* list, const Arrays& arrays,
                                    const Arrays& parameters) {
  check_length(op, list, arrays, parameters);
  std::vector<Span<T>> spans;
  spans.reserve(arrays.size());
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    if (arrays[i].writeable() && usable<T>(arrays[i], parameters[i])) {
      spans.push_back(
          {static_cast<T*>(const_cast<void*>(arrays[i].data())), Index{arrays[i].size()}});
      continue;
    }
    const std::string name = element_name(list, i);
    spans.push_back(span_in_place<T>(op, name.c_str(), arrays[i], "parameters[0]"));
    check_like_parameter(op, name, arrays[i], parameters[i]);
  }
  return spans;
}

// Gradients are only read: any layout will do.
template <class T>
class Gradients {
 public:
  Gradients(const char* op, const Arrays& arrays, const Arrays& parameters) {
    check_length(op, "gradients", arrays, parameters);
    spans_.reserve(arrays.size());
    for (std::size_t i = 0; i < arrays.size(); ++i) {
      if (usable<T>(arrays[i], parameters[i])) {
        spans_.push_back({static_cast<const T*>(arrays[i].data()), Index{arrays[i].size()}});
        continue;
      }
      const std::string name = element_name("gradients", i);
      inputs_.emplace_back(op, name.c_str(), arrays[i], "parameters[0]");
      check_like_parameter(op, name, arrays[i], parameters[i]);
      spans_.push_back(inputs_.back().span());
    }
  }
  const std::vector<Span<const T>>& spans() const { return spans_; }

 private:
  std::vector<Input<T>> inputs_;
  std::vector<Span<const T>> spans_;
};

template <class Body>
void dispatch_list(const char* op, const Arrays& parameters, Body&& body) {
  if (parameters.empty()) return;
  dispatch(op, "parameters[0]", parameters[0], body);
}

void sgd(const Arrays& parameters, const Arrays& gradients, const Arrays& momentum_buffers,
         bool first_step, double lr, double momentum, double dampening, double weight_decay,
         bool nesterov) {
  const char* op = "sgd_step";
  const SgdOptions options = {lr, momentum, dampening, weight_decay, nesterov, first_step};
  dispatch_list(op, parameters, [&](auto zero) {
    using T = decltype(zero);
    const auto targets = spans_in_place<T>(op, "parameters", parameters, parameters);
    const Gradients<T> sources(op, gradients, parameters);
    std::vector<Span<T>> buffers;
    if (momentum != 0) {
      buffers = spans_in_place<T>(op, "momentum_buffers", momentum_buffers, parameters);
    }
    const py::gil_scoped_release release;
    sgd_step(options, targets, sources.spans(), buffers);
  });
}

void adam(const Arrays& parameters, const Arrays& gradients, const Arrays& exp_avgs,
          const Arrays& exp_avg_sqs, Index step, double lr, double beta1, double beta2, double eps,
          double weight_decay, bool decoupled) {
  const char* op = "adam_step";
  const AdamOptions options = {step, lr, beta1, beta2, eps, weight_decay, decoupled};
  dispatch_list(op, parameters, [&](auto zero) {
    using T = decltype(zero);
    const auto targets = spans_in_place<T>(op, "parameters", parameters, parameters);
    const Gradients<T> sources(op, gradients, parameters);
    const auto means = spans_in_place<T>(op, "exp_avgs", exp_avgs, parameters);
    const auto squares = spans_in_place<T>(op, "exp_avg_sqs", exp_avg_sqs, parameters);
    const py::gil_scoped_release release;
    adam_step(options, targets, sources.spans(), means, squares);
  });
}

void rmsprop(const Arrays& parameters, const Arrays& gradients, const Arrays& square_avgs,
             const Arrays& grad_avgs, const Arrays& momentum_buffers, double lr, double alpha,
             double eps, double weight_decay, double momentum, bool centered) {
  const char* op = "rmsprop_step";
  const RmspropOptions options = {lr, alpha, eps, weight_decay, momentum, centered};
  dispatch_list(op, parameters, [&](auto zero) {
    using T = decltype(zero);
    const auto targets = spans_in_place<T>(op, "parameters", parameters, parameters);
    const Gradients<T> sources(op, gradients, parameters);
    const auto squares = spans_in_place<T>(op, "square_avgs", square_avgs, parameters);
    std::vector<Span<T>> means, buffers;
    if (centered) means = spans_in_place<T>(op, "grad_avgs", grad_avgs, parameters);
    if (momentum != 0) {
      buffers = spans_in_place<T>(op, "momentum_buffers", momentum_buffers, parameters);
    }
    const py::gil_scoped_release release;
    rmsprop_step(options, targets, sources.spans(), squares, means, buffers);
  });
}

}  // namespace

void bind_optimizer(py::module_& module) {
  module.def("sgd_step", sgd, py::arg("parameters"), py::arg("gradients"),
             py::arg("momentum_buffers"), py::arg("first_step"), py::arg("lr"), py::arg("momentum"),
             py::arg("dampening"), py::arg("weight_decay"), py::arg("nesterov"));
  module.def("adam_step", adam, py::arg("parameters"), py::arg("gradients"), py::arg("exp_avgs"),
             py::arg("exp_avg_sqs"), py::arg("step"), py::arg("lr"), py::arg("beta1"),
             py::arg("beta2"), py::arg("eps"), py::arg("weight_decay"), py::arg("decoupled"));
  module.def("rmsprop_step", rmsprop, py::arg("parameters"), py::arg("gradients"),
             py::arg("square_avgs"), py::arg("grad_avgs"), py::arg("momentum_buffers"),
             py::arg("lr"), py::arg("alpha"), py::arg("eps"), py::arg("weight_decay"),
             py::arg("momentum"), py::arg("centered"));
}

}  // namespace convolite::python
