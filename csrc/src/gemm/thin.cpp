// Each task owns some columns of C and reads its part of B once, where it stands: packing it would
// cost as much as the arithmetic. The sum of an element does not depend on where columns are cut.
//
// Bound by memory: by the pass over B.
#include "gemm/thin.h"

#include <algorithm>

#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {
namespace {

// Measured with benchmarks/gemm.py on Zen 3, 2026-11: 8 x 1000 x 1024 runs 1.1 to 2 times as fast
// as packed where B stands by columns, and slower where it stands by rows.
constexpr Index kMostRowsByColumns = 8;
constexpr Index kMostRowsByRows = 4;
constexpr Index kTaskColumns = 16;        // of a task, where B stands by columns
constexpr Index kOutputBytes = 16 << 10;  // a task's part of C where B stands by rows: half of L1
constexpr Index kFewestOutputColumns = 256;  // and the shortest run of B that it reads

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

}  // namespace

template <class T>
bool is_thin(const GemmSize& size, const MatrixView<T>& a, const MatrixView<T>& b) {
  const Index most = b.column_stride == 1 ? kMostRowsByRows : kMostRowsByColumns;
  return size.m > 0 && size.m <= most && size.k > 0 && a.column_stride == 1;
}

template <class T>
void gemm_thin(const GemmSize& size, MatrixView<T> a, MatrixView<T> b, T* c,
               const Epilogue<T>& epilogue) {
  const ThinKernels<T>& kernel = kernels<T>().thin;
  const bool by_rows = b.column_stride == 1;
  const Index work = pass_work(size);
  parallel_blocks(size.n, columns_of_task<T>(size, by_rows, work), work,
                  [&](Index begin, Index end, int) {
                    ThinArguments<T> product{};
                    product.rows = size.m;
                    product.columns = end - begin;
                    product.depth = size.k;
                    product.a = a.data;
                    product.b = b.data + begin * b.column_stride;
                    product.c = c + begin;
                    product.a_stride = a.row_stride;
                    product.b_stride = by_rows ? b.row_stride : b.column_stride;
                    product.c_stride = size.n;
                    (by_rows ? kernel.by_rows : kernel.by_columns)(product);
                    finish(epilogue, size.m, begin, end, size.n, product.c);
                  });
}

#define CONVOLITE_INSTANTIATE(T)                                                      \
  template bool is_thin(const GemmSize&, const MatrixView<T>&, const MatrixView<T>&); \
  template void gemm_thin(const GemmSize&, MatrixView<T>, MatrixView<T>, T*, const Epilogue<T>&);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
