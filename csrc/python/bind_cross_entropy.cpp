// convolite._core.cross_entropy_* and nll_loss_*.
#include <convolite/cross_entropy.h>

#include "arrays.h"

namespace convolite::python {
namespace {

constexpr const char* kOp = "cross_entropy";
constexpr const char* kBackwardOp = "cross_entropy_backward";

LossReduction parse_reduction(const char* op, const std::string& name) {
  if (name == "none") return LossReduction::none;
  if (name == "mean") return LossReduction::mean;
  if (name == "sum") return LossReduction::sum;
  fail(op, ": reduction must be one of none, mean, sum, got ", name);
}

template <class T>
CrossEntropyShape infer(const char* op, const Shape& input, const Indices& target,
                        const OptionalInput<T>& weight, const CrossEntropyOptions& options) {
  if (weight.given()) check_ndim(op, "weight", weight.get(), 1, "(classes)");
  return CrossEntropyShape::infer(input, target.shape(), target.span(), weight.span().size,
                                  weight.given(), options, op);
}

py::tuple forward(const py::array& input_array, const py::array& target_array,
                  const py::object& weight_object, double label_smoothing, Index ignore_index,
                  const std::string& reduction) {
  const CrossEntropyOptions options = {label_smoothing, ignore_index,
                                       parse_reduction(kOp, reduction)};
  return dispatch(kOp, "input", input_array, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const Input<T> input(kOp, "input", input_array);
    const Indices target(kOp, "target", target_array);
    const OptionalInput<T> weight(kOp, "weight", weight_object);
    const CrossEntropyShape shape = infer(kOp, input.shape(), target, weight, options);
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

py::array backward(const py::object& grad_loss_object, const py::array& log_probabilities_array,
                   const py::array& target_array, const py::object& weight_object,
                   double label_smoothing, Index ignore_index, const std::string& reduction,
                   double total_weight) {
  const CrossEntropyOptions options = {label_smoothing, ignore_index,
                                       parse_reduction(kOp, reduction)};
  const py::array grad_loss_array = as_array(grad_loss_object);
  return dispatch(kBackwardOp, "grad_loss", grad_loss_array, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Input<T> grad_loss(kBackwardOp, "grad_loss", grad_loss_array);
    const Input<T> log_probabilities(kBackwardOp, "log_probabilities", log_probabilities_array,
                                     "grad_loss");
    const Indices target(kBackwardOp, "target", target_array);
    const OptionalInput<T> weight(kBackwardOp, "weight", weight_object);
    const CrossEntropyShape shape = infer(kOp, log_probabilities.shape(), target, weight, options);
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

py::tuple nll_loss(const py::array& input_array, const py::array& target_array,
                   const py::object& weight_object, Index ignore_index,
                   const std::string& reduction) {
  const char* op = "nll_loss";
  const CrossEntropyOptions options = {0.0, ignore_index, parse_reduction(op, reduction)};
  return dispatch(op, "input", input_array, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const Input<T> input(op, "input", input_array);
    const Indices target(op, "target", target_array);
    const OptionalInput<T> weight(op, "weight", weight_object);
    const CrossEntropyShape shape = infer(op, input.shape(), target, weight, options);
    const bool each = options.reduction == LossReduction::none;
    const Output<T> loss(op, each ? target.shape() : Shape{});
    double total_weight;
    {
      const py::gil_scoped_release release;
      total_weight =
          nll_loss_forward(shape, options, input.span(), target.span(), weight.span(), loss.span());
    }
    return py::make_tuple(loss.array(), total_weight);
  });
}

py::array nll_loss_gradient(const py::object& grad_loss_object, const Shape& input_shape,
                            const py::array& target_array, const py::object& weight_object,
                            Index ignore_index, const std::string& reduction, double total_weight) {
  const char* op = "nll_loss_backward";
  const CrossEntropyOptions options = {0.0, ignore_index, parse_reduction(op, reduction)};
  const py::array grad_loss_array = as_array(grad_loss_object);
  return dispatch(op, "grad_loss", grad_loss_array, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Input<T> grad_loss(op, "grad_loss", grad_loss_array);
    const Indices target(op, "target", target_array);
    const OptionalInput<T> weight(op, "weight", weight_object);
    const CrossEntropyShape shape = infer(op, input_shape, target, weight, options);
    const bool each = options.reduction == LossReduction::none;
    check_shape(op, "grad_loss", grad_loss, each ? target.shape() : Shape{});
    const Output<T> grad_input(op, input_shape);
    {
      const py::gil_scoped_release release;
      nll_loss_backward(shape, options, grad_loss.span(), target.span(), weight.span(),
                        total_weight, grad_input.span());
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
  module.def("nll_loss_forward", nll_loss, py::arg("input"), py::arg("target"), py::arg("weight"),
             py::arg("ignore_index"), py::arg("reduction"));
  module.def("nll_loss_backward", nll_loss_gradient, py::arg("grad_loss"), py::arg("input_shape"),
             py::arg("target"), py::arg("weight"), py::arg("ignore_index"), py::arg("reduction"),
             py::arg("total_weight"));
}

}  // namespace convolite::python
