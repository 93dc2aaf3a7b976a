// Operations that read and write each element once, at the sizes of the sample network with batch
// 64: its first activations (1,384,448 elements) and its parameters. Checked element by element.
#include <convolite/activation.h>
#include <convolite/elementwise.h>
#include <convolite/optimizer.h>
#include <convolite/softmax.h>

#include <cmath>
#include <functional>

#include "register.h"
#include "report.h"
#include "support/arrays.h"

namespace convolite::benchmarks {
namespace {

using testing::Numbers;

constexpr Index kActivations = 64 * 32 * 26 * 26;
constexpr Index kParameters = 225034;
constexpr Index kRows = 20000, kClasses = 10;

Array normals(std::uint64_t seed, Index count) {
  const std::vector<double> values = Numbers(seed).normals(count);
  return {values.begin(), values.end()};
}

// Whether result[i] is expected(i) up to a few units of rounding.
bool equals(const Array& result, const std::function<double(std::size_t)>& expected) {
  for (std::size_t i = 0; i < result.size(); ++i) {
    const double wanted = expected(i);
    if (!(std::fabs(result[i] - wanted) <= 1e-6 + 1e-6 * std::fabs(wanted))) return false;
  }
  return true;
}

Index bytes_of(Index arrays, Index count) {
  return arrays * count * static_cast<Index>(sizeof(float));
}

void run_activation(benchmark::State& state, ActivationFunction function, double (*value)(double)) {
  Array input = normals(1, kActivations), output(input.size());
  checked_loop(
      state, [&] { return equals(output, [&](std::size_t i) { return value(input[i]); }); },
      [&] { activation_forward<float>(function, 0.0f, span(input), span(output)); });
  report_bytes(state, bytes_of(2, kActivations));
}

void run_relu_backward(benchmark::State& state) {
  Array saved = normals(1, kActivations), grad_output = normals(2, kActivations);
  Array grad_input(saved.size());
  for (float& value : saved) value = value < 0 ? 0 : value;
  checked_loop(
      state,
      [&] {
        return equals(grad_input,
                      [&](std::size_t i) { return saved[i] > 0 ? grad_output[i] : 0.0; });
      },
      [&] {
        activation_backward<float>(ActivationFunction::relu, 0.0f, span(grad_output), span(saved),
                                   span(grad_input));
      });
  report_bytes(state, bytes_of(3, kActivations));
}

void run_add(benchmark::State& state) {
  Array a = normals(1, kActivations), b = normals(2, kActivations), sum(a.size());
  const BroadcastShape shape = BroadcastShape::infer("add", {kActivations}, {kActivations});
  checked_loop(
      state,
      [&] { return equals(sum, [&](std::size_t i) { return static_cast<double>(a[i]) + b[i]; }); },
      [&] { binary<float>(BinaryOperation::add, shape, span(a), span(b), span(sum)); });
  report_bytes(state, bytes_of(3, kActivations));
}

void run_log_softmax(benchmark::State& state) {
  Array input = normals(1, kRows * kClasses), output(input.size());
  const auto expected = [&](std::size_t i) {
    const std::size_t first = i / kClasses * kClasses;
    double sum = 0;
    for (std::size_t j = first; j < first + kClasses; ++j) sum += std::exp(double{input[j]});
    return input[i] - std::log(sum);
  };
  checked_loop(
      state, [&] { return equals(output, expected); },
      [&] {
        log_softmax_forward<float>({kRows, kClasses, 1}, span(input), span(output));
      });
  report_bytes(state, bytes_of(2, kRows * kClasses));
}

// Each step moves the parameters; the check follows the first one from its start.
void run_sgd(benchmark::State& state) {
  const Array start = normals(1, kParameters), velocity = normals(2, kParameters);
  Array gradient = normals(3, kParameters), parameter = start, buffer = velocity;
  SgdOptions options;
  options.lr = 1e-3;
  options.momentum = 0.9;
  checked_loop(
      state,
      [&] {
        return equals(parameter, [&](std::size_t i) {
          return start[i] - 1e-3 * (0.9 * velocity[i] + gradient[i]);
        });
      },
      [&] {
        sgd_step<float>(options, {span(parameter)}, {Span<const float>(span(gradient))},
                        {span(buffer)});
      });
  report_bytes(state, bytes_of(5, kParameters));
}

void run_adam(benchmark::State& state) {
  const Array start = normals(1, kParameters);
  Array gradient = normals(3, kParameters), parameter = start;
  Array average(start.size()), square(start.size());
  AdamOptions options;
  options.lr = 1e-3;
  options.beta1 = 0.9;
  options.beta2 = 0.999;
  options.eps = 1e-8;
  checked_loop(
      state,
      [&] {
        return equals(parameter, [&](std::size_t i) {
          return start[i] - 1e-3 * gradient[i] / (std::fabs(gradient[i]) + 1e-8);
        });
      },
      [&] {
        adam_step<float>(options, {span(parameter)}, {Span<const float>(span(gradient))},
                         {span(average)}, {span(square)});
      });
  report_bytes(state, bytes_of(7, kParameters));
}

}  // namespace

void register_elementwise() {
  add("elementwise/relu_forward", [](auto& state) {
    run_activation(state, ActivationFunction::relu, [](double x) { return x < 0 ? 0 : x; });
  });
  add("elementwise/gelu_forward", [](auto& state) {
    run_activation(state, ActivationFunction::gelu,
                   [](double x) { return x * std::erfc(-x / std::sqrt(2.0)) / 2; });
  });
  add("elementwise/relu_backward", run_relu_backward);
  add("elementwise/add", run_add);
  add("elementwise/log_softmax", run_log_softmax);
  add("elementwise/sgd_step", run_sgd);
  add("elementwise/adam_step", run_adam);
}

}  // namespace convolite::benchmarks
