// Few rows: each task owns some columns of C and reads its part of B once, where it stands: packing
// it would cost as much as the arithmetic. The sum of an element does not depend on where columns
// are cut.
//
// Little depth: each task owns some rows of C, which are written once while B stays in the caches.
//
// Bound by memory: by the pass over B, or over C.
#include "gemm/thin.h"

#include <algorithm>

#include "runtime/buffer.h"
#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {
namespace {

// Where rows of B are no whole cache lines, 8 of A and 1000 columns ran 0.9 times as fast as
// packed, and 1.2 to 1.5 times with 1024 columns (bench_gemm on Zen 5, AVX-512, 1 thread, 2026-11).
constexpr Index kMostRowsOffLines = 4;
constexpr Index kTaskColumns = 24;        // of a task, where B stands by columns
constexpr Index kOutputBytes = 16 << 10;  // a task's part of C where B stands by rows: half of L1
constexpr Index kFewestOutputColumns = 256;  // and the shortest run of B that it reads
constexpr Index kShallowRows = 48;           // of a task where there is little depth
constexpr Index kShallowBytes = 2 << 10;     // of a row of C: 8 rows of B and 3 of C fit the L1

// The longer the runs of B, the faster memory serves them. Threads may have a say, since no sum is
// cut.
template <class T>
Index columns_of_task(const GemmSize& size, bool by_rows, Index work) {
  if (!by_rows) return kTaskColumns;
  const Index most = kOutputBytes / (size.m * static_cast<Index>(sizeof(T)));
  const Index tasks = ceil_divide(size.n, kFewestOutputColumns);
  const Index share = ceil_divide(size.n, worker_count(tasks, work));
  return std::clamp(round_up(share, kFewestOutputColumns), kFewestOutputColumns, most);
}

// Element operations of a pass in vectors, in the measure of parallel_for.
Index pass_work(const GemmSize& size) {
  return size.n * size.k / 4;
}

template <class T>
void finish(const Epilogue<T>& epilogue, Index rows, Index begin, Index end, Index stride, T* c) {
  if (epilogue.bias == nullptr && epilogue.row_bias == nullptr &&
      epilogue.activation == Activation::none) {
    return;
  }
  GemmTileArguments<T> clamp{};
  set_epilogue(clamp, epilogue, begin);
  for (Index i = 0; i < rows; ++i) {
    T* const row = c + i * stride;
    for (Index j = 0; j < end - begin; ++j) {
      T value = row[j];
      if (clamp.bias != nullptr) value += clamp.bias[j];
      if (epilogue.row_bias != nullptr) value += epilogue.row_bias[i];
      if (clamp.clamp) value = std::min(std::max(value, clamp.low), clamp.high);  // NaN stays
      row[j] = value;
    }
  }
}

// B and C by rows. Where they are not packed, what is left of the arguments to set is a place.
template <class T>
ThinArguments<T> whole_product(const GemmSize& size, const MatrixView<T>& a, const MatrixView<T>& b,
                               T* c) {
  const Index b_stride = b.column_stride == 1 ? b.row_stride : b.column_stride;
  return {size.m, size.n,       size.k,          a.data,   b.data,
          c,      a.row_stride, a.column_stride, b_stride, size.n};
}

template <class T>
bool has_few_rows(const GemmSize& size, const MatrixView<T>& a, const MatrixView<T>& b) {
  const ThinKernels<T>& kernel = kernels<T>().thin;
  if (b.column_stride != 1) return size.m <= kernel.most_rows_by_columns && a.column_stride == 1;
  constexpr Index line = kAlignment / static_cast<Index>(sizeof(T));
  const Index most = kernel.most_rows_by_rows;
  return size.m <= (b.row_stride % line == 0 ? most : std::min(most, kMostRowsOffLines));
}

// Each task writes some rows of C, run by run of columns: the runs of B stay in the first cache.
template <class T>
void multiply_shallow(const GemmSize& size, const ThinArguments<T>& whole,
                      const Epilogue<T>& epilogue) {
  constexpr Index run = kShallowBytes / static_cast<Index>(sizeof(T));
  parallel_blocks(size.m, kShallowRows, size.m * size.n, [&](Index first, Index last, int) {
    Epilogue<T> of_rows = epilogue;
    if (of_rows.row_bias != nullptr) of_rows.row_bias += first;
    ThinArguments<T> product = whole;
    product.rows = last - first;
    product.a += first * whole.a_row_stride;
    for (Index begin = 0; begin < size.n; begin += run) {
      const Index end = std::min(begin + run, size.n);
      product.columns = end - begin;
      product.b = whole.b + begin;
      product.c = whole.c + first * size.n + begin;
      kernels<T>().thin.by_rows(product);
      finish(of_rows, product.rows, begin, end, size.n, product.c);
    }
  });
}

template <class T>
void multiply_few_rows(const GemmSize& size, const ThinArguments<T>& whole, bool by_rows,
                       const Epilogue<T>& epilogue) {
  const ThinKernels<T>& kernel = kernels<T>().thin;
  const Index work = pass_work(size);
  parallel_blocks(size.n, columns_of_task<T>(size, by_rows, work), work,
                  [&](Index begin, Index end, int) {
                    ThinArguments<T> product = whole;
                    product.columns = end - begin;
                    product.b += begin * (by_rows ? 1 : whole.b_stride);
                    product.c += begin;
                    (by_rows ? kernel.by_rows : kernel.by_columns)(product);
                    finish(epilogue, size.m, begin, end, size.n, product.c);
                  });
}

}  // namespace

template <class T>
bool is_thin(const GemmSize& size, const MatrixView<T>& a, const MatrixView<T>& b) {
  if (size.m == 0 || size.k == 0) return false;
  const bool is_shallow = b.column_stride == 1 && size.k <= kernels<T>().thin.most_depth;
  return is_shallow || has_few_rows(size, a, b);
}

template <class T>
void gemm_thin(const GemmSize& size, MatrixView<T> a, MatrixView<T> b, T* c,
               const Epilogue<T>& epilogue) {
  const ThinArguments<T> whole = whole_product(size, a, b, c);
  if (has_few_rows(size, a, b)) {
    multiply_few_rows(size, whole, b.column_stride == 1, epilogue);
  } else {
    multiply_shallow(size, whole, epilogue);
  }
}

#define CONVOLITE_INSTANTIATE(T)                                                      \
  template bool is_thin(const GemmSize&, const MatrixView<T>&, const MatrixView<T>&); \
  template void gemm_thin(const GemmSize&, MatrixView<T>, MatrixView<T>, T*, const Epilogue<T>&);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
