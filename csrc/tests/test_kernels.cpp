// The micro-kernels themselves, called through the table as their contract (kernels/table.h)
// allows.
#include <gtest/gtest.h>

#include <limits>

#include "kernels/table.h"
#include "naive/gemm.h"
#include "runtime/isa.h"
#include "support/arrays.h"
#include "support/settings.h"

namespace convolite::testing {
namespace {

struct TileProblem {
  int rows, vectors;
  Index depth, columns;
  bool bias, clamp, accumulate;
};

// Runs one tile whose A is read through scattered offsets and whose C has gaps between rows.
template <class T>
void check_tile(const TileProblem& p) {
  const KernelTable<T>& table = kernels<T>();
  const Index width = p.vectors * table.lanes, gap = 3;
  Numbers numbers(static_cast<std::uint64_t>(p.depth * 100 + p.columns));
  const auto a = numbers.integers(p.rows * p.depth), bias = numbers.integers(p.columns),
             former = numbers.integers(p.rows * (p.columns + gap));
  std::vector<double> b = numbers.integers(p.depth * width);
  for (Index k = 0; k < p.depth; ++k) {
    for (Index j = p.columns; j < width; ++j) b[k * width + j] = 0;
  }
  std::vector<std::int32_t> a_rows, a_cols, c_rows;
  for (int m = 0; m < p.rows; ++m) {
    a_rows.push_back(static_cast<std::int32_t>((p.rows - 1 - m) * p.depth));
    c_rows.push_back(static_cast<std::int32_t>(m * (p.columns + gap)));
  }
  for (Index k = 0; k < p.depth; ++k) a_cols.push_back(static_cast<std::int32_t>(p.depth - 1 - k));

  const Argument<T> a_values(a), bias_values(bias);
  const Result<T> c(static_cast<Index>(former.size()) - gap, Edge::end);
  for (Index i = 0; i < c.span().size; ++i) c.span()[i] = static_cast<T>(former[i]);
  alignas(64) T b_values[64 * 3 * 16];
  for (std::size_t i = 0; i < b.size(); ++i) b_values[i] = static_cast<T>(b[i]);
  GemmTileArguments<T> arguments{};
  arguments.depth = p.depth;
  arguments.a = a_values(Edge::end).data;
  arguments.a_rows = a_rows.data();
  arguments.a_cols = a_cols.data();
  arguments.b = b_values;
  arguments.c = c.span().data;
  arguments.c_rows = c_rows.data();
  arguments.columns = p.columns;
  arguments.bias = p.bias ? bias_values(Edge::end).data : nullptr;
  arguments.low = 0;
  arguments.high = 6;
  arguments.clamp = p.clamp;
  arguments.accumulate = p.accumulate;
  table.gemm.tile[p.vectors - 1][p.rows - 1](arguments);

  std::vector<double> expected(former.begin(), former.end() - gap);
  for (int m = 0; m < p.rows; ++m) {
    for (Index j = 0; j < p.columns; ++j) {
      double& value = expected[m * (p.columns + gap) + j];
      if (!p.accumulate) value = 0;
      for (Index k = 0; k < p.depth; ++k) value += a[a_rows[m] + a_cols[k]] * b[k * width + j];
      if (p.bias) value += bias[j];
      if (p.clamp) value = value < 0 ? 0 : value > 6 ? 6 : value;
    }
  }
  ASSERT_TRUE(matches<T>(c.span(), {expected, {}}));
  ASSERT_TRUE(c.fence_is_intact());
}

template <class T>
void check_all_tiles() {
  const KernelTable<T>& table = kernels<T>();
  for (int vectors = 1; vectors <= table.gemm.vectors; ++vectors) {
    for (int rows = 1; rows <= table.gemm.rows; ++rows) {
      const Index widest = vectors * table.lanes;
      for (Index columns = widest - table.lanes + 1; columns <= widest; ++columns) {
        SCOPED_TRACE(std::to_string(rows) + " rows, " + std::to_string(columns) + " columns");
        const bool odd = columns % 2 == 1;
        ASSERT_NO_FATAL_FAILURE(check_tile<T>({rows, vectors, 5, columns, odd, !odd, odd}));
        ASSERT_NO_FATAL_FAILURE(check_tile<T>({rows, vectors, 64, columns, !odd, odd, false}));
        ASSERT_NO_FATAL_FAILURE(check_tile<T>({rows, vectors, 0, columns, true, false, !odd}));
      }
    }
  }
}

template <class T>
void check_transpose(Index rows, Index columns) {
  Numbers numbers(static_cast<std::uint64_t>(rows * 100 + columns));
  const std::vector<double> values = numbers.integers(rows * columns);
  const Argument<T> input(values);
  const Result<T> output(rows * columns, Edge::end);
  kernels<T>().gemm.transpose(rows, columns, input(Edge::end).data, columns, output.span().data,
                              rows);
  ASSERT_TRUE(matches<T>(output.span(), {naive_transpose(rows, columns, values), {}}));
  ASSERT_TRUE(output.fence_is_intact());
}

class Kernels : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { set_isa(GetParam()); }

 private:
  SettingsGuard guard_;
};

TEST_P(Kernels, table_belongs_to_the_vector_width) {
  const int bytes = GetParam() == "avx512" ? 64 : GetParam() == "avx2" ? 32 : 16;
  EXPECT_EQ(bytes, static_cast<int>(kernels<float>().lanes * sizeof(float)));
  EXPECT_EQ(bytes, static_cast<int>(kernels<double>().lanes * sizeof(double)));
}

TEST_P(Kernels, every_tile_writes_its_columns_and_no_others) {
  check_all_tiles<float>();
  check_all_tiles<double>();
}

TEST_P(Kernels, transpose_moves_every_element) {
  for (Index rows : {1, 3, 4, 7, 8, 16, 17, 33}) {
    for (Index columns : {1, 2, 5, 8, 15, 16, 31, 40}) {
      SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(columns));
      ASSERT_NO_FATAL_FAILURE(check_transpose<float>(rows, columns));
      ASSERT_NO_FATAL_FAILURE(check_transpose<double>(rows, columns));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(levels, Kernels, ::testing::ValuesIn(supported_isas()),
                         [](const auto& level) { return level.param; });

}  // namespace
}  // namespace convolite::testing
