// Products with few rows or little depth, as those of a batch of one image and its gradient.
#pragma once

#include "gemm/gemm.h"

namespace convolite {

// Whether gemm_thin takes this product: few rows of A, or little depth but some and B by rows.
template <class T>
bool is_thin(const GemmSize& size, const MatrixView<T>& a, const MatrixView<T>& b);

// As gemm(), which see.
template <class T>
void gemm_thin(const GemmSize& size, MatrixView<T> a, MatrixView<T> b, T* c,
               const Epilogue<T>& epilogue);

}  // namespace convolite
