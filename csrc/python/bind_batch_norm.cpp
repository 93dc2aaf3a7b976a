// convolite._core.batch_norm_*.
#include <convolite/batch_norm.h>

#include "arrays.h"
#include "norm_arguments.h"
#include "pool_arguments.h"

namespace convolite::python {
namespace {

constexpr const char* kOp = "batch_norm";

// What training and inference read besides images, checked in this order.
template <class T>
struct TrainingOperands {
  AffineInputs<T> affine;
  RunningStatistics<T> running;
  Activation activation;

  TrainingOperands(const py::object& weight, const py::object& bias, const py::object& running_mean,
                   const py::object& running_var, double momentum,
                   const std::string& activation_name, Index channels)
      : affine(weight, bias, channels),
        running{span("running_mean", running_mean, channels),
                span("running_var", running_var, channels), momentum},
        activation(parse_activation(kOp, activation_name)) {}

 private:
  // Running statistics: an array (or None) that is updated where it lies.
  static Span<T> span(const char* name, const py::object& object, Index channels) {
    return optional_span_in_place<T>(kOp, name, object, {channels}, "input");
  }
};

template <class T>
struct InferenceOperands : NormInputs<T> {
  Activation activation;

  InferenceOperands(const py::object& weight, const py::object& bias, const py::array& mean,
                    const py::array& var, const std::string& activation_name, Index channels)
      : NormInputs<T>(weight, bias, mean, var, channels),
        activation(parse_activation(kOp, activation_name)) {}
};

py::tuple forward_training(const py::array& input_array, const py::object& weight,
                           const py::object& bias, const py::object& running_mean,
                           const py::object& running_var, double momentum, double eps,
                           const std::string& activation_name, const py::object& residual_object) {
  return dispatch(kOp, "input", input_array, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const Input<T> input(kOp, "input", input_array);
    const BatchNormShape shape = BatchNormShape::infer(input.shape(), true);
    const OptionalInput<T> residual(kOp, "residual", residual_object);
    if (residual.given()) check_shape(kOp, "residual", residual.get(), input.shape());
    const TrainingOperands<T> given(weight, bias, running_mean, running_var, momentum,
                                    activation_name, shape.c);
    const Output<T> output(kOp, input.shape());
    const Output<T> mean(kOp, {shape.c}), inv_std(kOp, {shape.c});
    {
      const py::gil_scoped_release release;
      batch_norm_forward_training(shape, input.span(), given.affine.spans(), given.running, eps,
                                  given.activation, output.span(), mean.span(), inv_std.span(),
                                  residual.span());
    }
    return py::make_tuple(output.array(), mean.array(), inv_std.array());
  });
}

py::array forward_inference(const py::array& input_array, const py::object& weight,
                            const py::object& bias, const py::array& running_mean,
                            const py::array& running_var, double eps,
                            const std::string& activation_name, const py::object& residual_object) {
  return dispatch(kOp, "input", input_array, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Input<T> input(kOp, "input", input_array);
    const BatchNormShape shape = BatchNormShape::infer(input.shape(), false);
    const OptionalInput<T> residual(kOp, "residual", residual_object);
    if (residual.given()) check_shape(kOp, "residual", residual.get(), input.shape());
    const InferenceOperands<T> given(weight, bias, running_mean, running_var, activation_name,
                                     shape.c);
    const Output<T> output(kOp, input.shape());
    {
      const py::gil_scoped_release release;
      batch_norm_forward_inference(shape, input.span(), given.affine.spans(),
                                   given.running_mean.span(), given.running_var.span(), eps,
                                   given.activation, output.span(), residual.span());
    }
    return output.array();
  });
}

// Mean and inverse deviation for backward: copies, since training may change the arguments.
py::tuple statistics(const py::array& running_mean_array, const py::array& running_var_array,
                     double eps) {
  return dispatch(kOp, "running_mean", running_mean_array, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const Input<T> running_mean(kOp, "running_mean", running_mean_array);
    const Input<T> running_var(kOp, "running_var", running_var_array, "running_mean");
    check_shape(kOp, "running_var", running_var, running_mean.shape());
    const Output<T> mean(kOp, running_mean.shape()), inv_std(kOp, running_mean.shape());
    std::copy_n(running_mean.span().data, mean.span().size, mean.span().data);
    batch_norm_inverse_deviation(running_var.span(), eps, inv_std.span());
    return py::make_tuple(mean.array(), inv_std.array());
  });
}

py::tuple backward(const py::array& grad_output_array, const py::array& input_array,
                   const py::object& weight, const py::array& mean_array,
                   const py::array& inv_std_array, bool training, const py::object& bias,
                   const std::string& activation_name, const py::object& output_object) {
  const char* op = "batch_norm_backward";
  return dispatch(op, "input", input_array, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const Input<T> grad_output(op, "grad_output", grad_output_array);
    const Input<T> input(op, "input", input_array);
    const BatchNormShape shape = BatchNormShape::infer(input.shape(), training);
    check_shape(op, "grad_output", grad_output, input.shape());
    const OptionalInput<T> output(op, "output", output_object);
    if (output.given()) check_shape(op, "output", output.get(), input.shape());
    const AffineInputs<T> affine(weight, bias, shape.c);
    const Input<T> mean(op, "mean", mean_array), inv_std(op, "inv_std", inv_std_array);
    check_shape(op, "mean", mean, {shape.c});
    check_shape(op, "inv_std", inv_std, {shape.c});
    const Activation activation = parse_activation(op, activation_name);
    if (output.given() && activation == Activation::none) {
      fail(op, ": output is only needed behind an activation");
    }
    const Output<T> grad_input(op, input.shape());
    const Output<T> grad_weight(op, {shape.c}), grad_bias(op, {shape.c});
    const Output<T> grad_residual(op, output.given() ? input.shape() : Shape{0});
    {
      const py::gil_scoped_release release;
      batch_norm_backward(shape, grad_output.span(), input.span(), affine.spans(), mean.span(),
                          inv_std.span(), training, activation, grad_input.span(),
                          grad_weight.span(), grad_bias.span(), output.span(),
                          grad_residual.span());
    }
    const py::object passed = output.given() ? py::object(grad_residual.array()) : py::none();
    return py::make_tuple(grad_input.array(), grad_weight.array(), grad_bias.array(), passed);
  });
}

