// Blocked matrix multiplication around the micro-kernel. C (m, n) = A (m, k) B (k, n), then the
// epilogue.
#pragma once

#include <convolite/types.h>

#include "gemm/epilogue.h"

namespace convolite {

// Element (i, j) stands at data[i * row_stride + j * column_stride].
template <class T>
struct MatrixView {
  const T* data;
  Index row_stride, column_stride;
};

struct GemmSize {
  Index m, n, k;
};

// Elements from one of `count` matrices of a kind to the next, and between rows of C.
struct GemmImages {
  Index count = 1;
  Index a_stride = 0, b_stride = 0, c_stride = 0;
  Index c_row_stride = 0;  // 0: the rows of C are dense
};

// One stride of B must be 1. C is row-major. With k = 0 the result is the epilogue of
// zeros. Strides must stay below 2^31 / kMaxTileRows elements (LinearShape and MatmulShape see to
// it).
template <class T>
void gemm(const GemmSize& size, MatrixView<T> a, MatrixView<T> b, T* c,
          const Epilogue<T>& epilogue);

// C[i] = A B[i] for every image: a_stride is 0.
template <class T>
void gemm_each(const GemmSize& size, const GemmImages& images, MatrixView<T> a, MatrixView<T> b,
               T* c, const Epilogue<T>& epilogue);

// C = the sum of A[i] B[i] over the images: c_stride is 0. The rows of A are contiguous.
template <class T>
void gemm_sum(const GemmSize& size, const GemmImages& images, MatrixView<T> a, MatrixView<T> b,
              T* c);

}  // namespace convolite
