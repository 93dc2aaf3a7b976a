// Operations that pool what they compute, in one pass: exactly their parts, one after the other.
#include <convolite/batch_norm.h>
#include <convolite/conv2d.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "naive/conv2d.h"
#include "naive/pool2d.h"
#include "support/arrays.h"
#include "support/cases.h"
#include "support/settings.h"

namespace convolite::testing {
namespace {

PoolWindow window_of(const NaivePool2d& p) {
  return {{p.kh, p.kw},
          {p.stride_h, p.stride_w},
          {p.top, p.bottom, p.left, p.right},
          {p.dil_h, p.dil_w},
          p.ceil_mode};
}

std::vector<double> clamped_maxima(const NaivePool2d& p, const std::vector<double>& images) {
  std::vector<Index> taps;
  std::vector<double> maxima = p.max_forward(images, taps);
  for (double& value : maxima) value = std::max(value, 0.0);
  return maxima;
}

// Batch norm of powers of two and small integers is exact; what it gives is pooled, then clamped.
template <class T, class Offset>
void check_pooled_batch_norm(const NaivePool2d& p) {
  Numbers numbers(5);
  const auto values = numbers.integers(p.input_size());
  const auto scales = numbers.integers(p.c), shifts = numbers.integers(p.c),
             means = numbers.integers(p.c);
  const std::vector<double> variances(static_cast<std::size_t>(p.c), 0.25);
  std::vector<double> normalised = values;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto channel = i / static_cast<std::size_t>(p.h * p.w) % scales.size();
    normalised[i] = (values[i] - means[channel]) * 2 * scales[channel] + shifts[channel];
  }
  const std::vector<double> expected = clamped_maxima(p, normalised);
  const PoolWindow window = window_of(p);
  const auto shape = PooledBatchNormShape::infer({p.n, p.c, p.h, p.w}, window, false);
  const Argument<T> input(values), weight(scales), bias(shifts), mean(means), var(variances);
  check_everywhere<T>({expected, {}}, [&](Edge edge, Span<T> output) {
    const Result<Offset> offsets(p.output_size(), edge);
    pooled_batch_norm_forward_inference<T, Offset>(shape, input(edge), {weight(edge), bias(edge)},
                                                   mean(edge), var(edge), 0.0, Activation::relu,
                                                   output, offsets.span());
    ASSERT_TRUE(offsets.fence_is_intact());
  });
}

class PooledCases : public ::testing::TestWithParam<Case> {};

TEST_P(PooledCases, batch_norm_is_exactly_its_definition) {
  const Case& row = GetParam();
  const NaivePool2d p{
      row["n"],        row["c"],         row["h"],        row["w"],       row["kh"],
      row["kw"],       row["stride_h"],  row["stride_w"], row["pad_top"], row["pad_bottom"],
      row["pad_left"], row["pad_right"], row["dil_h"],    row["dil_w"],   row["ceil_mode"] != 0};
  if (p.kh * p.kw > 256) return check_pooled_batch_norm<float, std::int32_t>(p);
  check_pooled_batch_norm<float, std::uint8_t>(p);
  check_pooled_batch_norm<double, std::uint8_t>(p);
}

INSTANTIATE_TEST_SUITE_P(rows, PooledCases, ::testing::ValuesIn(load_cases("pool2d", "test")),
                         [](const auto& row) { return row.param.name(); });

// Small integers convolve exactly by the direct method.
template <class T>
void check_pooled_conv2d(Index images) {
  const NaiveConv2d conv{images, 1, 34, 33, 16, 3, 2, 1, 1, 0, 0, 0, 0, 1, 1, 1};
  const NaivePool2d p{images, 16, conv.oh(), conv.ow(), 3, 2, 2, 2, 1, 0, 0, 0, 1, 1, false};
  Numbers numbers(6);
  const auto values = numbers.integers(conv.input_size()),
             filters = numbers.integers(conv.weight_size()), shifts = numbers.integers(conv.oc);
  std::vector<double> convolved = conv.forward(values, filters);
  conv.add_bias(convolved, shifts);
  const auto shape = PooledConv2dShape::infer(
      Conv2dShape::infer({images, 1, 34, 33}, {16, 1, 3, 2}, {1, 1}, {}, {1, 1}, 1), window_of(p));
  const Argument<T> input(values), weight(filters), bias(shifts);
  check_everywhere<T>({clamped_maxima(p, convolved), {}}, [&](Edge edge, Span<T> output) {
    const Result<std::uint8_t> offsets(p.output_size(), edge);
    pooled_conv2d_forward<T, std::uint8_t>(shape, input(edge), weight(edge),
                                           {bias(edge), Activation::relu}, output, offsets.span());
    ASSERT_TRUE(offsets.fence_is_intact());
  });
}

// One image of float takes 64 KB: blocks of four, from 24 images on with three threads.
TEST(PooledConv2d, many_images_are_exactly_their_definition) {
  check_pooled_conv2d<float>(25);
  check_pooled_conv2d<double>(25);
}

TEST(PooledConv2d, few_images_are_exactly_their_definition) {
  check_pooled_conv2d<float>(1);
  check_pooled_conv2d<float>(0);
}

}  // namespace
}  // namespace convolite::testing
