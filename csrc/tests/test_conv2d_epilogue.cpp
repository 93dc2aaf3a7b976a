// activation(scale * conv2d + bias + residual) against the naive loops, for every method.
#include <convolite/conv2d.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <set>
#include <string>

#include "naive/conv2d.h"
#include "support/arrays.h"
#include "support/cases.h"
#include "support/conv2d_problems.h"
#include "support/settings.h"

namespace convolite::testing {
namespace {

struct Operands {
  std::vector<double> input, weight, bias, scale, residual;
};

Operands integers(const NaiveConv2d& p, std::uint64_t seed) {
  Numbers numbers(seed);
  return {numbers.integers(p.input_size()), numbers.integers(p.weight_size()),
          numbers.integers(p.oc), numbers.integers(p.oc), numbers.integers(p.output_size())};
}

Operands normals(const NaiveConv2d& p, std::uint64_t seed) {
  Numbers numbers(seed);
  return {numbers.normals(p.input_size()), numbers.normals(p.weight_size()), numbers.normals(p.oc),
          numbers.normals(p.oc), numbers.normals(p.output_size())};
}

// What an epilogue consists of.
struct Parts {
  bool scale, residual;
  Activation activation;
};

constexpr Parts kParts[] = {{true, false, Activation::none},
                            {false, true, Activation::none},
                            {false, true, Activation::relu},
                            {true, true, Activation::relu6}};

std::vector<double> sums(const NaiveConv2d& p, const Operands& given, const Parts& parts) {
  std::vector<double> output = p.forward(given.input, given.weight);
  const Index pixels = p.oh() * p.ow();
  for (Index i = 0; i < p.output_size(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    const auto channel = static_cast<std::size_t>(i / pixels % p.oc);
    if (parts.scale) output[at] *= given.scale[channel];
    output[at] += given.bias[channel];
    if (parts.residual) output[at] += given.residual[at];
  }
  return output;
}

std::vector<double> activated(std::vector<double> values, Activation activation) {
  if (activation == Activation::none) return values;
  for (double& value : values) {
    if (value < 0) value = 0;
    if (activation == Activation::relu6 && value > 6) value = 6;
  }
  return values;
}

template <class T>
void check(const NaiveConv2d& p, const Operands& given, const Parts& parts,
           const std::vector<double>& scale) {
  SCOPED_TRACE(::testing::Message() << "scale " << parts.scale << ", residual " << parts.residual
                                    << ", activation " << static_cast<int>(parts.activation));
  const Argument<T> input(given.input), weight(given.weight), bias(given.bias),
      factors(given.scale), residual(given.residual);
  const Expected expected{activated(sums(p, given, parts), parts.activation), scale};
  check_everywhere<T>(expected, [&](Edge edge, Span<T> output) {
    Conv2dEpilogue<T> epilogue{bias(edge), parts.activation};
    if (parts.scale) epilogue.scale = factors(edge);
    if (parts.residual) epilogue.residual = residual(edge);
    conv2d_forward<T>(shape_of(p), input(edge), weight(edge), epilogue, output);
  });
}

void check_exact(const NaiveConv2d& p, std::uint64_t seed) {
  const SettingsGuard guard;
  set_fast_math(false);
  const Operands given = integers(p, seed);
  for (const Parts& parts : kParts) {
    check<float>(p, given, parts, {});
    check<double>(p, given, parts, {});
  }
}

// Winograd's transforms share the rounding of the largest sum of a tile, and add to it.
void check_winograd(const NaiveConv2d& p, std::uint64_t seed, const std::string& order) {
  const Conv2dChoice choice = conv2d_explain<float>(shape_of(p), Pass::forward).back();
  ASSERT_EQ("winograd", choice.method);
  ASSERT_NE(std::string::npos, choice.reason.find(order));
  const Operands given = normals(p, seed);
  const Operands sizes{absolute(given.input), absolute(given.weight), absolute(given.bias),
                       absolute(given.scale), absolute(given.residual)};
  for (const Parts& parts : kParts) {
    std::vector<double> scale = sums(p, sizes, parts);
    std::fill(scale.begin(), scale.end(), 4 * *std::max_element(scale.begin(), scale.end()));
    check<float>(p, given, parts, scale);
  }
}

class EpilogueCases : public ::testing::TestWithParam<Case> {};

TEST_P(EpilogueCases, integers_give_the_exact_sums) {
  check_exact(problem_of(GetParam()), 1);
}

INSTANTIATE_TEST_SUITE_P(rows, EpilogueCases, ::testing::ValuesIn(small_cases()),
                         [](const auto& row) { return row.param.name(); });

TEST(Epilogue, cases_meet_every_exact_method) {
  const SettingsGuard guard;
  set_fast_math(false);
  std::set<std::string> methods;
  for (const Case& row : small_cases()) methods.insert(method_of(problem_of(row)));
  EXPECT_EQ((std::set<std::string>{"depthwise", "direct", "grouped", "narrow", "pointwise"}),
            methods);
}

TEST(Epilogue, random_sizes_give_the_exact_sums) {
  check_random(400, 12, random_problem, check_exact);
}

TEST(Epilogue, normal_numbers_err_by_rounding_only) {
  const SettingsGuard guard;
  set_fast_math(false);
  for (const NaiveConv2d& p : {plain(2, 19, 9, 35, 3, 1, 1), plain(2, 40, 7, 37, 1, 1, 0)}) {
    const Operands given = normals(p, 2);
    const Operands sizes{absolute(given.input), absolute(given.weight), absolute(given.bias),
                         absolute(given.scale), absolute(given.residual)};
    for (const Parts& parts : kParts) {
      check<float>(p, given, parts, sums(p, sizes, parts));
      check<double>(p, given, parts, sums(p, sizes, parts));
    }
  }
}

TEST(EpilogueWinograd, tile_by_tile_errs_little) {
  check_winograd(plain(3, 24, 13, 37, 3, 1, 1), 3, "tile by tile");
  check_winograd(plain(1, 17, 70, 20, 3, 1, 0), 4, "tile by tile");
}

TEST(EpilogueWinograd, channel_by_channel_errs_little) {
  check_winograd(plain(2, 130, 9, 259, 3, 1, 1), 5, "channel by channel");
}

// Images with NaN are computed anew by the direct method, with their own part of the residual.
TEST(EpilogueWinograd, keeps_nan_in_its_windows) {
  const NaiveConv2d p = plain(3, 24, 9, 25, 3, 1, 1);
  Operands given = integers(p, 6);
  for (Index image = 0; image < p.n; ++image) {
    given.input[image * p.c * p.h * p.w + 100] = std::numeric_limits<double>::quiet_NaN();
  }
  ASSERT_EQ("winograd", method_of(p));
  check<float>(p, given, {true, true, Activation::relu}, {});
}

}  // namespace
}  // namespace convolite::testing
