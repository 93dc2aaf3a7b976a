// Loops around the micro-kernel, after Goto and van de Geijn (2008): B is packed into panels, one
// block of columns at a time; a task multiplies a block of A's rows by a few panels, one block of
// the depth at a time. A is read in place if its rows are contiguous, otherwise the task copies the
// block. How C is cut depends on the sizes alone.
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
constexpr Index kStripRows = 8;                 // of them packed together: read along the rows

template <class T>
class Gemm {
 public:
  Gemm(const GemmSize& size, MatrixView<T> a, MatrixView<T> b, T* c, const Epilogue<T>& epilogue)
      : size_(size),
        a_(a),
        b_(b),
        c_(c),
        epilogue_(epilogue),
        kernels_(kernels<T>().gemm),
        copies_rows_(a.column_stride != 1) {
    const Index tile_bytes = kernels<T>().lanes * kernels_.vectors * static_cast<Index>(sizeof(T));
    depth_block_ = std::max<Index>(1, std::min(size.k, kPanelBytes / tile_bytes));
    a_cols_ = Buffer<std::int32_t>(depth_block_);
    for (Index k = 0; k < depth_block_; ++k) a_cols_[k] = static_cast<std::int32_t>(k);
    row_stride_ = copies_rows_ ? depth_block_ : a.row_stride;
    for (Index m = 0; m < kernels_.rows; ++m) {
      a_rows_[m] = static_cast<std::int32_t>(m * row_stride_);
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
  // Rows [begin, end) and `depth` columns from k on; element (begin, k) is a[0].
  struct Block {
    Index begin, end, k, depth;
    const T* a;
  };

  void multiply_columns(Index first, Index columns, T* packed) const {
    const PanelLayout layout(kernels<T>(), columns);
    pack_columns(layout, first, packed);
    const Index row_blocks = (size_.m + kRowBlock - 1) / kRowBlock;
    const Index panel_blocks = (layout.panels() + kPanelsPerTask - 1) / kPanelsPerTask;
    const Index work = multiply_add_work(size_.m * columns * size_.k);
    const Index tasks = row_blocks * panel_blocks;
    const Workers workers{worker_count(tasks, work)};
    const WorkerScratch<T> copies(copies_rows_ ? workers.count : 0, kRowBlock * depth_block_);
    parallel_for(tasks, workers, [&](Index task, int worker) {
      const Index panel = task / row_blocks * kPanelsPerTask;
      const Index panel_end = std::min(panel + kPanelsPerTask, layout.panels());
      multiply_block(task % row_blocks * kRowBlock, layout, panel, panel_end, first, packed,
                     copies.of(worker));
    });
  }

  // B's columns from `first` on as panels; a task packs a few rows of all of them.
  void pack_columns(const PanelLayout& layout, Index first, T* packed) const {
    const Index strip = b_.column_stride == 1 ? kStripRows : kPackRows;
    parallel_blocks(size_.k, kPackRows, layout.padded_columns() * size_.k,
                    [&](Index begin, Index end, int) {
                      for (Index row = begin; row < end; row += strip) {
                        pack_strip(layout, first, row, std::min(row + strip, end), packed);
                      }
                    });
  }

  void pack_strip(const PanelLayout& layout, Index first, Index begin, Index end, T* packed) const {
    for (Index panel = 0; panel < layout.panels(); ++panel) {
      const Index width = layout.width(panel), used = layout.used(panel);
      const T* from =
          b_.data + begin * b_.row_stride + (first + layout.first_column(panel)) * b_.column_stride;
      T* to = packed + layout.offset(panel, size_.k) + begin * width;
      if (b_.column_stride == 1) {
        kernels_.pack(end - begin, used, width, from, b_.row_stride, to);
        continue;
      }
      kernels_.transpose(used, end - begin, from, b_.column_stride, to, width);
      for (Index k = 0; used < width && k < end - begin; ++k) {
        std::fill_n(to + k * width + used, width - used, T(0));
      }
    }
  }

  void multiply_block(Index row_begin, const PanelLayout& layout, Index panel_begin,
                      Index panel_end, Index first, const T* packed, T* copy) const {
    Block block{row_begin, std::min(row_begin + kRowBlock, size_.m), 0, 0, nullptr};
    do {
      block.depth = std::min(depth_block_, size_.k - block.k);
      block.a = a_.data + row_begin * a_.row_stride + block.k * a_.column_stride;
      if (copies_rows_) copy_rows(block, copy);
      for (Index panel = panel_begin; panel < panel_end; ++panel) {
        const Index width = layout.width(panel);
        const T* b = packed + layout.offset(panel, size_.k) + block.k * width;
        multiply_panel(block, layout, panel, first, b);
      }
      block.k += block.depth;
    } while (block.k < size_.k);
  }

  // Makes the block row-major. Read in place, every k would stand on a page of its own.
  void copy_rows(Block& block, T* copy) const {
    kernels_.transpose(block.depth, block.end - block.begin, block.a, a_.column_stride, copy,
                       row_stride_);
    block.a = copy;
  }

  void multiply_panel(const Block& block, const PanelLayout& layout, Index panel, Index first,
                      const T* b) const {
    const Index column = first + layout.first_column(panel);
    GemmTileArguments<T> tile{};
    tile.depth = block.depth;
    tile.a_rows = a_rows_;
    tile.a_cols = a_cols_.get();
    tile.b = b;
    tile.c_rows = c_rows_;
    tile.columns = layout.used(panel);
    tile.accumulate = block.k > 0;
    if (block.k + block.depth == size_.k) set_epilogue(tile, epilogue_, column);
    for (Index row = block.begin; row < block.end; row += kernels_.rows) {
      const Index rows = std::min<Index>(kernels_.rows, block.end - row);
      tile.a = block.a + (row - block.begin) * row_stride_;
      tile.c = c_ + row * size_.n + column;
      kernels_.tile[layout.vectors(panel) - 1][rows - 1](tile);
    }
  }

  GemmSize size_;
  MatrixView<T> a_, b_;
  T* c_;
  Epilogue<T> epilogue_;
  const GemmKernels<T>& kernels_;
  bool copies_rows_;
  Index row_stride_;  // of A as the micro-kernel reads it
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
