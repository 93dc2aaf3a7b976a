// One step of SGD, Adam and RMSprop against PyTorch's documented update rules in double precision.
#include <convolite/optimizer.h>
#include <gtest/gtest.h>

#include <cmath>

#include "support/arrays.h"
#include "support/settings.h"

namespace convolite::testing {
namespace {

// Parameters of these sizes stand one after the other: one element, several blocks, a part of one.
const Index kSizes[] = {1, 40000, 37};
constexpr Index kTotal = 40038;

template <class T>
std::vector<Span<T>> cut(Span<T> all) {
  std::vector<Span<T>> parts;
  Index first = 0;
  for (const Index size : kSizes) {
    parts.emplace_back(all.data + first, size);
    first += size;
  }
  return parts;
}

struct State {
  std::vector<double> parameter, gradient, first, second;
};

State make_state() {
  Numbers numbers(1);
  return {numbers.normals(kTotal), numbers.normals(kTotal), numbers.normals(kTotal),
          absolute(numbers.normals(kTotal))};
}

// A copy that a step may change.
template <class T>
void fill(Span<T> to, const std::vector<double>& from) {
  for (Index i = 0; i < to.size; ++i) to[i] = static_cast<T>(from[i]);
}

template <class T>
void check_sgd(const SgdOptions& options) {
  const State given = make_state();
  Expected parameter, buffer;
  for (Index i = 0; i < kTotal; ++i) {
    const double decayed = given.gradient[i] + options.weight_decay * given.parameter[i];
    const double moved =
        options.first_step ? decayed
                           : options.momentum * given.first[i] + (1 - options.dampening) * decayed;
    const double step = options.momentum == 0 ? decayed
                        : options.nesterov    ? decayed + options.momentum * moved
                                              : moved;
    const double size =
        std::fabs(given.gradient[i]) + std::fabs(given.parameter[i]) + std::fabs(given.first[i]);
    parameter.values.push_back(given.parameter[i] - options.lr * step);
    parameter.scale.push_back(std::fabs(given.parameter[i]) + options.lr * 3 * size);
    buffer.values.push_back(options.momentum == 0 ? given.first[i] : moved);
    buffer.scale.push_back(size);
  }
  const Argument<T> gradient(given.gradient);
  check_everywhere<T>(parameter, [&](Edge edge, Span<T> output) {
    const Result<T> momentum(kTotal, edge);
    fill(output, given.parameter);
    fill(momentum.span(), given.first);
    sgd_step<T>(options, cut(output), cut(gradient(edge)), cut(momentum.span()));
    ASSERT_TRUE(matches<T>(momentum.span(), buffer));
  });
}

TEST(SgdStep, follows_the_rule) {
  for (const double momentum : {0.0, 0.9}) {
    for (const double weight_decay : {0.0, 0.01}) {
      for (const bool nesterov : {false, true}) {
        for (const bool first_step : {false, true}) {
          if (nesterov && momentum == 0) continue;
          const SgdOptions options{0.1,          momentum, nesterov ? 0.0 : 0.25,
                                   weight_decay, nesterov, first_step};
          check_sgd<float>(options);
          check_sgd<double>(options);
        }
      }
    }
  }
}

template <class T>
void check_adam(const AdamOptions& options) {
  const State given = make_state();
  Expected parameter, first, second;
  const double steps = static_cast<double>(options.step);
  const double correction1 = 1 - std::pow(options.beta1, steps);
  const double correction2 = 1 - std::pow(options.beta2, steps);
  for (Index i = 0; i < kTotal; ++i) {
    const double decay = options.weight_decay * given.parameter[i];
    const double gradient = given.gradient[i] + (options.decoupled ? 0 : decay);
    const double shrunk = given.parameter[i] - (options.decoupled ? options.lr * decay : 0);
    const double m = options.beta1 * given.first[i] + (1 - options.beta1) * gradient;
    const double v = options.beta2 * given.second[i] + (1 - options.beta2) * gradient * gradient;
    const double divisor = std::sqrt(v / correction2) + options.eps;
    const double m_size =
        std::fabs(given.first[i]) + std::fabs(given.gradient[i]) + std::fabs(decay);
    parameter.values.push_back(shrunk - options.lr * m / correction1 / divisor);
    parameter.scale.push_back(std::fabs(given.parameter[i]) +
                              options.lr * 2 * m_size / correction1 / divisor);
    first.values.push_back(m);
    first.scale.push_back(m_size);
    second.values.push_back(v);
    second.scale.push_back(given.second[i] + m_size * m_size);
  }
  const Argument<T> gradient(given.gradient);
  check_everywhere<T>(parameter, [&](Edge edge, Span<T> output) {
    const Result<T> m(kTotal, edge), v(kTotal, edge);
    fill(output, given.parameter);
    fill(m.span(), given.first);
    fill(v.span(), given.second);
    adam_step<T>(options, cut(output), cut(gradient(edge)), cut(m.span()), cut(v.span()));
    ASSERT_TRUE(matches<T>(m.span(), first));
    ASSERT_TRUE(matches<T>(v.span(), second));
  });
}

TEST(AdamStep, follows_the_rule) {
  for (const Index step : {1, 2, 1000}) {
    for (const double weight_decay : {0.0, 0.01}) {
      for (const bool decoupled : {false, true}) {
        const AdamOptions options{step, 0.01, 0.9, 0.999, 1e-8, weight_decay, decoupled};
        check_adam<float>(options);
        check_adam<double>(options);
      }
    }
  }
}

template <class T>
void check_rmsprop(const RmspropOptions& options) {
  State given = make_state();
  const std::vector<double> buffer = Numbers(2).normals(kTotal);
  Expected parameter, squares, means, buffers;
  for (Index i = 0; i < kTotal; ++i) {
    const double fresh = 1 - options.alpha;
    // A running mean of squares is never below the square of the running mean.
    given.second[i] = static_cast<float>(given.second[i] + 2 * given.first[i] * given.first[i]);
    const double gradient = given.gradient[i] + options.weight_decay * given.parameter[i];
    const double size =
        std::fabs(given.gradient[i]) + options.weight_decay * std::fabs(given.parameter[i]);
    const double square = options.alpha * given.second[i] + fresh * gradient * gradient;
    const double mean = options.alpha * given.first[i] + fresh * gradient;
    const double variance = options.centered ? square - mean * mean : square;
    const double divisor = std::sqrt(variance) + options.eps;
    const double moved = options.momentum * buffer[i] + gradient / divisor;
    const double square_size = given.second[i] + size * size;
    const double mean_size = std::fabs(given.first[i]) + size;
    const double moved_size =
        options.momentum * std::fabs(buffer[i]) +
        size / divisor * (options.centered ? (square + mean_size * mean_size) / variance : 1);
    parameter.values.push_back(given.parameter[i] - options.lr * moved);
    parameter.scale.push_back(std::fabs(given.parameter[i]) + options.lr * moved_size);
    squares.values.push_back(square);
    squares.scale.push_back(square_size);
    means.values.push_back(options.centered ? mean : given.first[i]);
    means.scale.push_back(mean_size);
    buffers.values.push_back(options.momentum == 0 ? buffer[i] : moved);
    buffers.scale.push_back(moved_size);
  }
  const Argument<T> gradient(given.gradient);
  check_everywhere<T>(parameter, [&](Edge edge, Span<T> output) {
    const Result<T> square(kTotal, edge), mean(kTotal, edge), kept(kTotal, edge);
    fill(output, given.parameter);
    fill(square.span(), given.second);
    fill(mean.span(), given.first);
    fill(kept.span(), buffer);
    rmsprop_step<T>(options, cut(output), cut(gradient(edge)), cut(square.span()), cut(mean.span()),
                    cut(kept.span()));
    ASSERT_TRUE(matches<T>(square.span(), squares));
    ASSERT_TRUE(matches<T>(mean.span(), means));
    ASSERT_TRUE(matches<T>(kept.span(), buffers));
  });
}

TEST(RmspropStep, follows_the_rule) {
  for (const double momentum : {0.0, 0.9}) {
    for (const double weight_decay : {0.0, 0.01}) {
      for (const bool centered : {false, true}) {
        const RmspropOptions options{0.01, 0.9, 1e-8, weight_decay, momentum, centered};
        check_rmsprop<float>(options);
        check_rmsprop<double>(options);
      }
    }
  }
}

TEST(OptimizerSteps, refuse_lists_of_different_lengths) {
  std::vector<float> values(4);
  const std::vector<Span<float>> one{{values.data(), 4}};
  EXPECT_NE("", message_of([&] { sgd_step<float>({}, one, {}, {}); }));
  EXPECT_NE("", message_of([&] { adam_step<float>({}, one, {}, one, one); }));
  EXPECT_NE("", message_of([&] { rmsprop_step<float>({}, one, {}, one, {}, {}); }));
}

}  // namespace
}  // namespace convolite::testing
