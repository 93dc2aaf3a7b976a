// Loops around the micro-kernel, after Goto and van de Geijn (2008): B is packed into panels, one
// block of columns at a time; a task multiplies a block of A's rows, read in place, by a few
// panels, one block of the depth at a time. How C is cut depends on the sizes alone.
//
// Bound by arithmetic once m, n and k pass about 100: bench_gemm reports the share of the peak.
#include "gemm/gemm.h"

#include <algorithm>

#include "gemm/panels.h"
#include "runtime/buffer.h"
#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {
namespace {

// Measured on Zen 3 with csrc/benchmarks/bench_gemm, 2026-11: other values within a factor of two
// of these lose 0 to 5 %.
constexpr Index kPanelBytes = 24 << 10;         // a panel of one depth block: most of L1
constexpr Index kRowBlock = 24;                 // a multiple of every tile height: 4 of 6, 3 of 8
constexpr Index kPanelsPerTask = 4;             // reuses a block of A from L2 four times
constexpr Index kPackedBytes = Index{8} << 20;  // packed columns of B held at once
constexpr Index kPackRows = 64;                 // rows of B packed by one task

template <class T>
class Gemm {
 public:
  Gemm(const GemmSize& size, MatrixView<T> a, MatrixView<T> b, T* c, const Epilogue<T>& epilogue)
      : size_(size), a_(a), b_(b), c_(c), epilogue_(epilogue), kernels_(kernels<T>().gemm) {
    const Index tile_bytes = kernels<T>().lanes * kernels_.vectors * static_cast<Index>(sizeof(T));
    depth_block_ = std::max<Index>(1, std::min(size.k, kPanelBytes / tile_bytes));
    a_cols_ = Buffer<std::int32_t>(depth_block_);
    for (Index k = 0; k < depth_block_; ++k)
      a_cols_[k] = static_cast<std::int32_t>(k * a.column_stride);
    for (Index m = 0; m < kernels_.rows; ++m) {
      a_rows_[m] = static_cast<std::int32_t>(m * a.row_stride);
      c_rows_[m] = static_cast<std::int32_t>(m * size.n);
    }
  }

  void run() {
    const PanelLayout whole(kernels<T>(), size_.n);
    const Index bytes_per_column = std::max<Index>(1, size_.k) * static_cast<Index>(sizeof(T));
    const Index tile_columns = kernels<T>().lanes * kernels_.vectors;
    Index block = std::max<Index>(1, kPackedBytes / bytes_per_column / tile_columns) * tile_columns;
    block = std::min(block, whole.padded_columns());
    Buffer<T> packed(block * size_.k);
    for (Index first = 0; first < size_.n; first += block) {
      multiply_columns(first, std::min(block, size_.n - first), packed.get());
    }
  }

 private:
  void multiply_columns(Index first, Index columns, T* packed) const {
    const PanelLayout layout(kernels<T>(), columns);
    pack_columns(layout, first, packed);
    const Index row_blocks = (size_.m + kRowBlock - 1) / kRowBlock;
    const Index panel_blocks = (layout.panels() + kPanelsPerTask - 1) / kPanelsPerTask;
    const Index work = multiply_add_work(size_.m * columns * size_.k);
    parallel_for(row_blocks * panel_blocks, work, [&](Index task, int) {
      const Index panel = task / row_blocks * kPanelsPerTask;
      const Index panel_end = std::min(panel + kPanelsPerTask, layout.panels());
      multiply_block(task % row_blocks * kRowBlock, layout, panel, panel_end, first, packed);
    });
  }

  // B's columns from `first` on as panels; a task packs a few rows of all of them.
  void pack_columns(const PanelLayout& layout, Index first, T* packed) const {
    const bool rows_are_contiguous = b_.column_stride == 1;
    parallel_blocks(size_.k, kPackRows, layout.padded_columns() * size_.k,
                    [&](Index begin, Index end, int) {
                      for (Index panel = 0; panel < layout.panels(); ++panel) {
                        const Index width = layout.width(panel), used = layout.used(panel);
                        const T* from = b_.data + begin * b_.row_stride +
                                        (first + layout.first_column(panel)) * b_.column_stride;
                        T* to = packed + layout.offset(panel, size_.k) + begin * width;
                        if (rows_are_contiguous) {
                          kernels_.pack(end - begin, used, width, from, b_.row_stride, to);
                          continue;
                        }
                        kernels_.transpose(used, end - begin, from, b_.column_stride, to, width);
                        for (Index k = 0; used < width && k < end - begin; ++k) {
                          std::fill_n(to + k * width + used, width - used, T(0));
                        }
                      }
                    });
  }

  void multiply_block(Index row_begin, const PanelLayout& layout, Index panel_begin,
                      Index panel_end, Index first, const T* packed) const {
    const Index row_end = std::min(row_begin + kRowBlock, size_.m);
    Index k = 0;
    do {
      const Index depth = std::min(depth_block_, size_.k - k);
      for (Index panel = panel_begin; panel < panel_end; ++panel) {
        const Index width = layout.width(panel);
        const T* b = packed + layout.offset(panel, size_.k) + k * width;
        multiply_panel(row_begin, row_end, k, depth, layout, panel, first, b);
      }
      k += depth;
    } while (k < size_.k);
  }

  void multiply_panel(Index row_begin, Index row_end, Index k, Index depth,
                      const PanelLayout& layout, Index panel, Index first, const T* b) const {
    const Index column = first + layout.first_column(panel);
    GemmTileArguments<T> tile{};
    tile.depth = depth;
    tile.a_rows = a_rows_;
    tile.a_cols = a_cols_.get();
    tile.b = b;
    tile.c_rows = c_rows_;
    tile.columns = layout.used(panel);
    tile.accumulate = k > 0;
    if (k + depth == size_.k) set_epilogue(tile, epilogue_, column);
    for (Index row = row_begin; row < row_end; row += kernels_.rows) {
      const Index rows = std::min<Index>(kernels_.rows, row_end - row);
      tile.a = a_.data + row * a_.row_stride + k * a_.column_stride;
      tile.c = c_ + row * size_.n + column;
      kernels_.tile[layout.vectors(panel) - 1][rows - 1](tile);
    }
  }

  GemmSize size_;
  MatrixView<T> a_, b_;
  T* c_;
  Epilogue<T> epilogue_;
  const GemmKernels<T>& kernels_;
  Index depth_block_;
  Buffer<std::int32_t> a_cols_;
  std::int32_t a_rows_[kMaxTileRows], c_rows_[kMaxTileRows];
};

}  // namespace

template <class T>
void gemm(const GemmSize& size, MatrixView<T> a, MatrixView<T> b, T* c,
          const Epilogue<T>& epilogue) {
  if (size.m == 0 || size.n == 0) return;
  Gemm<T>(size, a, b, c, epilogue).run();
}

template void gemm(const GemmSize&, MatrixView<float>, MatrixView<float>, float*,
                   const Epilogue<float>&);
template void gemm(const GemmSize&, MatrixView<double>, MatrixView<double>, double*,
                   const Epilogue<double>&);

}  // namespace convolite
