// Batch norm against its formulas in double precision.
#include <convolite/batch_norm.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/arrays.h"
#include "support/cases.h"
#include "support/settings.h"

namespace convolite::testing {
namespace {

constexpr double kEps = 1e-5;
constexpr double kMomentum = 0.25;

// One problem and the answers of the textbook (Ioffe and Szegedy 2015), channel by channel. Sums
// are long double, so that the oracle's own rounding does not show.
struct Naive {
  Index n, c, length;
  std::vector<double> input, weight, bias, grad_output;
  std::vector<double> mean, var, inv_std;
  Expected output, grad_input, grad_weight, grad_bias;

  Naive(Index images, Index channels, Index pixels, double offset)
      : n(images), c(channels), length(pixels) {
    Numbers numbers(1);
    input = numbers.normals(n * c * length);
    for (double& value : input) value = static_cast<float>(value + offset);
    weight = numbers.normals(c);
    bias = numbers.normals(c);
    grad_output = numbers.normals(n * c * length);
    for (Expected* full : {&output, &grad_input}) {
      full->values.resize(input.size());
      full->scale.resize(input.size());
    }
    for (Expected* of_channel : {&grad_weight, &grad_bias}) {
      of_channel->values.resize(weight.size());
      of_channel->scale.resize(weight.size());
    }
    for (Index channel = 0; channel < c; ++channel) solve(channel);
  }

  template <class Visit>
  void for_each(Index channel, Visit visit) const {
    for (Index image = 0; image < n; ++image) {
      for (Index i = 0; i < length; ++i) visit((image * c + channel) * length + i);
    }
  }

