// The blocked GEMM with every storage order that its callers use, against three loops.
#include <gtest/gtest.h>

#include <cmath>

#include "gemm/gemm.h"
#include "naive/gemm.h"
#include "runtime/integers.h"
#include "support/arrays.h"
#include "support/cases.h"
#include "support/settings.h"

namespace convolite::testing {
namespace {

enum class Order { by_rows, by_columns };

// A (rows, columns) matrix stored in either order.
template <class T>
class Stored {
 public:
  Stored(Index rows, Index columns, const std::vector<double>& values, Order order)
      : row_stride_(order == Order::by_rows ? columns : 1),
        column_stride_(order == Order::by_rows ? 1 : rows),
        values_(order == Order::by_rows ? values : naive_transpose(rows, columns, values)) {}
  MatrixView<T> at(Edge edge) const { return {values_(edge).data, row_stride_, column_stride_}; }

 private:
  Index row_stride_, column_stride_;
  Argument<T> values_;
};

template <class T>
void check_orders(const GemmSize& size, const std::vector<double>& a, const std::vector<double>& b,
                  const Expected& expected) {
  for (const Order order_a : {Order::by_rows, Order::by_columns}) {
    for (const Order order_b : {Order::by_rows, Order::by_columns}) {
      SCOPED_TRACE(std::string("A ") + (order_a == Order::by_rows ? "by rows" : "by columns") +
                   ", B " + (order_b == Order::by_rows ? "by rows" : "by columns"));
      const Stored<T> left(size.m, size.k, a, order_a), right(size.k, size.n, b, order_b);
      check_everywhere<T>(expected, [&](Edge edge, Span<T> output) {
        gemm<T>(size, left.at(edge), right.at(edge), output.data, {});
      });
    }
  }
}

void check_exact(const GemmSize& size, std::uint64_t seed) {
  Numbers numbers(seed);
  const auto a = numbers.integers(size.m * size.k), b = numbers.integers(size.k * size.n);
  const Expected expected{naive_gemm(size.m, size.n, size.k, a, b), {}};
  check_orders<float>(size, a, b, expected);
  check_orders<double>(size, a, b, expected);
}

void check_rounding(const GemmSize& size, std::uint64_t seed) {
  Numbers numbers(seed);
  const auto a = numbers.normals(size.m * size.k), b = numbers.normals(size.k * size.n);
  const Expected expected{naive_gemm(size.m, size.n, size.k, a, b),
                          naive_gemm(size.m, size.n, size.k, absolute(a), absolute(b))};
  check_orders<float>(size, a, b, expected);
  check_orders<double>(size, a, b, expected);
}

class GemmCases : public ::testing::TestWithParam<Case> {
 protected:
  static GemmSize size() { return {GetParam()["m"], GetParam()["n"], GetParam()["k"]}; }
};

TEST_P(GemmCases, integers_give_the_exact_sums) {
  check_exact(size(), 1);
}
TEST_P(GemmCases, normal_numbers_err_by_rounding_only) {
  check_rounding(size(), 2);
}

INSTANTIATE_TEST_SUITE_P(rows, GemmCases, ::testing::ValuesIn(load_cases("gemm", "test")),
                         [](const auto& row) { return row.param.name(); });

TEST(Gemm, several_depth_and_row_blocks_err_by_rounding_only) {
  check_rounding({61, 150, 700}, 3);
}

// A transposed A of more than 8 MB is copied part by part, along rows and depth.
TEST(Gemm, several_parts_of_a_transposed_operand_give_the_exact_sums) {
  check_exact({6000, 3, 500}, 4);
  check_exact({50, 17, 45000}, 5);
}

// Rows, columns and depth on both sides of where other kernels take over, and of their strips.
TEST(Gemm, few_rows_and_little_depth_err_by_rounding_only) {
  for (const Index few : {1, 2, 3, 4, 5, 6, 7, 8, 9}) {
    SCOPED_TRACE(std::to_string(few));
    check_rounding({few, 67, 35}, 6);
    check_rounding({51, 521, few}, 7);
  }
  check_rounding({8, 1031, 19}, 8);
  check_rounding({8, 1040, 19}, 8);
}

// With several threads: columns in equal numbers of vectors, in unequal ones, and equal rows.
TEST(Gemm, every_cut_into_tasks_gives_the_exact_sums) {
  check_exact({96, 96, 96}, 9);
  check_exact({100, 99, 80}, 10);
  check_exact({400, 40, 70}, 11);
}

// C = relu(A B + a value for each column and one for each row).
void check_epilogue(const GemmSize& size, Order order_of_b) {
  Numbers numbers(5);
  const auto a = numbers.integers(size.m * size.k), b = numbers.integers(size.k * size.n);
  const auto bias = numbers.integers(size.n), row_bias = numbers.integers(size.m);
  std::vector<double> values = naive_gemm(size.m, size.n, size.k, a, b);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double sum = values[i] + bias[i % bias.size()] + row_bias[i / bias.size()];
    values[i] = sum < 0 ? 0 : sum;
  }
  const Stored<float> left(size.m, size.k, a, Order::by_rows), right(size.k, size.n, b, order_of_b);
  const Argument<float> added(bias), added_to_rows(row_bias);
  check_everywhere<float>({values, {}}, [&](Edge edge, Span<float> output) {
    gemm<float>(size, left.at(edge), right.at(edge), output.data,
                {added(edge).data, Activation::relu, added_to_rows(edge).data});
  });
}

TEST(Gemm, bias_and_clamp_apply_once_after_the_last_depth_block) {
  check_epilogue({13, 37, 600}, Order::by_rows);
  check_epilogue({13, 37, 600}, Order::by_columns);
}

TEST(Gemm, even_parts_cover_the_size_and_differ_by_at_most_one) {
  for (Index size = 0; size <= 20; ++size) {
    for (Index count = size == 0 ? 0 : 1; count <= size; ++count) {
      const EvenParts parts(size, count);
      EXPECT_EQ(parts.first(0), 0);
      EXPECT_EQ(parts.first(count), size);
      for (Index part = 0; part < count; ++part) {
        EXPECT_EQ(parts.first(part + 1) - parts.first(part), parts.size(part));
        EXPECT_EQ(parts.size(part), (size + count - 1 - part) / count);
      }
    }
  }
}

// Few rows have kernels of their own.
TEST(Gemm, bias_and_clamp_apply_to_few_rows) {
  for (const Index rows : {1, 2, 3, 4, 7, 8}) {
    SCOPED_TRACE(std::to_string(rows) + " rows");
    check_epilogue({rows, 601, 29}, Order::by_rows);
    check_epilogue({rows, 601, 29}, Order::by_columns);
  }
}

TEST(Gemm, bias_and_clamp_apply_to_little_depth) {
  check_epilogue({51, 521, 1}, Order::by_rows);
  check_epilogue({51, 521, 8}, Order::by_rows);
}

TEST(Gemm, clamping_few_rows_lets_nan_pass) {
  const std::vector<double> a = {1, std::nan("")}, b = {-2, 3};
  for (const Order order : {Order::by_rows, Order::by_columns}) {
    const Stored<float> left(2, 1, a, Order::by_rows), right(1, 2, b, order);
    std::vector<float> output(4);
    gemm<float>({2, 2, 1}, left.at(Edge::end), right.at(Edge::end), output.data(),
                {nullptr, Activation::relu6});
    EXPECT_EQ(output[0], 0);
    EXPECT_EQ(output[1], 3);
    EXPECT_TRUE(std::isnan(output[2]) && std::isnan(output[3]));
  }
}

}  // namespace
}  // namespace convolite::testing
