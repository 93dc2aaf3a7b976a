// convolite._core.conv2d_*.
#include <convolite/conv2d.h>

#include <optional>

#include "arrays.h"
#include "backward_epilogue.h"
#include "norm_arguments.h"
#include "pool_arguments.h"

namespace convolite::python {
namespace {

// The arguments that every pass shares, as Python gives them.
struct Geometry {
  Pair stride;
  Quadruple padding;
  Pair dilation;
  Index groups;

  Conv2dShape infer(const Nchw& input, const Nchw& weight) const {
    return Conv2dShape::infer(input, weight, to_hw(stride),
                              {padding[0], padding[1], padding[2], padding[3]}, to_hw(dilation),
                              groups);
  }
};

Nchw to_nchw(const char* op, const char* name, const Shape& shape, const char* axes) {
  if (shape.size() != 4) {
    fail(op, ": ", name, " must have 4 axes ", axes, ", got ", name,
         ".shape = ", shape_text(shape));
  }
  return {shape[0], shape[1], shape[2], shape[3]};
}

constexpr const char* kOp = "conv2d";  // in messages of forward
constexpr const char* kImageAxes = "(n, c, h, w)";
constexpr const char* kFilterAxes = "(out_channels, in_channels / groups, kernel_h, kernel_w)";

Shape result_shape(const Conv2dShape& shape) {
  return {shape.input.n, shape.out_channels, shape.output.h, shape.output.w};
}

template <class T>
struct Operands {
  Input<T> input, weight;
  OptionalInput<T> bias;
  Conv2dShape shape;
  Activation activation;

  Operands(const py::array& input_array, const py::array& weight_array,
           const py::object& bias_object, const Geometry& geometry,
           const std::string& activation_name)
      : input(kOp, "input", input_array),
        weight(kOp, "filters", weight_array),
        bias(kOp, "bias", bias_object),
        shape(geometry.infer(to_nchw(kOp, "input", input.shape(), kImageAxes),
                             to_nchw(kOp, "filters", weight.shape(), kFilterAxes))) {
    if (bias.given()) check_shape(kOp, "bias", bias.get(), {shape.out_channels});
    activation = parse_activation(kOp, activation_name);
  }
};

// weight, bias, running_mean, running_var and eps of the batch norm behind a convolution.
using Norm = std::tuple<py::object, py::object, py::array, py::array, double>;

// A convolution's epilogue with the batch norm behind it, if there is one, folded into it.
template <class T>
class FoldedEpilogue {
 public:
  FoldedEpilogue(const Operands<T>& given, const std::optional<Norm>& norm)
      : epilogue_{given.bias.span(), given.activation} {
    if (!norm) return;
    const auto& [weight, bias, mean, var, eps] = *norm;
    const Index channels = given.shape.out_channels;
    const NormInputs<T> inputs(weight, bias, mean, var, channels);
    scale_ = Buffer<T>(channels);
    shift_ = Buffer<T>(channels);
    const Span<T> scale(scale_.get(), channels), shift(shift_.get(), channels);
    batch_norm_fold(inputs.affine.spans(), inputs.running_mean.span(), inputs.running_var.span(),
                    eps, given.bias.span(), scale, shift);
    epilogue_.scale = scale;
    epilogue_.bias = shift;
  }
  const Conv2dEpilogue<T>& get() const { return epilogue_; }

