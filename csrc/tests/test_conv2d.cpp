// conv2d against the naive loops: exact on integers, within rounding on normal numbers, for every
// instruction set, with the same bits for every thread count.
#include <convolite/conv2d.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "naive/conv2d.h"
#include "support/arrays.h"
#include "support/cases.h"
#include "support/conv2d_problems.h"
#include "support/settings.h"

namespace convolite::testing {
namespace {

struct Operands {
  std::vector<double> input, weight, bias, grad_output;
};

Operands integers(const NaiveConv2d& p, std::uint64_t seed) {
  Numbers numbers(seed);
  return {numbers.integers(p.input_size()), numbers.integers(p.weight_size()),
          numbers.integers(p.oc), numbers.integers(p.output_size())};
}

Operands normals(const NaiveConv2d& p, std::uint64_t seed) {
  Numbers numbers(seed);
  return {numbers.normals(p.input_size()), numbers.normals(p.weight_size()), numbers.normals(p.oc),
          numbers.normals(p.output_size())};
}

struct Answers {
  std::vector<double> output, grad_input, grad_weight, grad_bias;
};

Answers answers(const NaiveConv2d& p, const Operands& given) {
  Answers result{
      p.forward(given.input, given.weight), p.backward_input(given.grad_output, given.weight),
      p.backward_weight(given.grad_output, given.input), p.backward_bias(given.grad_output)};
  p.add_bias(result.output, given.bias);
  return result;
}

Operands absolute(const Operands& given) {
  return {testing::absolute(given.input), testing::absolute(given.weight),
          testing::absolute(given.bias), testing::absolute(given.grad_output)};
}

template <class T>
void check_passes(const NaiveConv2d& p, const Operands& given, const Answers& values,
                  const Answers& scale) {
  const Conv2dShape shape = shape_of(p);
  const Argument<T> input(given.input), weight(given.weight), bias(given.bias),
      grad_output(given.grad_output);
  {
    SCOPED_TRACE("forward");
    check_everywhere<T>({values.output, scale.output}, [&](Edge edge, Span<T> output) {
      conv2d_forward<T>(shape, input(edge), weight(edge), bias(edge), Activation::none, output);
    });
  }
  {
    SCOPED_TRACE("backward_input");
    check_everywhere<T>({values.grad_input, scale.grad_input}, [&](Edge edge, Span<T> output) {
      conv2d_backward_input<T>(shape, grad_output(edge), weight(edge), output);
    });
  }
  {
    SCOPED_TRACE("backward_weight");
    check_everywhere<T>({values.grad_weight, scale.grad_weight}, [&](Edge edge, Span<T> output) {
      conv2d_backward_weight<T>(shape, grad_output(edge), input(edge), output);
    });
  }
  {
    SCOPED_TRACE("backward_bias");
    check_everywhere<T>({values.grad_bias, scale.grad_bias}, [&](Edge edge, Span<T> output) {
      conv2d_backward_bias<T>(shape.result(), grad_output(edge), output);
    });
  }
}

void check_exact(const NaiveConv2d& p, std::uint64_t seed) {
  const SettingsGuard guard;
  set_fast_math(false);
  const Operands given = integers(p, seed);
  const Answers values = answers(p, given);
  check_passes<float>(p, given, values, {});
  check_passes<double>(p, given, values, {});
}

void check_rounding(const NaiveConv2d& p, std::uint64_t seed) {
  const SettingsGuard guard;
  set_fast_math(false);
  const Operands given = normals(p, seed);
  const Answers values = answers(p, given), scale = answers(p, absolute(given));
  check_passes<float>(p, given, values, scale);
  check_passes<double>(p, given, values, scale);
}

// Winograd's transforms share the rounding of the largest sum among the results of a tile, and add
// to it.
void check_fast(const NaiveConv2d& p, std::uint64_t seed) {
  const Operands given = normals(p, seed);
  const Answers values = answers(p, given);
  Answers scale = answers(p, absolute(given));
  for (auto* each : {&scale.output, &scale.grad_input, &scale.grad_weight}) {
    std::fill(each->begin(), each->end(), 4 * *std::max_element(each->begin(), each->end()));
  }
  for (const Pass pass : {Pass::forward, Pass::backward_input, Pass::backward_weight}) {
    EXPECT_EQ("winograd", method_of(p, pass));
  }
  check_passes<float>(p, given, values, scale);
}

class Conv2dCases : public ::testing::TestWithParam<Case> {};

TEST_P(Conv2dCases, infer_counts_the_positions_of_the_window) {
  const NaiveConv2d p = problem_of(GetParam());
  const Conv2dShape shape = shape_of(p);
  EXPECT_EQ(p.oh(), shape.output.h);
  EXPECT_EQ(p.ow(), shape.output.w);
  EXPECT_EQ(p.weight_size(), shape.weight_size());
}

TEST_P(Conv2dCases, integers_give_the_exact_sums) {
  check_exact(problem_of(GetParam()), 1);
}

INSTANTIATE_TEST_SUITE_P(rows, Conv2dCases, ::testing::ValuesIn(load_cases("conv2d", "test")),
                         [](const auto& row) { return row.param.name(); });

class SmallConv2dCases : public ::testing::TestWithParam<Case> {};

TEST_P(SmallConv2dCases, normal_numbers_err_by_rounding_only) {
  check_rounding(problem_of(GetParam()), 2);
}

INSTANTIATE_TEST_SUITE_P(rows, SmallConv2dCases, ::testing::ValuesIn(small_cases()),
                         [](const auto& row) { return row.param.name(); });

// Sizes at which the work is cut into several tasks, row blocks, panels and partial sums.
TEST(Conv2d, many_blocks_of_rows_give_the_exact_sums) {
  check_exact(plain(2, 64, 56, 64, 3, 1, 1), 3);
}

TEST(Conv2d, one_large_image_gives_the_exact_sums) {
  check_exact(plain(1, 3, 131, 17, 7, 2, 3), 4);
}

TEST(Conv2d, strided_blocks_give_the_exact_sums) {
  check_exact(plain(2, 24, 37, 50, 3, 2, 1), 5);
}

TEST(Conv2d, several_blocks_err_by_rounding_only) {
  check_rounding(plain(3, 19, 29, 35, 3, 1, 1), 6);
  check_rounding(plain(2, 20, 30, 26, 3, 2, 1), 7);
}

TEST(Conv2d, uneven_groups_over_several_blocks_give_the_exact_sums) {
  check_exact({2, 12, 40, 33, 51, 3, 2, 1, 2, 2, 1, 0, 3, 2, 1, 3}, 8);
}

TEST(Conv2d, random_sizes_give_the_exact_sums) {
  check_random(100, 30, random_problem, check_exact);
}

TEST(Conv2dWinograd, images_of_any_size_err_little) {
  for (std::uint64_t seed = 200; seed < 220; ++seed) {
    Numbers numbers(seed);
    const auto draw = [&](Index least, Index most) { return numbers.between(least, most); };
    NaiveConv2d p = plain(draw(1, 4), draw(24, 40), 1, draw(24, 60), 3, 1, 0);
    p.top = draw(0, 2);
    p.bottom = draw(0, 2);
    p.left = draw(0, 2);
    p.right = draw(0, 2);
    p.h = 5 - std::min<Index>(4, p.top + p.bottom) + draw(0, 20);
    p.w = 5 - std::min<Index>(4, p.left + p.right) + draw(0, 40);
    SCOPED_TRACE(described(p));
    check_fast(p, seed);
    if (HasFatalFailure()) return;
  }
}

TEST(Conv2dWinograd, transformed_weights_beyond_the_cache_err_little) {
  check_fast(plain(2, 130, 9, 128, 3, 1, 1), 12);
}

TEST(Conv2dWinograd, several_chunks_of_tiles_err_little) {
  check_fast(plain(5, 24, 45, 26, 3, 1, 1), 13);
}

TEST(Conv2dWinograd, keeps_nan_in_its_windows) {
  const NaiveConv2d p = plain(2, 24, 9, 25, 3, 1, 1);
  Operands given = integers(p, 14);
  for (Index image = 0; image < p.n; ++image) {
    given.input[image * p.c * p.h * p.w + 100] = std::numeric_limits<double>::quiet_NaN();
  }
  const Argument<float> input(given.input), weight(given.weight), bias(given.bias);
  ASSERT_EQ("winograd", method_of(p));
  check_everywhere<float>({answers(p, given).output, {}}, [&](Edge edge, Span<float> output) {
    conv2d_forward<float>(shape_of(p), input(edge), weight(edge), bias(edge), Activation::none,
                          output);
  });
}

// Few channels in the result of both passes, rows enough for several chunks of products.
NaiveConv2d random_narrow_problem(Numbers& numbers) {
  NaiveConv2d p = random_problem(numbers);
  p.groups = 1;
  p.c = numbers.between(6, 20);
  p.oc = numbers.between(1, 2);
  p.kh = p.kw = numbers.between(2, 5);
  p.stride_h = p.stride_w = 1;
  p.h = (p.kh - 1) * p.dil_h + numbers.between(1, 60);
  p.w = (p.kw - 1) * p.dil_w + numbers.between(1, 90);
  return p;
}

TEST(Conv2dNarrow, random_sizes_give_the_exact_sums) {
  check_random(400, 12, random_narrow_problem, [](const NaiveConv2d& p, std::uint64_t seed) {
    EXPECT_EQ("narrow", method_of(p));
    check_exact(p, seed);
  });
}

TEST(Conv2dNarrow, sums_of_several_chunks_are_clamped_when_they_are_whole) {
  const NaiveConv2d p{1, 5, 90, 700, 2, 5, 5, 1, 1, 2, 2, 2, 2, 1, 1, 1};
  const Operands given = integers(p, 17);
  std::vector<double> expected = answers(p, given).output;
  for (double& value : expected) value = std::clamp(value, 0.0, 6.0);
  const Argument<float> input(given.input), weight(given.weight), bias(given.bias);
  check_everywhere<float>({expected, {}}, [&](Edge edge, Span<float> output) {
    conv2d_forward<float>(shape_of(p), input(edge), weight(edge), bias(edge), Activation::relu6,
                          output);
  });
}

// Blocks and chunks of rows depend on the batch.
TEST(Conv2dNarrow, an_image_has_the_same_bits_in_any_batch) {
  NaiveConv2d p{5, 2, 61, 301, 7, 7, 7, 2, 2, 3, 3, 3, 3, 1, 1, 1};
  const Operands given = normals(p, 18);
  const std::vector<float> grad(given.grad_output.begin(), given.grad_output.end());
  const std::vector<float> weight(given.weight.begin(), given.weight.end());
  const Span<const float> filters{weight.data(), p.weight_size()};
  std::vector<float> together(static_cast<std::size_t>(p.input_size())), alone(together.size());
  conv2d_backward_input<float>(shape_of(p), {grad.data(), p.output_size()}, filters,
                               {together.data(), p.input_size()});
  p.n = 1;
  for (Index image = 0; image < 5; ++image) {
    conv2d_backward_input<float>(shape_of(p),
                                 {grad.data() + image * p.output_size(), p.output_size()}, filters,
                                 {alone.data() + image * p.input_size(), p.input_size()});
  }
  EXPECT_EQ(together, alone);
}

// Wide enough for several bands of rows, and as narrow as a part of a vector.
NaiveConv2d random_depthwise_problem(Numbers& numbers) {
  NaiveConv2d p = random_problem(numbers);
  p.groups = p.c = numbers.between(1, 7);
  p.oc = p.c * (p.c == 1 ? 1 : numbers.between(1, 2));
  p.kh = p.kw = 2 * numbers.between(0, 3) + 1;
  p.h = (p.kh - 1) * p.dil_h + numbers.between(1, 60);
  p.w = (p.kw - 1) * p.dil_w + numbers.between(1, 150);
  return p;
}

TEST(Conv2dDepthwise, random_sizes_give_the_exact_sums) {
  check_random(300, 20, random_depthwise_problem, [](const NaiveConv2d& p, std::uint64_t seed) {
    EXPECT_EQ("depthwise", method_of(p));
    check_exact(p, seed);
  });
}

TEST(Conv2dDepthwise, rows_of_one_band_keep_nothing_of_the_band_before) {
  check_exact({1, 2, 211, 130, 2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2}, 15);
  check_exact({1, 2, 210, 131, 2, 5, 5, 2, 2, 2, 3, 0, 4, 1, 1, 2}, 16);
}

template <class T>
class Conv2dEpilogue : public ::testing::Test {};
using Floats = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Conv2dEpilogue, Floats);

TYPED_TEST(Conv2dEpilogue, clamps_the_finished_sum) {
  using T = TypeParam;
  const NaiveConv2d p = plain(2, 5, 9, 21, 3, 1, 1);
  const Operands given = integers(p, 9);
  const std::vector<double> linear = answers(p, given).output;
  const Argument<T> input(given.input), weight(given.weight), bias(given.bias);
  const double infinity = std::numeric_limits<double>::infinity();
  for (const auto& [activation, high] :
       {std::pair{Activation::relu, infinity}, std::pair{Activation::relu6, 6.0}}) {
    std::vector<double> clamped = linear;
    for (double& value : clamped) value = std::min(std::max(value, 0.0), high);
    check_everywhere<T>({clamped, {}}, [&, kind = activation](Edge edge, Span<T> output) {
      conv2d_forward<T>(shape_of(p), input(edge), weight(edge), bias(edge), kind, output);
    });
  }
}

TYPED_TEST(Conv2dEpilogue, needs_no_bias) {
  using T = TypeParam;
  const NaiveConv2d p = plain(2, 5, 9, 21, 3, 1, 1);
  const Operands given = integers(p, 10);
  const Argument<T> input(given.input), weight(given.weight);
  check_everywhere<T>({p.forward(given.input, given.weight), {}}, [&](Edge edge, Span<T> output) {
    conv2d_forward<T>(shape_of(p), input(edge), weight(edge), {}, Activation::none, output);
  });
}

TYPED_TEST(Conv2dEpilogue, lets_nan_through_and_keeps_it_in_its_windows) {
  using T = TypeParam;
  const NaiveConv2d p = plain(1, 3, 12, 18, 3, 1, 1);
  Operands given = integers(p, 11);
  given.input[5 * 12 + 7] = std::numeric_limits<double>::quiet_NaN();
  std::vector<double> expected = answers(p, given).output;
  for (double& value : expected) value = value < 0 ? 0 : value;
  const Argument<T> input(given.input), weight(given.weight), bias(given.bias);
  check_everywhere<T>({expected, {}}, [&](Edge edge, Span<T> output) {
    conv2d_forward<T>(shape_of(p), input(edge), weight(edge), bias(edge), Activation::relu, output);
  });
}

std::string infer_message(const Nchw& input, const Nchw& weight, HW stride = {1, 1},
                          const Padding& padding = {}, HW dilation = {1, 1}, Index groups = 1) {
  return message_of([&] { Conv2dShape::infer(input, weight, stride, padding, dilation, groups); });
}

TEST(Conv2dShape, refuses_impossible_numbers) {
  EXPECT_EQ(
      "conv2d: input has 3 channels but filters expect 4 (filters.shape = (8, 4, 3, 3), "
      "groups = 1)",
      infer_message({1, 3, 8, 8}, {8, 4, 3, 3}));
  EXPECT_EQ("conv2d: stride must be positive, got (0, 1)",
            infer_message({1, 3, 8, 8}, {8, 3, 3, 3}, {0, 1}));
  EXPECT_EQ("conv2d: dilation must be positive, got (1, 0)",
            infer_message({1, 3, 8, 8}, {8, 3, 3, 3}, {1, 1}, {}, {1, 0}));
  EXPECT_EQ("conv2d: padding must not be negative, got ((0, 0), (-1, 0))",
            infer_message({1, 3, 8, 8}, {8, 3, 3, 3}, {1, 1}, {0, 0, -1, 0}));
  EXPECT_EQ(
      "conv2d: window does not fit, kernel 5x5 with dilation (2, 2) spans 9x9 but the padded "
      "input is 8x8 (input.shape = (4, 3, 6, 6), padding = ((1, 1), (1, 1)))",
      infer_message({4, 3, 6, 6}, {8, 3, 5, 5}, {1, 1}, {1, 1, 1, 1}, {2, 2}));
}

TEST(Conv2dShape, refuses_sizes_that_leave_64_bits) {
  const Index huge = Index{1} << 30;
  EXPECT_NE("", infer_message({huge, 1, huge, huge}, {1, 1, 1, 1}));
  EXPECT_NE("", infer_message({1, 1, huge, huge}, {1, 1, 1, 1}));
}

TEST(Conv2dExplain, names_one_chosen_method_after_those_that_declined) {
  for (const Pass pass : {Pass::forward, Pass::backward_input, Pass::backward_weight}) {
    const auto choices = conv2d_explain<float>(shape_of(plain(2, 8, 9, 16, 3, 1, 1)), pass);
    ASSERT_FALSE(choices.empty());
    for (const Conv2dChoice& choice : choices) {
      EXPECT_EQ(&choice == &choices.back(), choice.chosen);
      EXPECT_FALSE(choice.method.empty());
      EXPECT_FALSE(choice.reason.empty());
    }
  }
}

}  // namespace
}  // namespace convolite::testing
