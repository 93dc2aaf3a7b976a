// The oracle of matrix products: three loops.
#pragma once

#include <cstdint>
#include <vector>

namespace convolite::testing {

// a (m, k), b (k, n) -> (m, n), all row-major.
inline std::vector<double> naive_gemm(std::int64_t m, std::int64_t n, std::int64_t k,
                                      const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> result(m * n, 0.0);
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t l = 0; l < k; ++l) {
      for (std::int64_t j = 0; j < n; ++j) result[i * n + j] += a[i * k + l] * b[l * n + j];
    }
  }
  return result;
}

// (rows, columns) -> (columns, rows)
inline std::vector<double> naive_transpose(std::int64_t rows, std::int64_t columns,
                                           const std::vector<double>& matrix) {
  std::vector<double> result(matrix.size());
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) result[j * rows + i] = matrix[i * columns + j];
  }
  return result;
}

}  // namespace convolite::testing
