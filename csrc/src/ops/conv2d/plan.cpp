// The menu itself, and the public functions, which only ask it.
#include "ops/conv2d/plan.h"

#include <convolite/runtime.h>

#include <atomic>
#include <cassert>
#include <string>

#include "ops/conv2d/depthwise.h"
#include "ops/conv2d/direct.h"
#include "ops/conv2d/group_lanes.h"
#include "ops/conv2d/narrow.h"
#include "ops/conv2d/pointwise.h"
#include "ops/conv2d/winograd.h"

namespace convolite {
namespace {

std::atomic<bool> fast_math{true};

const char* accepts_everything(const Conv2dShape&, Pass) {
  return nullptr;
}

template <class T>
constexpr Conv2dMethod<T> kPointwise = {"pointwise",
                                        pointwise_declines,
                                        "1x1 kernels: one matrix product per image, in place",
                                        pointwise_forward<T>,
                                        pointwise_backward_input<T>,
                                        pointwise_backward_weight<T>};

template <class T>
constexpr Conv2dMethod<T> kDirect = {
    "direct",
    accepts_everything,
    "implicit GEMM, output channels as lanes: any kernel, stride, dilation and groups",
    direct_forward<T>,
    direct_backward_input<T>,
    direct_backward_weight<T>};

template <class T>
constexpr Conv2dMethod<T> kDepthwise = {"depthwise",
                                        depthwise_declines,
                                        "every output channel has one input channel",
                                        depthwise_forward<T>,
                                        depthwise_backward_input<T>,
                                        depthwise_backward_weight<T>,
                                        depthwise_form_in_words<T>};

template <class T>
constexpr Conv2dMethod<T> kGrouped = {"grouped",
                                      group_lanes_decline<T>,
                                      "groups as lanes: few channels in each of many groups",
                                      group_lanes_forward<T>,
                                      group_lanes_backward_input<T>,
                                      group_lanes_backward_weight<T>};

template <class T>
constexpr Conv2dMethod<T> kNarrow = {
    "narrow",
    narrow_declines<T>,
    "few channels in the result: pixels as lanes, the products of each tap are shifted and added",
    narrow_forward<T>,
    narrow_backward_input<T>,
    direct_backward_weight<T>};

const char* winograd_or_exact(const Conv2dShape& shape, Pass pass) {
  return get_fast_math() ? winograd_declines(shape, pass) : "fast math is off";
}

// From the most special method to the most general, which takes everything. Each needs a row in
// cases/conv2d.csv where it wins.
template <class T>
const std::vector<Conv2dMethod<T>>& menu();

template <>
const std::vector<Conv2dMethod<float>>& menu() {
  static const std::vector<Conv2dMethod<float>> methods = {
      {"winograd", winograd_or_exact,
       "F(4x4, 3x3): a quarter of the multiplications, 3x3 kernels, stride 1", winograd_forward,
       winograd_backward_input, winograd_backward_weight, winograd_form},
      kPointwise<float>,
      kDepthwise<float>,
      kGrouped<float>,
      kNarrow<float>,
      kDirect<float>,
  };
  return methods;
}

// float64 is asked for where rounding matters: no method that adds to it.
template <>
const std::vector<Conv2dMethod<double>>& menu() {
  static const std::vector<Conv2dMethod<double>> methods = {
      kPointwise<double>, kDepthwise<double>, kGrouped<double>, kNarrow<double>, kDirect<double>};
  return methods;
}

template <class T>
std::string why_chosen(const Conv2dMethod<T>& method, const Conv2dShape& shape, Pass pass) {
  const char* const form = method.form == nullptr ? nullptr : method.form(shape, pass);
  return form == nullptr ? method.reason : std::string(method.reason) + "; " + form;
}

}  // namespace

bool get_fast_math() {
  return fast_math;
}

void set_fast_math(bool on) {
  fast_math = on;
}

template <class T>
const Conv2dMethod<T>& plan_conv2d(const Conv2dShape& shape, Pass pass) {
  for (const Conv2dMethod<T>& method : menu<T>()) {
    if (method.declines(shape, pass) == nullptr) return method;
  }
  return menu<T>().back();
}

template <class T>
std::vector<Conv2dChoice> conv2d_explain(const Conv2dShape& shape, Pass pass) {
  std::vector<Conv2dChoice> choices;
  for (const Conv2dMethod<T>& method : menu<T>()) {
    const char* reason = method.declines(shape, pass);
    if (reason == nullptr) {
      choices.push_back({method.name, true, why_chosen(method, shape, pass)});
      break;
    }
    choices.push_back({method.name, false, reason});
  }
  return choices;
}

template <class T>
void conv2d_forward(const Conv2dShape& shape, Span<const T> input, Span<const T> weight,
                    const Conv2dEpilogue<T>& epilogue, Span<T> output) {
  assert(input.size == shape.input.size() && weight.size == shape.weight_size());
  assert(output.size == shape.result().size());
  assert(epilogue.scale.data == nullptr || epilogue.scale.size == shape.out_channels);
  assert(epilogue.residual.data == nullptr || epilogue.residual.size == output.size);
  plan_conv2d<T>(shape, Pass::forward)
      .forward(shape, input.data, weight.data, epilogue, output.data);
}

template <class T>
void conv2d_forward(const Conv2dShape& shape, Span<const T> input, Span<const T> weight,
                    Span<const T> bias, Activation activation, Span<T> output) {
  conv2d_forward(shape, input, weight, Conv2dEpilogue<T>{bias, activation}, output);
}

template <class T>
void conv2d_backward_input(const Conv2dShape& shape, Span<const T> grad_output,
                           Span<const T> weight, Span<T> grad_input) {
  assert(grad_output.size == shape.result().size() && grad_input.size == shape.input.size());
  plan_conv2d<T>(shape, Pass::backward_input)
      .backward_input(shape, grad_output.data, weight.data, grad_input.data);
}

template <class T>
void conv2d_backward_weight(const Conv2dShape& shape, Span<const T> grad_output,
                            Span<const T> input, Span<T> grad_weight) {
  assert(grad_output.size == shape.result().size() && grad_weight.size == shape.weight_size());
  plan_conv2d<T>(shape, Pass::backward_weight)
      .backward_weight(shape, grad_output.data, input.data, grad_weight.data);
}

#define CONVOLITE_INSTANTIATE(T)                                                                  \
  template const Conv2dMethod<T>& plan_conv2d(const Conv2dShape&, Pass);                          \
  template std::vector<Conv2dChoice> conv2d_explain<T>(const Conv2dShape&, Pass);                 \
  template void conv2d_forward(const Conv2dShape&, Span<const T>, Span<const T>,                  \
                               const Conv2dEpilogue<T>&, Span<T>);                                \
  template void conv2d_forward(const Conv2dShape&, Span<const T>, Span<const T>, Span<const T>,   \
                               Activation, Span<T>);                                              \
  template void conv2d_backward_input(const Conv2dShape&, Span<const T>, Span<const T>, Span<T>); \
  template void conv2d_backward_weight(const Conv2dShape&, Span<const T>, Span<const T>, Span<T>);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
