// Loops around the micro-kernel, after Goto and van de Geijn (2008). A task owns a block of C: for
// one block of the depth after the other it packs its panels of B into its worker's scratch, which
// stays in L2, and multiplies all its rows by them. A is read in place if its rows are contiguous,
// otherwise it is transposed first, one group of rows at a time.
//
// Each element of C is one sum in the order of the depth blocks, wherever the blocks of C are cut:
// so the cut may follow the number of workers, and results are the same bits for any of them.
//
// Bound by arithmetic once m, n and k pass about 100: bench_gemm reports the share of the peak.
#include "gemm/gemm.h"

#include <algorithm>

#include "gemm/panels.h"
#include "runtime/buffer.h"
#include "runtime/integers.h"
#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {
namespace {

// Measured on Zen 3 with csrc/benchmarks/bench_gemm, 2026-11: other values within a factor of two
// of these lose 0 to 5 %.
constexpr Index kPanelBytes = 24 << 10;         // a panel of one depth block: most of L1
constexpr Index kRowBlock = 48;                 // a multiple of every tile height: 8 of 6, 6 of 8
constexpr Index kPanelsPerTask = 4;             // reuses a block of A from L2 four times
constexpr Index kTasksPerWorker = 4;            // evens out workers that the system slows down
constexpr Index kCopiedBytes = Index{8} << 20;  // rows of A transposed at once
constexpr Index kRowStrip = 8;                  // rows of B packed together
constexpr Index kStrip = 64;                    // of them, or of B, transposed together

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
        layout_(kernels<T>(), size.n) {
    tile_columns_ = static_cast<Index>(kernels<T>().lanes) * kernels_.vectors;
    depth_block_ = std::max<Index>(
        1, std::min(size.k, kPanelBytes / (tile_columns_ * static_cast<Index>(sizeof(T)))));
    a_cols_ = Buffer<std::int32_t>(depth_block_);
    for (Index k = 0; k < depth_block_; ++k) a_cols_[k] = static_cast<std::int32_t>(k);
    // A line more than k: rows a power of two apart would compete for the same cache sets.
    row_stride_ = a.column_stride == 1 ? a.row_stride : round_up(size.k, kLine) + kLine;
    for (Index m = 0; m < kernels_.rows; ++m) {
      a_rows_[m] = static_cast<std::int32_t>(m * row_stride_);
      c_rows_[m] = static_cast<std::int32_t>(m * size.n);
    }
  }

  void run() const {
    if (a_.column_stride == 1) {
      multiply_rows(0, size_.m, a_.data);
      return;
    }
    const Index row_bytes = row_stride_ * static_cast<Index>(sizeof(T));
    const Index rows =
        std::min(std::max<Index>(1, kCopiedBytes / row_bytes / kRowBlock) * kRowBlock, size_.m);
    const Buffer<T> copy(rows * row_stride_);
    for (Index begin = 0; begin < size_.m; begin += rows) {
      const Index end = std::min(begin + rows, size_.m);
      copy_rows(begin, end, copy.get());
      multiply_rows(begin, end, copy.get());
    }
  }

 private:
  static constexpr Index kLine = kAlignment / static_cast<Index>(sizeof(T));

  // How many rows of A and panels of B one task multiplies.
  struct Cut {
    Index rows, panels;
  };
  // A task's place: rows of A, panels of B, and the part of the depth it has come to.
  struct Block {
    Index row_begin, row_end, panel_begin, panel_end, k, depth;
  };

  // Makes rows [begin, end) of A row-major. Read in place, every k would stand on a page of its
  // own.
  void copy_rows(Index begin, Index end, T* copy) const {
    parallel_blocks(end - begin, kStrip, (end - begin) * size_.k, [&](Index i, Index j, int) {
      kernels_.transpose(size_.k, j - i, a_.data + (begin + i) * a_.row_stride, a_.column_stride,
                         copy + i * row_stride_, row_stride_);
    });
  }

  // Packing is repeated for every block of rows, so rows are only cut where panels are too few.
  Cut cut(Index rows, int workers) const {
    if (workers == 1) return {rows, kPanelsPerTask};
    const Index wanted = kTasksPerWorker * workers;
    const Index panels = std::clamp<Index>(layout_.panels() / wanted, 1, kPanelsPerTask);
    const Index row_groups = ceil_divide(wanted, ceil_divide(layout_.panels(), panels));
    return {round_up(ceil_divide(rows, row_groups), kRowBlock), panels};
  }

