// Max, average and adaptive average pooling against windows that are walked tap by tap.
#include <convolite/pool2d.h>
#include <gtest/gtest.h>

#include "naive/pool2d.h"
#include "support/arrays.h"
#include "support/cases.h"
#include "support/settings.h"

namespace convolite::testing {
namespace {

NaivePool2d problem_of(const Case& row) {
  return {
      row["n"],        row["c"],         row["h"],        row["w"],       row["kh"],
      row["kw"],       row["stride_h"],  row["stride_w"], row["pad_top"], row["pad_bottom"],
      row["pad_left"], row["pad_right"], row["dil_h"],    row["dil_w"],   row["ceil_mode"] != 0};
}

Pool2dShape shape_of(const NaivePool2d& p) {
  return Pool2dShape::infer("pool2d", {p.n, p.c, p.h, p.w},
                            {{p.kh, p.kw},
                             {p.stride_h, p.stride_w},
                             {p.top, p.bottom, p.left, p.right},
                             {p.dil_h, p.dil_w},
                             p.ceil_mode});
}

template <class T, class Offset>
void check_max(const NaivePool2d& p, const std::vector<double>& values) {
  const Pool2dShape shape = shape_of(p);
  Numbers numbers(2);
  const std::vector<double> grads = numbers.integers(p.output_size());
  std::vector<Index> expected_offsets;
  const std::vector<double> expected = p.max_forward(values, expected_offsets);
  const Argument<T> input(values), grad_output(grads);
  check_everywhere<T>({expected, {}}, [&](Edge edge, Span<T> output) {
    const Result<Offset> offsets(p.output_size(), edge);
    max_pool2d_forward<T, Offset>(shape, input(edge), Activation::none, output, offsets.span());
    ASSERT_TRUE(offsets.fence_is_intact());
    for (Index i = 0; i < p.output_size(); ++i) {
      if (expected_offsets[i] < 0) continue;  // a window without pixels
      ASSERT_EQ(expected_offsets[i], offsets.span()[i]) << i;
    }
  });
  std::vector<Offset> given(expected_offsets.begin(), expected_offsets.end());
  const Argument<Offset> offsets(given);
  const std::vector<double> expected_grads = p.max_backward(grads, expected_offsets);
  check_everywhere<T>({expected_grads, {}}, [&](Edge edge, Span<T> out) {
    max_pool2d_backward<T, Offset>(shape, grad_output(edge), offsets(edge), Activation::none, {},
                                   out);
  });
  std::vector<double> channel_sums(static_cast<std::size_t>(p.c));
  for (std::size_t i = 0; i < expected_grads.size(); ++i) {
    channel_sums[i / static_cast<std::size_t>(p.h * p.w) % channel_sums.size()] +=
        expected_grads[i];
  }
  check_everywhere<T>({channel_sums, {}}, [&](Edge edge, Span<T> grad_bias) {
    const Result<T> grad_input(p.input_size(), edge);
    max_pool2d_backward<T, Offset>(shape, grad_output(edge), offsets(edge), Activation::none, {},
                                   grad_input.span(), grad_bias);
    ASSERT_TRUE(grad_input.fence_is_intact());
  });
}

template <class T>
void check_max(const NaivePool2d& p, const std::vector<double>& values) {
  if (p.kh * p.kw <= 256) {
    check_max<T, std::uint8_t>(p, values);
  } else {
    check_max<T, std::int32_t>(p, values);
  }
}

template <class T>
void check_average(const NaivePool2d& p, const AverageRule& rule) {
  const Pool2dShape shape = shape_of(p);
  const bool padded = rule.count_include_pad;
  const Index divisor = rule.divisor_override;
  Numbers numbers(3);
  const auto values = numbers.normals(p.input_size()), grads = numbers.normals(p.output_size());
  const Argument<T> input(values), grad_output(grads);
  check_everywhere<T>(
      {p.avg_forward(values, padded, divisor), p.avg_forward(absolute(values), padded, divisor)},
      [&](Edge edge, Span<T> output) { avg_pool2d_forward<T>(shape, rule, input(edge), output); });
  check_everywhere<T>(
      {p.avg_backward(grads, padded, divisor), p.avg_backward(absolute(grads), padded, divisor)},
      [&](Edge edge, Span<T> output) {
        avg_pool2d_backward<T>(shape, rule, grad_output(edge), output);
      });
}

class Pool2dCases : public ::testing::TestWithParam<Case> {};

TEST_P(Pool2dCases, infer_counts_the_windows) {
  const NaivePool2d p = problem_of(GetParam());
  EXPECT_EQ(p.oh(), shape_of(p).output.h);
  EXPECT_EQ(p.ow(), shape_of(p).output.w);
}

// Small integers are full of ties: the first of equal maxima gets the gradient.
TEST_P(Pool2dCases, max_takes_the_first_of_equal_maxima) {
  const NaivePool2d p = problem_of(GetParam());
  const std::vector<double> values = Numbers(1).integers(p.input_size());
  check_max<float>(p, values);
  check_max<double>(p, values);
}

TEST_P(Pool2dCases, average_divides_by_the_counted_pixels) {
  const NaivePool2d p = problem_of(GetParam());
  if (p.dil_h != 1 || p.dil_w != 1) return;  // average windows have no dilation
  for (const AverageRule& rule :
       {AverageRule{true, 0}, AverageRule{false, 0}, AverageRule{true, 5}}) {
    check_average<float>(p, rule);
    check_average<double>(p, rule);
  }
}

INSTANTIATE_TEST_SUITE_P(rows, Pool2dCases, ::testing::ValuesIn(load_cases("pool2d", "test")),
                         [](const auto& row) { return row.param.name(); });

TEST(MaxPool2d, nan_and_infinities_win_by_the_rules) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  for (const Index kernel : {2, 3}) {
    const NaivePool2d p{1, 2, 12, 13, kernel, kernel, 2, 2, 0, 0, 0, 0, 1, 1, false};
    std::vector<double> values = Numbers(4).integers(p.input_size());
    values[7] = values[20] = values[21] = values[100] = nan;
    values[40] = infinity;
    for (Index i = 50; i < 90; ++i) values[i] = -infinity;
    check_max<float>(p, values);
    check_max<double>(p, values);
  }
}

TEST(MaxPool2d, random_sizes_take_the_first_of_equal_maxima) {
  for (std::uint64_t seed = 200; seed < 240; ++seed) {
    Numbers numbers(seed);
    const auto draw = [&](Index least, Index most) { return numbers.between(least, most); };
    NaivePool2d p{draw(1, 3), draw(1, 9), 0, 0, draw(1, 4), draw(1, 4), draw(1, 3),     draw(1, 3),
                  0,          0,          0, 0, draw(1, 2), draw(1, 2), draw(0, 1) == 1};
    const Index span_h = (p.kh - 1) * p.dil_h + 1, span_w = (p.kw - 1) * p.dil_w + 1;
    p.top = draw(0, span_h / 2);
    p.bottom = draw(0, span_h / 2);
    p.left = draw(0, span_w / 2);
    p.right = draw(0, span_w / 2);
    p.h = span_h + draw(0, 20);
    p.w = span_w + draw(0, 40);
    SCOPED_TRACE(seed);
    check_max<float>(p, numbers.integers(p.input_size()));
    if (::testing::Test::HasFatalFailure()) return;
  }
}

// Pixels of part i along an axis.
struct Part {
  Index begin, end;
};
Part part_of(Index i, Index parts, Index size) {
  Index begin = 0, end = size;
  while ((begin + 1) * parts <= i * size) ++begin;
  while ((end - 1) * parts >= (i + 1) * size) --end;
  return {begin, end};
}

// visit(output element, input element, share) for each pair of the adaptive pooling.
template <class Visit>
void for_each_share(const Nchw& input, const HW& output, Visit visit) {
  for (Index plane = 0; plane < input.n * input.c; ++plane) {
    for (Index i = 0; i < output.h; ++i) {
      for (Index j = 0; j < output.w; ++j) {
        const Part rows = part_of(i, output.h, input.h), columns = part_of(j, output.w, input.w);
        const double count =
            static_cast<double>((rows.end - rows.begin) * (columns.end - columns.begin));
        for (Index y = rows.begin; y < rows.end; ++y) {
          for (Index x = columns.begin; x < columns.end; ++x) {
            visit((plane * output.h + i) * output.w + j, (plane * input.h + y) * input.w + x,
                  1 / count);
          }
        }
      }
    }
  }
}

template <class T>
void check_adaptive(const Nchw& input_size, const HW& output_size) {
  const AdaptivePool2dShape shape = AdaptivePool2dShape::infer(input_size, output_size);
  Numbers numbers(5);
  const auto values = numbers.normals(input_size.size());
  const auto grads = numbers.normals(shape.output_size());
  Expected forward{std::vector<double>(grads.size()), std::vector<double>(grads.size())};
  Expected backward{std::vector<double>(values.size()), std::vector<double>(values.size())};
  for_each_share(input_size, output_size, [&](Index o, Index i, double share) {
    forward.values[o] += values[i] * share;
    forward.scale[o] += std::fabs(values[i]) * share;
    backward.values[i] += grads[o] * share;
    backward.scale[i] += std::fabs(grads[o]) * share;
  });
  const Argument<T> input(values), grad_output(grads);
  check_everywhere<T>(forward, [&](Edge edge, Span<T> output) {
    adaptive_avg_pool2d_forward<T>(shape, input(edge), output);
  });
  check_everywhere<T>(backward, [&](Edge edge, Span<T> output) {
    adaptive_avg_pool2d_backward<T>(shape, grad_output(edge), output);
  });
}

TEST(AdaptiveAvgPool2d, parts_cover_the_image_and_may_overlap) {
  const Nchw sizes[] = {{2, 3, 7, 7}, {1, 5, 13, 11}, {9, 33, 8, 6}, {0, 3, 4, 4}};
  for (const Nchw& size : sizes) {
    for (const HW& output : {HW{1, 1}, HW{2, 3}, HW{7, 5}, HW{9, 20}}) {
      check_adaptive<float>(size, output);
      check_adaptive<double>(size, output);
    }
  }
}

std::string infer_message(const Nchw& input, const PoolWindow& window) {
  return message_of([&] { Pool2dShape::infer("max_pool2d", input, window); });
}

TEST(Pool2dShape, refuses_impossible_numbers) {
  EXPECT_EQ("max_pool2d: kernel_size must be positive, got (0, 2)",
            infer_message({1, 1, 4, 4}, {{0, 2}, {1, 1}, {}}));
  EXPECT_EQ("max_pool2d: stride must be positive, got (2, 0)",
            infer_message({1, 1, 4, 4}, {{2, 2}, {2, 0}, {}}));
  EXPECT_EQ(
      "max_pool2d: padding must be at most half the kernel (kernel_size = (2, 2), "
      "padding = (2, 2))",
      infer_message({1, 1, 4, 4}, {{2, 2}, {2, 2}, {2, 2, 2, 2}}));
  EXPECT_EQ(
      "max_pool2d: window does not fit, kernel 5x5 spans 5x5 but the padded input is 4x4 "
      "(input.shape = (1, 1, 4, 4), padding = (0, 0))",
      infer_message({1, 1, 4, 4}, {{5, 5}, {1, 1}, {}}));
}

}  // namespace
}  // namespace convolite::testing
