// The contract of the 3x3 depthwise kernels that read rows where they lie: a part of table.h.
#pragma once

#include <cstddef>

namespace convolite {

// For each of `planes` planes, one after the other, whose filters and biases (if any) are
// consecutive, and for row_begin <= y < row_end, x < columns:
//   result[y][x] = clamp(bias + sum over r, s < 3 of weight[3 r + s] *
//                        source[y * step + r - 1][x * step + s - 1] + residual[y][x])
// with zeros around the source. Rows are dense. Several planes are whole ones.
//
// columns >= lanes; step 2 wants width == 2 * columns.
template <class T>
struct DepthwiseRowsArguments {
  const T* source;
  std::ptrdiff_t height, width;
  const T* zeros;  // width of them
  const T* weight;
  const T* bias;      // or null
  const T* residual;  // or null
  T* result;
  std::ptrdiff_t planes, height_out, columns, row_begin, row_end;
  T low, high;
  bool clamp;
};

template <class T>
struct DepthwiseRowsKernels {
  using Convolve = void (*)(const DepthwiseRowsArguments<T>&);
  Convolve by_step[2];  // [step - 1]
};

}  // namespace convolite