  // a: A's row `begin`, rows row_stride_ apart.
  void multiply_rows(Index begin, Index end, const T* a) const {
    const Index work = multiply_add_work((end - begin) * size_.n * size_.k);
    const Index most_tasks = ceil_divide(end - begin, kRowBlock) * layout_.panels();
    const Workers workers{worker_count(most_tasks, work)};
    const Cut each = cut(end - begin, workers.count);
    const Index row_groups = ceil_divide(end - begin, each.rows);
    const Index tasks = row_groups * ceil_divide(layout_.panels(), each.panels);
    const WorkerScratch<T> packed(workers.count, each.panels * tile_columns_ * depth_block_);
    parallel_for(tasks, workers, [&](Index task, int worker) {
      const Index row = begin + task % row_groups * each.rows;
      const Index panel = task / row_groups * each.panels;
      const Block block{row,   std::min(row + each.rows, end),
                        panel, std::min(panel + each.panels, layout_.panels()),
                        0,     0};
      multiply_block(block, a + (row - begin) * row_stride_, packed.of(worker));
    });
  }

  void multiply_block(Block block, const T* a, T* packed) const {
    do {
      block.depth = std::min(depth_block_, size_.k - block.k);
      pack_panels(block, packed);
      for (Index row = block.row_begin; row < block.row_end; row += kRowBlock) {
        const Index row_end = std::min(row + kRowBlock, block.row_end);
        const T* rows = a + (row - block.row_begin) * row_stride_ + block.k;
        const T* b = packed;
        for (Index panel = block.panel_begin; panel < block.panel_end; ++panel) {
          multiply_panel(block, row, row_end, rows, panel, b);
          b += layout_.width(panel) * block.depth;
        }
      }
      block.k += block.depth;
    } while (block.k < size_.k);
  }

  // Strip by strip across the panels, so that rows of B are read in long runs.
  void pack_panels(const Block& block, T* packed) const {
    const Index strip = b_.column_stride == 1 ? kRowStrip : kStrip;
    for (Index k = 0; k < block.depth; k += strip) {
      T* to = packed;
      for (Index panel = block.panel_begin; panel < block.panel_end; ++panel) {
        const Index width = layout_.width(panel);
        pack_strip(panel, block.k + k, std::min(strip, block.depth - k), to + k * width);
        to += width * block.depth;
      }
    }
  }

  // Rows [k, k + depth) of one panel.
  void pack_strip(Index panel, Index k, Index depth, T* to) const {
    const Index width = layout_.width(panel), used = layout_.used(panel);
    const T* from = b_.data + k * b_.row_stride + layout_.first_column(panel) * b_.column_stride;
    if (b_.column_stride == 1) {
      kernels_.pack(depth, used, width, from, b_.row_stride, to);
      return;
    }
    kernels_.transpose(used, depth, from, b_.column_stride, to, width);
    for (Index i = 0; used < width && i < depth; ++i) {
      std::fill_n(to + i * width + used, width - used, T(0));
    }
  }

  // a: row `begin` from block.k on; b: the packed panel of this part of the depth.
  void multiply_panel(const Block& block, Index begin, Index end, const T* a, Index panel,
                      const T* b) const {
    const Index column = layout_.first_column(panel);
    GemmTileArguments<T> tile{};
    tile.depth = block.depth;
    tile.a_rows = a_rows_;
    tile.a_cols = a_cols_.get();
    tile.b = b;
    tile.c_rows = c_rows_;
    tile.columns = layout_.used(panel);
    tile.accumulate = block.k > 0;
    if (block.k + block.depth == size_.k) set_epilogue(tile, epilogue_, column);
    for (Index row = begin; row < end; row += kernels_.rows) {
      const Index rows = std::min<Index>(kernels_.rows, end - row);
      tile.a = a + (row - begin) * row_stride_;
      tile.c = c_ + row * size_.n + column;
      kernels_.tile[layout_.vectors(panel) - 1][rows - 1](tile);
    }
  }

  GemmSize size_;
  MatrixView<T> a_, b_;
  T* c_;
  Epilogue<T> epilogue_;
  const GemmKernels<T>& kernels_;
  PanelLayout layout_;
  Index row_stride_;  // of A as the micro-kernel reads it
  Index tile_columns_, depth_block_;
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
