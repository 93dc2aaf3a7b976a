// Cross-entropy with every option against the formula, sample by sample.
#include <convolite/cross_entropy.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/arrays.h"
#include "support/settings.h"

namespace convolite::testing {
namespace {

struct Setting {
  Index batch, classes, pixels;
  bool weighted;
  CrossEntropyOptions options;
};

struct Naive {
  Setting setting;
  std::vector<double> input, weight, grad_loss, log_probabilities;
  std::vector<Index> target;
  Expected losses, gradient;  // losses of the samples, and the gradient of the reduced loss
  double total_weight = 0;

  explicit Naive(const Setting& given) : setting(given) {
    Numbers numbers(1);
    const Index samples = given.batch * given.pixels;
    input = numbers.normals(samples * given.classes);
    weight = absolute(numbers.normals(given.classes));
    if (!given.weighted) std::fill(weight.begin(), weight.end(), 1.0);
    for (Index i = 0; i < samples; ++i) {
      const bool ignored = i % 5 == 3;
      target.push_back(ignored ? given.options.ignore_index
                               : numbers.between(0, given.classes - 1));
      if (!ignored) total_weight += weight[target.back()];
    }
    const bool none = given.options.reduction == LossReduction::none;
    grad_loss = numbers.normals(none ? samples : 1);
    log_probabilities.resize(input.size());
    gradient.values.resize(input.size());
    gradient.scale.resize(input.size());
    for (Index i = 0; i < samples; ++i) solve(i);
  }

  Index at(Index sample, Index c) const {
    const Index image = sample / setting.pixels, pixel = sample % setting.pixels;
    return (image * setting.classes + c) * setting.pixels + pixel;
  }

  double label(Index sample, Index c) const {
    const double smoothing = setting.options.label_smoothing;
    const double hard = c == target[sample] ? 1 - smoothing : 0;
    return weight[c] * (hard + smoothing / static_cast<double>(setting.classes));
  }

  void solve(Index sample) {
    double largest = input[at(sample, 0)], sum = 0;
    for (Index c = 0; c < setting.classes; ++c) largest = std::max(largest, input[at(sample, c)]);
    for (Index c = 0; c < setting.classes; ++c) sum += std::exp(input[at(sample, c)] - largest);
    const bool ignored = target[sample] == setting.options.ignore_index;
    double loss = 0, size = 0, labels = 0;
    for (Index c = 0; c < setting.classes; ++c) {
      const double z = input[at(sample, c)] - largest - std::log(sum);
      log_probabilities[at(sample, c)] = static_cast<float>(z);
      if (ignored) continue;
      loss -= label(sample, c) * z;
      size += label(sample, c) * (std::fabs(z) + std::fabs(input[at(sample, c)]) + largest);
      labels += label(sample, c);
    }
    losses.values.push_back(loss);
    losses.scale.push_back(size);
    const bool mean = setting.options.reduction == LossReduction::mean;
    const double share = grad_loss[grad_loss.size() == 1 ? 0 : sample] / (mean ? total_weight : 1);
    for (Index c = 0; !ignored && c < setting.classes; ++c) {
      const double z = log_probabilities[at(sample, c)];
      gradient.values[at(sample, c)] = share * (labels * std::exp(z) - label(sample, c));
      gradient.scale[at(sample, c)] =
          std::fabs(share) * (labels * std::exp(z) * (1 + std::fabs(z)) + label(sample, c));
    }
  }