  void solve(Index channel) {
    const double count = static_cast<double>(n * length);
    using Real = long double;
    Real sum = 0, squares = 0;
    for_each(channel, [&](Index i) { sum += input[i]; });
    const Real centre = sum / count;
    for_each(channel, [&](Index i) { squares += (input[i] - centre) * (input[i] - centre); });
    mean.push_back(static_cast<double>(centre));
    var.push_back(static_cast<double>(squares / count));
    const Real steepness = 1 / std::sqrt(squares / count + kEps), gamma = weight[channel];
    inv_std.push_back(static_cast<double>(steepness));
    Real sum_grad = 0, sum_product = 0, size_grad = 0, size_product = 0;
    for_each(channel, [&](Index i) {
      const Real normal = (input[i] - centre) * steepness;
      const Real size = 1 + steepness * (std::fabs(input[i]) + std::fabs(centre));
      output.values[i] = gamma * normal + bias[channel];
      output.scale[i] = 2 * std::fabs(gamma) * size + std::fabs(bias[channel]);
      sum_grad += grad_output[i];
      sum_product += grad_output[i] * normal;
      size_grad += std::fabs(grad_output[i]);
      size_product += std::fabs(grad_output[i]) * size;
    });
    for_each(channel, [&](Index i) {
      const Real normal = (input[i] - centre) * steepness;
      const Real size = 1 + steepness * (std::fabs(input[i]) + std::fabs(centre));
      grad_input.values[i] =
          gamma * steepness * (grad_output[i] - sum_grad / count - normal * sum_product / count);
      grad_input.scale[i] =
          std::fabs(gamma) * steepness *
          (std::fabs(grad_output[i]) + size_grad / count + size * size_product / count);
    });
    grad_weight.values[channel] = sum_product;
    grad_weight.scale[channel] = size_product;
    grad_bias.values[channel] = sum_grad;
    grad_bias.scale[channel] = size_grad;
  }
};

BatchNormShape shape_of(const Naive& p, bool training = true) {
  return BatchNormShape::infer({p.n, p.c, p.length}, training);
}

template <class T>
void check_training(const Naive& p) {
  const BatchNormShape shape = shape_of(p);
  const Argument<T> input(p.input), weight(p.weight), bias(p.bias), grad_output(p.grad_output);
  const Argument<T> mean(p.mean), inv_std(p.inv_std);
  check_everywhere<T>(p.output, [&](Edge edge, Span<T> output) {
    const Result<T> new_mean(p.c, edge), new_inv_std(p.c, edge);
    batch_norm_forward_training<T>(shape, input(edge), {weight(edge), bias(edge)}, {}, kEps,
                                   Activation::none, output, new_mean.span(), new_inv_std.span());
    std::vector<double> sizes = p.mean;
    for (Index i = 0; i < p.c; ++i) sizes[i] = std::fabs(p.mean[i]) + std::sqrt(p.var[i]);
    ASSERT_TRUE(matches<T>(new_mean.span(), {p.mean, sizes}));
    ASSERT_TRUE(matches<T>(new_inv_std.span(), {p.inv_std, p.inv_std}));
    ASSERT_TRUE(new_mean.fence_is_intact() && new_inv_std.fence_is_intact());
  });
  check_everywhere<T>(p.grad_input, [&](Edge edge, Span<T> output) {
    const Result<T> grad_weight(p.c, edge), grad_bias(p.c, edge);
    batch_norm_backward<T>(shape, grad_output(edge), input(edge), {weight(edge), bias(edge)},
                           mean(edge), inv_std(edge), true, Activation::none, output,
                           grad_weight.span(), grad_bias.span());
    ASSERT_TRUE(matches<T>(grad_weight.span(), p.grad_weight));
    ASSERT_TRUE(matches<T>(grad_bias.span(), p.grad_bias));
    ASSERT_TRUE(grad_weight.fence_is_intact() && grad_bias.fence_is_intact());
  });
}

class BatchNormCases : public ::testing::TestWithParam<Case> {
 protected:
  static Naive problem(double offset) {
    return {GetParam()["n"], GetParam()["c"], GetParam()["h"] * GetParam()["w"], offset};
  }
};

TEST_P(BatchNormCases, training_follows_the_formulas) {
  const Naive p = problem(0);
  check_training<float>(p);
  check_training<double>(p);
}

TEST_P(BatchNormCases, inference_uses_the_running_statistics) {
  const Naive p = problem(0);
  const BatchNormShape shape = shape_of(p, false);
  const Argument<float> input(p.input), weight(p.weight), bias(p.bias), mean(p.mean), var(p.var);
  check_everywhere<float>(p.output, [&](Edge edge, Span<float> output) {
    batch_norm_forward_inference<float>(shape, input(edge), {weight(edge), bias(edge)}, mean(edge),
                                        var(edge), kEps, Activation::none, output);
  });
}

INSTANTIATE_TEST_SUITE_P(rows, BatchNormCases, ::testing::ValuesIn(load_cases("norm", "test")),
                         [](const auto& row) { return row.param.name(); });

TEST(BatchNorm, a_mean_far_from_zero_costs_no_accuracy_of_the_variance) {
  const Naive p(5, 3, 700, 1000);
  check_training<float>(p);
}

TEST(BatchNorm, running_statistics_move_by_the_momentum) {
  const Naive p(4, 5, 12, 0);
  const Argument<double> input(p.input);
  const SettingsGuard guard;
  std::vector<double> mean(5, 2.0), var(5, 3.0), new_mean(5), new_inv_std(5), output(4 * 5 * 12);
  batch_norm_forward_training<double>(
      shape_of(p), input(Edge::end), {}, {{mean.data(), 5}, {var.data(), 5}, kMomentum}, kEps,
      Activation::none, {output.data(), 240}, {new_mean.data(), 5}, {new_inv_std.data(), 5});
  for (Index i = 0; i < 5; ++i) {
    EXPECT_NEAR(0.75 * 2 + 0.25 * p.mean[i], mean[i], 1e-14);
    EXPECT_NEAR(0.75 * 3 + 0.25 * p.var[i] * 48 / 47, var[i], 1e-14);
  }
}

TEST(BatchNorm, a_fused_relu_clamps_forward_and_stops_gradients) {
  const Naive p(3, 7, 45, 0);
  const Argument<float> input(p.input), weight(p.weight), bias(p.bias), mean(p.mean),
      inv_std(p.inv_std), grad_output(p.grad_output);
  Expected clamped = p.output;
  std::vector<double> passed = p.grad_output;
  for (std::size_t i = 0; i < passed.size(); ++i) {
    if (clamped.values[i] <= 0) clamped.values[i] = passed[i] = 0;
  }
  check_everywhere<float>(clamped, [&](Edge edge, Span<float> output) {
    const Result<float> new_mean(p.c, edge), new_inv_std(p.c, edge);
    batch_norm_forward_training<float>(shape_of(p), input(edge), {weight(edge), bias(edge)}, {},
                                       kEps, Activation::relu, output, new_mean.span(),
                                       new_inv_std.span());
  });
  Naive stopped = p;
  stopped.grad_output = passed;
  stopped.mean = stopped.var = stopped.inv_std = {};
  for (Index channel = 0; channel < p.c; ++channel) stopped.solve(channel);
  check_everywhere<float>(stopped.grad_input, [&](Edge edge, Span<float> output) {
    const Result<float> grad_weight(p.c, edge), grad_bias(p.c, edge);
    batch_norm_backward<float>(shape_of(p), grad_output(edge), input(edge),
                               {weight(edge), bias(edge)}, mean(edge), inv_std(edge), true,
                               Activation::relu, output, grad_weight.span(), grad_bias.span());
  });
}

TEST(BatchNorm, fixed_statistics_pass_the_gradient_straight_through) {
  const Naive p(3, 4, 21, 0);
  const Argument<double> input(p.input), weight(p.weight), mean(p.mean), inv_std(p.inv_std),
      grad_output(p.grad_output);
  Expected expected{p.grad_output, {}};
  for (Index i = 0; i < p.n * p.c * p.length; ++i) {
    const Index channel = i / p.length % p.c;
    expected.values[i] *= p.weight[channel] * p.inv_std[channel];
  }
  expected.scale = absolute(expected.values);
  check_everywhere<double>(expected, [&](Edge edge, Span<double> output) {
    const Result<double> grad_weight(p.c, edge), grad_bias(p.c, edge);
    batch_norm_backward<double>(shape_of(p, false), grad_output(edge), input(edge),
                                {weight(edge), {}}, mean(edge), inv_std(edge), false,
                                Activation::none, output, grad_weight.span(), grad_bias.span());
  });
}

template <class T>
void check_inverse_deviation() {
  Expected expected;
  const std::vector<double> var = {0, 1e-30, 0.25, 1, 3, 1e12};
  for (const double value : var) {
    const double given = static_cast<double>(static_cast<T>(value));
    expected.values.push_back(1 / std::sqrt(given + kEps));
    expected.scale.push_back(expected.values.back());
  }
  const Argument<T> running_var(var);
  check_everywhere<T>(expected, [&](Edge edge, Span<T> inv_std) {
    batch_norm_inverse_deviation(running_var(edge), kEps, inv_std);
  });
}

TEST(BatchNorm, the_inverse_deviation_of_running_variances_is_rounded_once) {
  check_inverse_deviation<float>();
  check_inverse_deviation<double>();
  double value = 1;
  EXPECT_NE("", message_of([&] {
              batch_norm_inverse_deviation<double>({&value, 1}, -1, {&value, 1});
            }));
}

TEST(BatchNormShape, refuses_impossible_shapes) {
  EXPECT_EQ(
      "batch_norm: training needs more than one value per channel, got input.shape = "
      "(1, 16, 1, 1)",
      message_of([] {
        BatchNormShape::infer({1, 16, 1, 1}, true);
      }));
  EXPECT_EQ("", message_of([] { BatchNormShape::infer({1, 16, 1, 1}, false); }));
  EXPECT_NE("", message_of([] { BatchNormShape::infer({5}, true); }));
  EXPECT_NE("", message_of([] { BatchNormShape::infer({5, 2, 3, 4, 5}, true); }));
}

}  // namespace
}  // namespace convolite::testing