 private:
  Buffer<T> scale_, shift_;
  Conv2dEpilogue<T> epilogue_;
};

py::array forward(const py::array& input, const py::array& weight, const py::object& bias,
                  const Pair& stride, const Quadruple& padding, const Pair& dilation, Index groups,
                  const std::string& activation_name, const std::optional<Norm>& norm,
                  const py::object& residual_object) {
  return dispatch(kOp, "input", input, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Operands<T> given(input, weight, bias, {stride, padding, dilation, groups},
                            activation_name);
    const OptionalInput<T> residual("batch_norm", "residual", residual_object);
    if (residual.given()) {
      check_shape("batch_norm", "residual", residual.get(), result_shape(given.shape));
    }
    const FoldedEpilogue<T> folded(given, norm);
    Conv2dEpilogue<T> epilogue = folded.get();
    epilogue.residual = residual.span();
    const Output<T> output(kOp, result_shape(given.shape));
    {
      const py::gil_scoped_release release;
      conv2d_forward(given.shape, given.input.span(), given.weight.span(), epilogue, output.span());
    }
    return output.array();
  });
}

// `window` is kernel, stride, padding, dilation and ceil mode of the pooling.
using Window = std::tuple<Pair, Pair, Quadruple, Pair, bool>;

py::tuple pooled_forward(const py::array& input, const py::array& weight, const py::object& bias,
                         const Pair& stride, const Quadruple& padding, const Pair& dilation,
                         Index groups, const std::string& activation_name, const Window& window,
                         const std::optional<Norm>& norm) {
  return dispatch(kOp, "input", input, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const Operands<T> given(input, weight, bias, {stride, padding, dilation, groups},
                            activation_name);
    const PooledConv2dShape shape =
        PooledConv2dShape::infer(given.shape, std::apply(window_of, window));
    const FoldedEpilogue<T> folded(given, norm);
    return with_offset_type(shape.pool, [&](auto zero_offset) -> py::tuple {
      using Offset = decltype(zero_offset);
      const Output<T> output(kOp, array_shape(shape.pool.input, shape.pool.output));
      const Output<Offset> offsets(kOp, array_shape(shape.pool.input, shape.pool.output));
      {
        const py::gil_scoped_release release;
        pooled_conv2d_forward(shape, given.input.span(), given.weight.span(), folded.get(),
                              output.span(), offsets.span());
      }
      return py::make_tuple(output.array(), offsets.array(),
                            py::tuple(py::cast(result_shape(given.shape))));
    });
  });
}

py::array backward_input(const py::array& grad_output_array, const py::array& weight_array,
                         const Shape& input_shape, const Pair& stride, const Quadruple& padding,
                         const Pair& dilation, Index groups) {
  const char* op = "conv2d_backward_input";
  return dispatch(op, "grad_output", grad_output_array, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Input<T> grad_output(op, "grad_output", grad_output_array);
    const Input<T> weight(op, "filters", weight_array);
    const Conv2dShape shape = Geometry{stride, padding, dilation, groups}.infer(
        to_nchw(op, "input", input_shape, kImageAxes),
        to_nchw(op, "filters", weight.shape(), kFilterAxes));
    check_shape(op, "grad_output", grad_output, result_shape(shape));
    const Output<T> grad_input(op, input_shape);
    {
      const py::gil_scoped_release release;
      conv2d_backward_input(shape, grad_output.span(), weight.span(), grad_input.span());
    }
    return grad_input.array();
  });
}

py::array backward_weight(const py::array& grad_output_array, const py::array& input_array,
                          const Shape& weight_shape, const Pair& stride, const Quadruple& padding,
                          const Pair& dilation, Index groups) {
  const char* op = "conv2d_backward_weight";
  return dispatch(op, "grad_output", grad_output_array, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Input<T> grad_output(op, "grad_output", grad_output_array);
    const Input<T> input(op, "input", input_array);
    const Conv2dShape shape = Geometry{stride, padding, dilation, groups}.infer(
        to_nchw(op, "input", input.shape(), kImageAxes),
        to_nchw(op, "filters", weight_shape, kFilterAxes));
    check_shape(op, "grad_output", grad_output, result_shape(shape));
    const Output<T> grad_weight(op, weight_shape);
    {
      const py::gil_scoped_release release;
      conv2d_backward_weight(shape, grad_output.span(), input.span(), grad_weight.span());
    }
    return grad_weight.array();
  });
}

py::array backward_bias(const py::array& grad_output_array) {
  const char* op = "conv2d_backward_bias";
  return dispatch(op, "grad_output", grad_output_array, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Input<T> grad_output(op, "grad_output", grad_output_array);
    const Nchw result = to_nchw(op, "grad_output", grad_output.shape(), kImageAxes);
    const Output<T> grad_bias(op, {result.c});
    {
      const py::gil_scoped_release release;
      conv2d_backward_bias(result, grad_output.span(), grad_bias.span());
    }
    return grad_bias.array();
  });
}

