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

// sums[3 r + s] += sum over planes, row_begin <= y < row_end and x < columns of
//                  grad[y][x] * source[y * step + r - 1][x * step + s - 1]
// with zeros around the source and widths as above. Sums run in T within a call: keep the pixels
// few.
template <class T>
struct DepthwiseRowsWeightArguments {
  const T* source;
  std::ptrdiff_t height, width, source_plane_stride;
  const T* zeros;  // width of them
  const T* grad;
  std::ptrdiff_t grad_plane_stride;
  std::ptrdiff_t planes, columns, row_begin, row_end;
  double* sums;
};

template <class T>
struct DepthwiseRowsKernels {
  using Convolve = void (*)(const DepthwiseRowsArguments<T>&);
  using WeightSums = void (*)(const DepthwiseRowsWeightArguments<T>&);
  Convolve convolve[2];       // [step - 1]
  WeightSums weight_sums[2];  // as above
};

}  // namespace convolite