  Expected loss() const {
    if (setting.options.reduction == LossReduction::none) return losses;
    const bool mean = setting.options.reduction == LossReduction::mean;
    Expected total{{0}, {0}};
    for (std::size_t i = 0; i < losses.values.size(); ++i) {
      total.values[0] += losses.values[i] / (mean ? total_weight : 1);
      total.scale[0] += losses.scale[i] / (mean ? total_weight : 1);
    }
    return total;
  }
};

template <class T>
void check(const Naive& p) {
  const Setting& s = p.setting;
  const std::vector<Index> input_shape{s.batch, s.classes, s.pixels},
      target_shape{s.batch, s.pixels};
  const Argument<T> input(p.input), weight(p.weight), grad_loss(p.grad_loss),
      log_probabilities(p.log_probabilities);
  const Argument<Index> target(p.target);
  const auto shape = CrossEntropyShape::infer(input_shape, target_shape, target(Edge::end),
                                              s.classes, s.weighted, s.options);
  const auto weights = [&](Edge edge) { return s.weighted ? weight(edge) : Span<const T>(); };
  check_everywhere<T>(p.loss(), [&](Edge edge, Span<T> loss) {
    const Result<T> log_result(static_cast<Index>(p.input.size()), edge);
    const double total = cross_entropy_forward<T>(shape, s.options, input(edge), target(edge),
                                                  weights(edge), loss, log_result.span());
    ASSERT_NEAR(p.total_weight, total, 1e-6 * p.total_weight);
    ASSERT_TRUE(log_result.fence_is_intact());
  });
  check_everywhere<T>(p.gradient, [&](Edge edge, Span<T> grad_input) {
    cross_entropy_backward<T>(shape, s.options, grad_loss(edge), log_probabilities(edge),
                              target(edge), weights(edge), p.total_weight, grad_input);
  });
}

// The loss of the same problem from its log-probabilities on: -weight z of the target's class.
Expected nll_losses(const Naive& p) {
  const bool mean = p.setting.options.reduction == LossReduction::mean;
  Expected losses{std::vector<double>(p.target.size()), std::vector<double>(p.target.size())};
  long double sum = 0, size = 0;
  for (std::size_t i = 0; i < p.target.size(); ++i) {
    if (p.target[i] == p.setting.options.ignore_index) continue;
    const double z = p.log_probabilities[p.at(static_cast<Index>(i), p.target[i])];
    losses.values[i] = -p.weight[p.target[i]] * z;
    losses.scale[i] = std::fabs(losses.values[i]);
    sum += losses.values[i];
    size += losses.scale[i];
  }
  if (p.setting.options.reduction == LossReduction::none) return losses;
  const long double divisor = mean ? p.total_weight : 1;
  return {{static_cast<double>(sum / divisor)}, {static_cast<double>(size / divisor)}};
}

// And its gradient, -weight at the target's class.
template <class T>
void check_nll_loss(const Naive& p) {
  const Setting& s = p.setting;
  const Argument<T> input(p.log_probabilities), weight(p.weight), grad_loss(p.grad_loss);
  const Argument<Index> target(p.target);
  const auto shape = CrossEntropyShape::infer({s.batch, s.classes, s.pixels}, {s.batch, s.pixels},
                                              target(Edge::end), s.classes, s.weighted, s.options);
  const auto weights = [&](Edge edge) { return s.weighted ? weight(edge) : Span<const T>(); };
  check_everywhere<T>(nll_losses(p), [&](Edge edge, Span<T> loss) {
    const double total =
        nll_loss_forward<T>(shape, s.options, input(edge), target(edge), weights(edge), loss);
    ASSERT_NEAR(p.total_weight, total, 1e-6 * p.total_weight);
  });
  Expected gradient{std::vector<double>(p.input.size()), {}};
  const bool mean = s.options.reduction == LossReduction::mean;
  for (Index i = 0; i < s.batch * s.pixels; ++i) {
    if (p.target[i] == s.options.ignore_index) continue;
    const double share = p.grad_loss[p.grad_loss.size() == 1 ? 0 : i];
    gradient.values[p.at(i, p.target[i])] =
        -share * p.weight[p.target[i]] / (mean ? p.total_weight : 1);
  }
  gradient.scale = absolute(gradient.values);
  check_everywhere<T>(gradient, [&](Edge edge, Span<T> grad_input) {
    nll_loss_backward<T>(shape, s.options, grad_loss(edge), target(edge), weights(edge),
                         p.total_weight, grad_input);
  });
}

TEST(CrossEntropy, nll_loss_begins_at_the_log_probabilities) {
  for (const auto reduction : {LossReduction::none, LossReduction::mean, LossReduction::sum}) {
    for (const bool weighted : {false, true}) {
      for (const Setting& setting : {Setting{64, 10, 1, weighted, {0.0, -100, reduction}},
                                     Setting{3, 7, 11, weighted, {0.0, -100, reduction}},
                                     Setting{2, 21, 3000, weighted, {0.0, 77, reduction}}}) {
        const Naive problem(setting);
        check_nll_loss<float>(problem);
        check_nll_loss<double>(problem);
      }
    }
  }
}

TEST(CrossEntropy, follows_the_formula_with_every_option) {
  for (const auto reduction : {LossReduction::none, LossReduction::mean, LossReduction::sum}) {
    for (const double smoothing : {0.0, 0.125}) {
      for (const bool weighted : {false, true}) {
        const CrossEntropyOptions options{smoothing, -100, reduction};
        for (const Setting& setting :
             {Setting{64, 10, 1, weighted, options}, Setting{3, 7, 11, weighted, options},
              Setting{2, 21, 300, weighted, options}}) {
          const Naive problem(setting);
          check<float>(problem);
          check<double>(problem);
        }
      }
    }
  }
}

TEST(CrossEntropyShape, refuses_a_target_that_is_no_class) {
  const std::vector<Index> target{0, 9, 12, 3};
  EXPECT_EQ("cross_entropy: target 12 at row 2 is outside [0, 10) (input.shape = (4, 10))",
            message_of([&] {
              CrossEntropyShape::infer({4, 10}, {4}, {target.data(), 4}, 0, false, {});
            }));
}

}  // namespace
}  // namespace convolite::testing