py::tuple epilogue(const std::string& activation_name, const py::array& grad_output,
                   const py::array& output, bool wants_passed, bool wants_bias, bool in_place) {
  return backward_epilogue("conv2d_backward_epilogue", activation_name, grad_output, output,
                           {wants_passed, wants_bias}, in_place, 4, kImageAxes,
                           [](const Shape& axes, Activation activation, auto grads, auto outputs,
                              auto passed, auto grad_bias) {
                             conv2d_backward_epilogue({axes[0], axes[1], axes[2], axes[3]},
                                                      activation, grads, outputs, passed,
                                                      grad_bias);
                           });
}

using Line = std::tuple<std::string, std::string, std::string>;

// Calls body with a zero of the type that a dtype names.
template <class Body>
auto dispatch_dtype(const py::dtype& dtype, Body&& body) {
  return dispatch(kOp, "dtype", py::array(dtype, Shape{0}), std::forward<Body>(body));
}

std::vector<Line> explain(const Shape& input_shape, const Shape& weight_shape, const Pair& stride,
                          const Quadruple& padding, const Pair& dilation, Index groups,
                          const py::dtype& dtype) {
  const Conv2dShape shape = Geometry{stride, padding, dilation, groups}.infer(
      to_nchw(kOp, "input", input_shape, kImageAxes),
      to_nchw(kOp, "filters", weight_shape, kFilterAxes));
  const std::pair<const char*, Pass> passes[] = {{"forward", Pass::forward},
                                                 {"backward_input", Pass::backward_input},
                                                 {"backward_weight", Pass::backward_weight}};
  return dispatch_dtype(dtype, [&](auto zero) {
    std::vector<Line> lines;
    for (const auto& [name, pass] : passes) {
      for (const Conv2dChoice& choice : conv2d_explain<decltype(zero)>(shape, pass)) {
        lines.emplace_back(name, choice.method,
                           choice.chosen ? choice.reason : "declined: " + choice.reason);
      }
    }
    return lines;
  });
}

bool is_one_pass(const Shape& input_shape, const Shape& weight_shape, const Pair& stride,
                 const Quadruple& padding, const Pair& dilation, Index groups, const Window& window,
                 const py::dtype& dtype) {
  const PooledConv2dShape shape =
      PooledConv2dShape::infer(Geometry{stride, padding, dilation, groups}.infer(
                                   to_nchw(kOp, "input", input_shape, kImageAxes),
                                   to_nchw(kOp, "filters", weight_shape, kFilterAxes)),
                               std::apply(window_of, window));
  return dispatch_dtype(
      dtype, [&](auto zero) { return pooled_conv2d_is_one_pass<decltype(zero)>(shape); });
}

}  // namespace

void bind_conv2d(py::module_& module) {
  module.def("conv2d_forward", forward, py::arg("input"), py::arg("weight"), py::arg("bias"),
             py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("groups"),
             py::arg("activation"), py::arg("norm") = py::none(), py::arg("residual") = py::none());
  module.def("pooled_conv2d_forward", pooled_forward, py::arg("input"), py::arg("weight"),
             py::arg("bias"), py::arg("stride"), py::arg("padding"), py::arg("dilation"),
             py::arg("groups"), py::arg("activation"), py::arg("window"),
             py::arg("norm") = py::none());
  module.def("conv2d_backward_input", backward_input, py::arg("grad_output"), py::arg("weight"),
             py::arg("input_shape"), py::arg("stride"), py::arg("padding"), py::arg("dilation"),
             py::arg("groups"));
  module.def("conv2d_backward_weight", backward_weight, py::arg("grad_output"), py::arg("input"),
             py::arg("weight_shape"), py::arg("stride"), py::arg("padding"), py::arg("dilation"),
             py::arg("groups"));
  module.def("conv2d_backward_bias", backward_bias, py::arg("grad_output"));
  module.def("conv2d_backward_epilogue", epilogue, py::arg("activation"), py::arg("grad_output"),
             py::arg("output"), py::arg("wants_passed"), py::arg("wants_bias"),
             py::arg("in_place"));
  module.def("conv2d_explain", explain, py::arg("input_shape"), py::arg("weight_shape"),
             py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("groups"),
             py::arg("dtype"));
  module.def("pooled_conv2d_is_one_pass", is_one_pass, py::arg("input_shape"),
             py::arg("weight_shape"), py::arg("stride"), py::arg("padding"), py::arg("dilation"),
             py::arg("groups"), py::arg("window"), py::arg("dtype"));
}

}  // namespace convolite::python