py::tuple pooled_forward_training(const py::array& input_array, const py::object& weight,
                                  const py::object& bias, const py::object& running_mean,
                                  const py::object& running_var, double momentum, double eps,
                                  const std::string& activation_name, const Pair& kernel,
                                  const Pair& stride, const Quadruple& padding,
                                  const Pair& dilation, bool ceil_mode) {
  const PoolWindow window = window_of(kernel, stride, padding, dilation, ceil_mode);
  return dispatch(kOp, "input", input_array, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const Input<T> input(kOp, "input", input_array);
    const auto shape = PooledBatchNormShape::infer(nchw(kOp, input), window, true);
    const Index channels = shape.norm.c;
    const TrainingOperands<T> given(weight, bias, running_mean, running_var, momentum,
                                    activation_name, channels);
    return with_offset_type(shape.pool, [&](auto zero_offset) -> py::tuple {
      using Offset = decltype(zero_offset);
      const Output<T> output(kOp, array_shape(shape.pool.input, shape.pool.output));
      const Output<Offset> offsets(kOp, array_shape(shape.pool.input, shape.pool.output));
      const Output<T> mean(kOp, {channels}), inv_std(kOp, {channels});
      {
        const py::gil_scoped_release release;
        pooled_batch_norm_forward_training(shape, input.span(), given.affine.spans(), given.running,
                                           eps, given.activation, output.span(), offsets.span(),
                                           mean.span(), inv_std.span());
      }
      return py::make_tuple(output.array(), offsets.array(), mean.array(), inv_std.array());
    });
  });
}

py::tuple pooled_forward_inference(const py::array& input_array, const py::object& weight,
                                   const py::object& bias, const py::array& running_mean,
                                   const py::array& running_var, double eps,
                                   const std::string& activation_name, const Pair& kernel,
                                   const Pair& stride, const Quadruple& padding,
                                   const Pair& dilation, bool ceil_mode) {
  const PoolWindow window = window_of(kernel, stride, padding, dilation, ceil_mode);
  return dispatch(kOp, "input", input_array, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const Input<T> input(kOp, "input", input_array);
    const auto shape = PooledBatchNormShape::infer(nchw(kOp, input), window, false);
    const InferenceOperands<T> given(weight, bias, running_mean, running_var, activation_name,
                                     shape.norm.c);
    return with_offset_type(shape.pool, [&](auto zero_offset) -> py::tuple {
      using Offset = decltype(zero_offset);
      const Output<T> output(kOp, array_shape(shape.pool.input, shape.pool.output));
      const Output<Offset> offsets(kOp, array_shape(shape.pool.input, shape.pool.output));
      {
        const py::gil_scoped_release release;
        pooled_batch_norm_forward_inference(shape, input.span(), given.affine.spans(),
                                            given.running_mean.span(), given.running_var.span(),
                                            eps, given.activation, output.span(), offsets.span());
      }
      return py::make_tuple(output.array(), offsets.array());
    });
  });
}

}  // namespace

void bind_batch_norm(py::module_& module) {
  module.def("batch_norm_forward_training", forward_training, py::arg("input"), py::arg("weight"),
             py::arg("bias"), py::arg("running_mean"), py::arg("running_var"), py::arg("momentum"),
             py::arg("eps"), py::arg("activation"), py::arg("residual") = py::none());
  module.def("batch_norm_forward_inference", forward_inference, py::arg("input"), py::arg("weight"),
             py::arg("bias"), py::arg("running_mean"), py::arg("running_var"), py::arg("eps"),
             py::arg("activation"), py::arg("residual") = py::none());
  module.def("batch_norm_statistics", statistics, py::arg("running_mean"), py::arg("running_var"),
             py::arg("eps"));
  module.def("batch_norm_backward", backward, py::arg("grad_output"), py::arg("input"),
             py::arg("weight"), py::arg("mean"), py::arg("inv_std"), py::arg("training"),
             py::arg("bias") = py::none(), py::arg("activation") = "none",
             py::arg("output") = py::none());
  module.def("pooled_batch_norm_forward_training", pooled_forward_training, py::arg("input"),
             py::arg("weight"), py::arg("bias"), py::arg("running_mean"), py::arg("running_var"),
             py::arg("momentum"), py::arg("eps"), py::arg("activation"), py::arg("kernel"),
             py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("ceil_mode"));
  module.def("pooled_batch_norm_forward_inference", pooled_forward_inference, py::arg("input"),
             py::arg("weight"), py::arg("bias"), py::arg("running_mean"), py::arg("running_var"),
             py::arg("eps"), py::arg("activation"), py::arg("kernel"), py::arg("stride"),
             py::arg("padding"), py::arg("dilation"), py::arg("ceil_mode"));
}

}  // namespace convolite::python
