// convolite._core.cross_entropy_*.
#include <convolite/cross_entropy.h>

#include "arrays.h"

namespace convolite::python {
namespace {

constexpr const char* kOp = "cross_entropy";
constexpr const char* kBackwardOp = "cross_entropy_backward";

LossReduction parse_reduction(const std::string& name) {
  if (name == "none") return LossReduction::none;
  if (name == "mean") return LossReduction::mean;
  if (name == "sum") return LossReduction::sum;
  fail(kOp, ": reduction must be one of none, mean, sum, got ", name);
}

template <class T>
CrossEntropyShape infer(const Input<T>& input, const Indices& target,
                        const OptionalInput<T>& weight, const CrossEntropyOptions& options) {
  if (weight.given()) check_ndim(kOp, "weight", weight.get(), 1, "(classes)");
  return CrossEntropyShape::infer(input.shape(), target.shape(), target.span(), weight.span().size,
                                  weight.given(), options);
}

py::tuple forward(const py::array& input_array, const py::array& target_array,
                  const py::object& weight_object, double label_smoothing, Index ignore_index,
                  const std::string& reduction) {
  const CrossEntropyOptions options = {label_smoothing, ignore_index, parse_reduction(reduction)};
  return dispatch(kOp, "input", input_array, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const Input<T> input(kOp, "input", input_array);
    const Indices target(kOp, "target", target_array);
    const OptionalInput<T> weight(kOp, "weight", weight_object);
    const CrossEntropyShape shape = infer(input, target, weight, options);
    const bool each = options.reduction == LossReduction::none;
    const Output<T> loss(kOp, each ? target.shape() : Shape{});
    const Output<T> log_probabilities(kOp, input.shape());
    double total_weight;
    {
      const py::gil_scoped_release release;
      total_weight = cross_entropy_forward(shape, options, input.span(), target.span(),
                                           weight.span(), loss.span(), log_probabilities.span());
    }
    return py::make_tuple(loss.array(), log_probabilities.array(), total_weight);
  });
}

py::array backward(const py::array& grad_loss_array, const py::array& log_probabilities_array,
                   const py::array& target_array, const py::object& weight_object,
                   double label_smoothing, Index ignore_index, const std::string& reduction,
                   double total_weight) {
  const CrossEntropyOptions options = {label_smoothing, ignore_index, parse_reduction(reduction)};
  return dispatch(kBackwardOp, "grad_loss", grad_loss_array, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Input<T> grad_loss(kBackwardOp, "grad_loss", grad_loss_array);
    const Input<T> log_probabilities(kBackwardOp, "log_probabilities", log_probabilities_array,
                                     "grad_loss");
    const Indices target(kBackwardOp, "target", target_array);
    const OptionalInput<T> weight(kBackwardOp, "weight", weight_object);
    const CrossEntropyShape shape = infer(log_probabilities, target, weight, options);
    const bool each = options.reduction == LossReduction::none;
    check_shape(kBackwardOp, "grad_loss", grad_loss, each ? target.shape() : Shape{});
    const Output<T> grad_input(kBackwardOp, log_probabilities.shape());
    {
      const py::gil_scoped_release release;
      cross_entropy_backward(shape, options, grad_loss.span(), log_probabilities.span(),
                             target.span(), weight.span(), total_weight, grad_input.span());
    }
    return grad_input.array();
  });
}

}  // namespace

void bind_cross_entropy(py::module_& module) {
  module.def("cross_entropy_forward", forward, py::arg("input"), py::arg("target"),
             py::arg("weight"), py::arg("label_smoothing"), py::arg("ignore_index"),
             py::arg("reduction"));
  module.def("cross_entropy_backward", backward, py::arg("grad_loss"), py::arg("log_probabilities"),
             py::arg("target"), py::arg("weight"), py::arg("label_smoothing"),
             py::arg("ignore_index"), py::arg("reduction"), py::arg("total_weight"));
}

}  // namespace convolite::python
