// Unary and broadcast binary operations against loops over explicit coordinates.
#include <convolite/elementwise.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "support/arrays.h"
#include "support/settings.h"

namespace convolite::testing {
namespace {

using Lengths = std::vector<Index>;

Index size_of(const Lengths& lengths) {
  Index size = 1;
  for (const Index length : lengths) size *= length;
  return size;
}

// numpy's rule: aligned at the last axes, length 1 repeats.
Lengths broadcast(const Lengths& a, const Lengths& b) {
  Lengths result(std::max(a.size(), b.size()));
  for (std::size_t back = 1; back <= result.size(); ++back) {
    const Index from_a = back <= a.size() ? a[a.size() - back] : 1;
    const Index from_b = back <= b.size() ? b[b.size() - back] : 1;
    result[result.size() - back] = from_a == 1 ? from_b : from_a;
  }
  return result;
}

// Where the operand of shape `lengths` stands for element `i` of the result of shape `result`.
Index source_of(const Lengths& lengths, const Lengths& result, Index i) {
  Index offset = 0, stride = 1;
  for (std::size_t back = 1; back <= result.size(); ++back) {
    const Index coordinate = i % result[result.size() - back];
    i /= result[result.size() - back];
    if (back > lengths.size()) continue;
    const Index length = lengths[lengths.size() - back];
    offset += length == 1 ? 0 : coordinate * stride;
    stride *= length;
  }
  return offset;
}

double apply(BinaryOperation operation, double a, double b) {
  switch (operation) {
    case BinaryOperation::add:
      return a + b;
    case BinaryOperation::subtract:
      return a - b;
    case BinaryOperation::multiply:
      return a * b;
    case BinaryOperation::divide:
      return a / b;
    case BinaryOperation::power:
      return std::pow(a, b);
    case BinaryOperation::maximum:
      return std::max(a, b);
    case BinaryOperation::minimum:
      return std::min(a, b);
    case BinaryOperation::equal:
      return a == b ? 1 : 0;
    case BinaryOperation::power_slope:
      return b == 0 ? 0 : b * std::pow(a, b - 1);
    case BinaryOperation::exponent_slope:
      break;
  }
  return a == 0 ? 0 : b * std::log(a);
}

// The size of a result's terms; the exponent b - 1 is rounded before it multiplies log(a).
double size_of_terms(BinaryOperation operation, double a, double b, double result) {
  const bool slope = operation == BinaryOperation::power_slope;
  return std::fabs(result) * (slope ? 1 + std::fabs(std::log(a)) * (1 + std::fabs(b)) : 1);
}

const BinaryOperation kBinary[] = {
    BinaryOperation::add,     BinaryOperation::subtract,    BinaryOperation::multiply,
    BinaryOperation::divide,  BinaryOperation::power,       BinaryOperation::maximum,
    BinaryOperation::minimum, BinaryOperation::power_slope, BinaryOperation::exponent_slope,
    BinaryOperation::equal};

bool needs_positive_base(BinaryOperation operation) {
  return operation == BinaryOperation::power || operation == BinaryOperation::power_slope ||
         operation == BinaryOperation::exponent_slope;
}

template <class T>
void check_binary(BinaryOperation operation, const Lengths& a_shape, const Lengths& b_shape) {
  Numbers numbers(1);
  std::vector<double> a_values = numbers.normals(size_of(a_shape));
  std::vector<double> b_values = numbers.normals(size_of(b_shape));
  if (needs_positive_base(operation)) a_values = absolute(a_values);
  const Lengths result = broadcast(a_shape, b_shape);
  Expected expected;
  for (Index i = 0; i < size_of(result); ++i) {
    const double a = a_values[source_of(a_shape, result, i)];
    const double b = b_values[source_of(b_shape, result, i)];
    expected.values.push_back(apply(operation, a, b));
    expected.scale.push_back(size_of_terms(operation, a, b, expected.values.back()));
  }
  const Argument<T> a(a_values), b(b_values);
  const BroadcastShape shape = BroadcastShape::infer("binary", a_shape, b_shape);
  ASSERT_EQ(result, shape.output);
  check_everywhere<T>(expected, [&](Edge edge, Span<T> output) {
    binary<T>(operation, shape, a(edge), b(edge), output);
  });
}

TEST(Binary, broadcasts_like_numpy) {
  const std::pair<Lengths, Lengths> shapes[] = {{{}, {}},
                                                {{7}, {7}},
                                                {{5, 33}, {5, 33}},
                                                {{5, 33}, {33}},
                                                {{5, 33}, {5, 1}},
                                                {{1, 33}, {5, 1}},
                                                {{}, {3, 4}},
                                                {{4, 1, 3}, {2, 1}},
                                                {{2, 3, 4, 5}, {1, 3, 1, 1}},
                                                {{2, 1, 4, 1}, {3, 1, 17}},
                                                {{0, 3}, {1, 3}},
                                                {{3, 70, 500}, {70, 1}},
                                                {{200, 300}, {200, 300}}};
  for (const auto& [a, b] : shapes) {
    for (const BinaryOperation operation : kBinary) {
      check_binary<float>(operation, a, b);
      check_binary<double>(operation, a, b);
    }
  }
}

template <class T>
void check_exactly(BinaryOperation operation, const std::vector<double>& a_values,
                   const std::vector<double>& b_values) {
  const Argument<T> a(a_values), b(b_values);
  const auto shape = BroadcastShape::infer("binary", {static_cast<Index>(a_values.size())},
                                           {static_cast<Index>(b_values.size())});
  std::vector<double> values;
  for (std::size_t i = 0; i < a_values.size(); ++i) {
    values.push_back(apply(operation, a_values[i], b_values[b_values.size() == 1 ? 0 : i]));
  }
  check_everywhere<T>({values, {}}, [&](Edge edge, Span<T> output) {
    binary<T>(operation, shape, a(edge), b(edge), output);
  });
}

TEST(Binary, finds_what_is_equal_and_slopes_of_small_powers) {
  const std::vector<double> a = Numbers(1).integers(50021), b = Numbers(2).integers(50021);
  check_exactly<float>(BinaryOperation::equal, a, b);
  check_exactly<double>(BinaryOperation::equal, a, b);
  constexpr double infinity = std::numeric_limits<double>::infinity();
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> left = {nan, nan, 0, -0.0, infinity, infinity};
  const std::vector<double> right = {nan, 1, -0.0, -0.0, infinity, -infinity};
  check_exactly<float>(BinaryOperation::equal, left, right);
  check_exactly<double>(BinaryOperation::equal, left, right);
  check_exactly<float>(BinaryOperation::power_slope, a, {2});
  check_exactly<double>(BinaryOperation::power_slope, a, {2});
}

TEST(Binary, slopes_are_zero_where_the_exponent_or_a_power_of_zero_is) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const std::vector<double> a{0, infinity, -2, std::numeric_limits<double>::quiet_NaN()};
  check_exactly<float>(BinaryOperation::power_slope, a, {0});
  check_exactly<float>(BinaryOperation::power_slope, a, {0, 0, 0, 0});
  check_exactly<float>(BinaryOperation::exponent_slope, {0, 0}, {0, 1});
}

TEST(Binary, writes_over_an_operand_of_the_same_shape) {
  constexpr Index size = 50021;
  const std::vector<double> a = Numbers(1).integers(size), b = Numbers(2).integers(size);
  std::vector<float> total(a.begin(), a.end()), addend(b.begin(), b.end());
  binary<float>(BinaryOperation::add, BroadcastShape::infer("add", {size}, {size}),
                {total.data(), size}, {addend.data(), size}, {total.data(), size});
  for (Index i = 0; i < size; ++i) ASSERT_EQ(total[i], a[i] + b[i]) << i;
}

TEST(Broadcast, refuses_shapes_that_do_not_fit) {
  EXPECT_NE("", message_of([] { BroadcastShape::infer("add", {2, 3}, {4}); }));
  EXPECT_NE("", message_of([] { BroadcastShape::infer("add", {2, 3}, {3, 2}); }));
}

struct Unary {
  UnaryOperation operation;
  double (*value)(double);
  bool positive;  // defined above zero only
};

const Unary kUnary[] = {
    {UnaryOperation::negative, [](double x) { return -x; }, false},
    {UnaryOperation::exp, [](double x) { return std::exp(x); }, false},
    {UnaryOperation::log, [](double x) { return std::log(x); }, true},
    {UnaryOperation::sqrt, [](double x) { return std::sqrt(x); }, true},
    {UnaryOperation::abs, [](double x) { return std::fabs(x); }, false},
    {UnaryOperation::sign, [](double x) { return x > 0   ? 1.0
                                                 : x < 0 ? -1.0
                                                         : 0.0; }, false},
    {UnaryOperation::reciprocal, [](double x) { return 1 / x; }, false},
};

template <class T>
void check_unary(const Unary& given, Index count) {
  std::vector<double> x = Numbers(2).normals(count);
  if (given.positive) x = absolute(x);
  Expected expected;
  for (const double value : x) expected.values.push_back(given.value(value));
  expected.scale = absolute(expected.values);
  const Argument<T> input(x);
  check_everywhere<T>(
      expected, [&](Edge edge, Span<T> output) { unary<T>(given.operation, input(edge), output); });
}

TEST(Unary, follows_the_functions) {
  for (const Unary& operation : kUnary) {
    for (const Index count : {0, 1, 7, 16, 35, 40000}) {
      check_unary<float>(operation, count);
      check_unary<double>(operation, count);
    }
  }
}

}  // namespace
}  // namespace convolite::testing
