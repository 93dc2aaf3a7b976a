// Activation functions and their gradients against the formulas in double precision.
#include <convolite/activation.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "support/arrays.h"
#include "support/settings.h"

namespace convolite::testing {
namespace {

using Real = double (*)(double x, double parameter);

const double kPi = std::acos(-1.0);

double logistic(double x) {
  return 1 / (1 + std::exp(-x));
}
double normal_distribution(double x) {
  return std::erfc(-x / std::sqrt(2.0)) / 2;
}
double normal_density(double x) {
  return std::exp(-x * x / 2) / std::sqrt(2 * kPi);
}
double cubic(double x) {
  return std::sqrt(2 / kPi) * (x + 0.044715 * x * x * x);
}
double cubic_slope(double x) {
  return std::sqrt(2 / kPi) * (1 + 3 * 0.044715 * x * x);
}

// `slope` is the derivative as a function of what is saved: the output or the input. `terms` bounds
// the size of what is added up or carried through an exponential, relative to 1.
struct Function {
  const char* name;
  ActivationFunction function;
  bool saves_output;
  double parameter;
  Real value, slope, terms;
};

std::ostream& operator<<(std::ostream& out, const Function& given) {
  return out << given.name;
}

const Real kNoTerms = [](double, double) { return 0.0; };
const Real kSquare = [](double x, double) { return x * x; };

const Function kFunctions[] = {
    {"relu", ActivationFunction::relu, true, 0, [](double x, double) { return x < 0 ? 0 : x; },
     [](double y, double) { return y > 0 ? 1.0 : 0.0; }, kNoTerms},
    {"leaky_relu", ActivationFunction::leaky_relu, false, 0.25,
     [](double x, double p) { return x > 0 ? x : p * x; },
     [](double x, double p) { return x > 0 ? 1.0 : p; }, kNoTerms},
    {"relu6", ActivationFunction::relu6, true, 0,
     [](double x, double) { return x < 0   ? 0
                                   : x > 6 ? 6
                                           : x; },
     [](double y, double) { return y > 0 && y < 6 ? 1.0 : 0.0; }, kNoTerms},
    {"elu", ActivationFunction::elu, false, 1.5,
     [](double x, double p) { return x > 0 ? x : p * std::expm1(x); },
     [](double x, double p) { return x > 0 ? 1.0 : p * std::exp(x); }, kNoTerms},
    {"gelu", ActivationFunction::gelu, false, 0,
     [](double x, double) { return x * normal_distribution(x); },
     [](double x, double) { return normal_distribution(x) + x * normal_density(x); }, kSquare},
    {"gelu_tanh", ActivationFunction::gelu_tanh, false, 0,
     [](double x, double) { return x * logistic(2 * cubic(x)); },
     [](double x, double) {
       const double s = logistic(2 * cubic(x));
       return s + x * s * (1 - s) * 2 * cubic_slope(x);
     },
     kSquare},
    {"silu", ActivationFunction::silu, false, 0, [](double x, double) { return x * logistic(x); },
     [](double x, double) { return logistic(x) * (1 + x * logistic(-x)); }, kSquare},
    {"hardswish", ActivationFunction::hardswish, false, 0,
     [](double x, double) { return x * std::min(std::max(x + 3, 0.0), 6.0) / 6; },
     [](double x, double) { return x <= -3  ? 0.0
                                   : x >= 3 ? 1.0
                                            : x / 3 + 0.5; }, kSquare},
    {"hardsigmoid", ActivationFunction::hardsigmoid, false, 0,
     [](double x, double) { return std::min(std::max(x + 3, 0.0), 6.0) / 6; },
     [](double x, double) { return x > -3 && x < 3 ? 1.0 / 6 : 0.0; }, kSquare},
    {"sigmoid", ActivationFunction::sigmoid, true, 0, [](double x, double) { return logistic(x); },
     [](double y, double) { return y * (1 - y); }, kNoTerms},
    {"tanh", ActivationFunction::tanh, true, 0, [](double x, double) { return std::tanh(x); },
     [](double y, double) { return 1 - y * y; }, kNoTerms},
};

class Activations : public ::testing::TestWithParam<Function> {};

// Sizes around vectors and blocks.
const Index kCounts[] = {0, 1, 5, 16, 33, 40000};

std::vector<double> inputs(Index count) {
  std::vector<double> values = Numbers(1).normals(count);
  for (double& value : values) value = static_cast<float>(3 * value);
  if (count > 4) values[1] = 0, values[2] = 6, values[3] = -3;
  return values;
}

template <class T>
void check_forward(const Function& f, Index count) {
  const std::vector<double> x = inputs(count);
  Expected expected;
  for (const double value : x) {
    const double y = f.value(value, f.parameter);
    expected.values.push_back(y);
    const bool is_hard = f.function == ActivationFunction::hardswish ||
                         f.function == ActivationFunction::hardsigmoid;
    const double size = is_hard ? 1 : std::fabs(y);
    expected.scale.push_back(size * (1 + f.terms(value, f.parameter)));
  }
  const Argument<T> input(x);
  check_everywhere<T>(expected, [&](Edge edge, Span<T> output) {
    activation_forward<T>(f.function, static_cast<T>(f.parameter), input(edge), output);
  });
}

template <class T>
void check_backward(const Function& f, Index count) {
  std::vector<double> saved = inputs(count);
  if (f.saves_output) {
    for (double& x : saved) x = static_cast<float>(f.value(x, f.parameter));
  }
  const std::vector<double> grads = Numbers(2).normals(count);
  Expected expected;
  for (Index i = 0; i < count; ++i) {
    expected.values.push_back(grads[i] * f.slope(saved[i], f.parameter));
    expected.scale.push_back(std::fabs(grads[i]) * (1 + f.terms(saved[i], f.parameter)));
  }
  const Argument<T> grad_output(grads), kept(saved);
  check_everywhere<T>(expected, [&](Edge edge, Span<T> output) {
    activation_backward<T>(f.function, static_cast<T>(f.parameter), grad_output(edge), kept(edge),
                           output);
  });
}

TEST_P(Activations, forward_follows_the_formula) {
  for (const Index count : kCounts) {
    check_forward<float>(GetParam(), count);
    check_forward<double>(GetParam(), count);
  }
}

TEST_P(Activations, backward_multiplies_by_the_derivative) {
  for (const Index count : kCounts) {
    check_backward<float>(GetParam(), count);
    check_backward<double>(GetParam(), count);
  }
}

TEST_P(Activations, nan_stays_nan) {
  const std::vector<double> x(19, std::numeric_limits<double>::quiet_NaN());
  const Argument<float> input(x);
  check_everywhere<float>({x, {}}, [&](Edge edge, Span<float> output) {
    activation_forward<float>(GetParam().function, static_cast<float>(GetParam().parameter),
                              input(edge), output);
  });
}

INSTANTIATE_TEST_SUITE_P(functions, Activations, ::testing::ValuesIn(kFunctions),
                         [](const auto& function) { return function.param.name; });

}  // namespace
}  // namespace convolite::testing
