// Softmax, log-softmax and their gradients, along any axis, against the formulas.
#include <convolite/softmax.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/arrays.h"
#include "support/settings.h"

namespace convolite::testing {
namespace {

// Answers for logits of shape (outer, length, inner), normalised along the middle. Sums are long
// double, so that the oracle's own rounding does not show.
struct Naive {
  Index outer, length, inner;
  std::vector<double> input, grad_output;
  std::vector<double> probability, log_probability;  // rounded to float: they are arguments too
  Expected softmax, log_softmax, softmax_gradient, log_softmax_gradient;

  Naive(Index outer_count, Index axis_length, Index inner_count)
      : outer(outer_count), length(axis_length), inner(inner_count) {
    Numbers numbers(1);
    input = numbers.normals(size());
    for (double& value : input) value = static_cast<float>(5 * value);
    grad_output = numbers.normals(size());
    probability.resize(size());
    log_probability.resize(size());
    for (Expected* each : {&softmax, &log_softmax, &softmax_gradient, &log_softmax_gradient}) {
      each->values.resize(size());
      each->scale.resize(size());
    }
    for (Index i = 0; i < outer; ++i) {
      for (Index j = 0; j < inner; ++j) {
        forward(i * length * inner + j);
        backward(i * length * inner + j);
      }
    }
  }

  Index size() const { return outer * length * inner; }

  void forward(Index first) {
    long double largest = input[first], sum = 0;
    for (Index k = 0; k < length; ++k)
      largest = std::max<long double>(largest, input[first + k * inner]);
    for (Index k = 0; k < length; ++k) sum += std::exp(input[first + k * inner] - largest);
    for (Index k = 0; k < length; ++k) {
      const Index i = first + k * inner;
      const long double distance = largest - input[i];
      softmax.values[i] = std::exp(-distance) / sum;
      softmax.scale[i] = softmax.values[i] * (1 + distance);
      log_softmax.values[i] = -distance - std::log(sum);
      log_softmax.scale[i] = std::fabs(input[i]) + std::fabs(largest) + std::log(sum) + 1;
      probability[i] = static_cast<float>(softmax.values[i]);
      log_probability[i] = static_cast<float>(log_softmax.values[i]);
    }
  }

  void backward(Index first) {
    long double products = 0, product_size = 0, sum = 0, size = 0;
    for (Index k = 0; k < length; ++k) {
      const Index i = first + k * inner;
      products += grad_output[i] * probability[i];
      product_size += std::fabs(grad_output[i]) * probability[i];
      sum += grad_output[i];
      size += std::fabs(grad_output[i]);
    }
    for (Index k = 0; k < length; ++k) {
      const Index i = first + k * inner;
      softmax_gradient.values[i] = probability[i] * (grad_output[i] - products);
      softmax_gradient.scale[i] = probability[i] * (std::fabs(grad_output[i]) + product_size);
      const long double exponential = std::exp(static_cast<long double>(log_probability[i]));
      log_softmax_gradient.values[i] = grad_output[i] - exponential * sum;
      log_softmax_gradient.scale[i] =
          std::fabs(grad_output[i]) + exponential * size * (1 + std::fabs(log_probability[i]));
    }
  }
};

template <class T>
void check(const Naive& p) {
  const SoftmaxShape shape{p.outer, p.length, p.inner};
  const Argument<T> input(p.input), grad_output(p.grad_output), probability(p.probability),
      log_probability(p.log_probability);
  check_everywhere<T>(p.softmax, [&](Edge edge, Span<T> output) {
    softmax_forward<T>(shape, input(edge), output);
  });
  check_everywhere<T>(p.log_softmax, [&](Edge edge, Span<T> output) {
    log_softmax_forward<T>(shape, input(edge), output);
  });
  check_everywhere<T>(p.softmax_gradient, [&](Edge edge, Span<T> output) {
    softmax_backward<T>(shape, grad_output(edge), probability(edge), output);
  });
  check_everywhere<T>(p.log_softmax_gradient, [&](Edge edge, Span<T> output) {
    log_softmax_backward<T>(shape, grad_output(edge), log_probability(edge), output);
  });
}

TEST(Softmax, follows_the_formulas_along_any_axis) {
  const Index sizes[][3] = {{1, 1, 1},   {5, 10, 1},   {3, 17, 1},   {2, 1000, 1},
                            {64, 10, 1}, {7, 3, 5},    {1, 4, 33},   {2, 10, 49},
                            {0, 3, 4},   {3, 2, 1000}, {700, 100, 1}};
  for (const auto& [outer, length, inner] : sizes) {
    SCOPED_TRACE(std::to_string(outer) + " x " + std::to_string(length) + " x " +
                 std::to_string(inner));
    const Naive problem(outer, length, inner);
    check<float>(problem);
    check<double>(problem);
  }
}

TEST(Softmax, huge_logits_do_not_overflow) {
  const Argument<float> input(std::vector<double>{1e30, -1e30, 1e30, 3e38});
  check_everywhere<float>({{0, 0, 0, 1}, {}}, [&](Edge edge, Span<float> output) {
    softmax_forward<float>({1, 4, 1}, input(edge), output);
  });
}

TEST(SoftmaxShape, splits_at_the_axis) {
  const SoftmaxShape shape = SoftmaxShape::infer("softmax", {2, 3, 4, 5}, -3);
  EXPECT_EQ(2, shape.outer);
  EXPECT_EQ(3, shape.length);
  EXPECT_EQ(20, shape.inner);
  EXPECT_NE("", message_of([] { SoftmaxShape::infer("softmax", {2, 3}, 2); }));
  EXPECT_NE("", message_of([] { SoftmaxShape::infer("softmax", {2, 3}, -3); }));
}

}  // namespace
}  // namespace convolite::testing
