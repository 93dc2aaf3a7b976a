// The kernels' contract: what each one computes, who may call it how. Everything above this page is
// portable; everything that knows an instruction set is below it.
//
// For every kernel: no allocation, no threads, no exceptions. Pointers need only element alignment
// unless said otherwise. Outputs are overwritten, never read, unless `accumulate` is set.
#pragma once

#include <cstddef>
#include <cstdint>

namespace convolite {

// The micro-kernel: C[m][j] (+)= sum_k A[m][k] * B[k][j], then the epilogue, for a tile of `rows` x
// (`vectors` x lanes) elements held in registers.
//
//   A[m][k] = a[a_rows[m] + a_cols[k]]          read in place: packed panels, padded images and plain
//                                               or transposed matrices are all the same call
//   B[k][j] = b[k * vectors * lanes + j]        packed, aligned to a vector, zero-padded to full vectors
//   C[m][j] = c[c_rows[m] + j], j < columns     only `columns` of them are touched
//
// Epilogue, in this order: add C's old value (accumulate), add bias[j] (if not null; `columns` values),
// clamp to [low, high] (if clamp; NaN passes through).
//
// Bound by arithmetic: rows x vectors fused multiply-adds against rows + vectors loads for each k.
template <class T>
struct GemmTileArguments {
  std::ptrdiff_t depth;  // number of k
  const T* a;
  const std::int32_t* a_rows;
  const std::int32_t* a_cols;
  const T* b;
  T* c;
  const std::int32_t* c_rows;
  std::ptrdiff_t columns;
  const T* bias;
  T low, high;
  bool clamp;
  bool accumulate;
};

constexpr int kMaxTileRows = 8;
constexpr int kMaxTileVectors = 3;

template <class T>
struct GemmKernels {
  using Tile = void (*)(const GemmTileArguments<T>&);
  int rows;     // the tallest tile
  int vectors;  // the widest tile
  Tile tile[kMaxTileVectors][kMaxTileRows];  // [vectors - 1][rows - 1]
  // output[j * output_stride + i] = input[i * input_stride + j] for i < rows, j < columns.
  void (*transpose)(std::ptrdiff_t rows, std::ptrdiff_t columns, const T* input,
                    std::ptrdiff_t input_stride, T* output, std::ptrdiff_t output_stride);
};

template <class T>
struct KernelTable {
  int lanes;  // elements of one vector
  GemmKernels<T> gemm;
};

#define CONVOLITE_DECLARE_TABLES(level)       \
  namespace level {                           \
  extern const KernelTable<float> table_f32;  \
  extern const KernelTable<double> table_f64; \
  }
CONVOLITE_DECLARE_TABLES(baseline)
CONVOLITE_DECLARE_TABLES(avx2)
CONVOLITE_DECLARE_TABLES(avx512)
CONVOLITE_DECLARE_TABLES(portable)
#undef CONVOLITE_DECLARE_TABLES

}  // namespace convolite
