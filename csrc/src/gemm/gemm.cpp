// Loops around the micro-kernel, after Goto and van de Geijn (2008). A task owns a block of C: for
// one block of the depth after the other it packs its panels of B into its worker's scratch, which
// stays in L2, and multiplies all its rows by them. A is read in place if its rows are contiguous,
// otherwise a part of its rows and depth is transposed first.
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
constexpr Index kTasksPerWorker = 4;            // even out workers that the system slows down
constexpr Index kCopiedBytes = Index{8} << 20;  // of A transposed at once
constexpr Index kRowStrip = 8;                  // rows of B packed together
constexpr Index kStrip = 64;                    // rows and columns transposed together

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
    choose_copy();
    for (Index m = 0; m < kernels_.rows; ++m) {
      a_rows_[m] = static_cast<std::int32_t>(m * row_stride_);
      c_rows_[m] = static_cast<std::int32_t>(m * size.n);
    }
  }

  void run() const {
    if (a_.column_stride == 1) {
      multiply({0, size_.m, 0, size_.k}, a_.data);
      return;
    }
    const Buffer<T> copy(copied_rows_ * row_stride_);
    for (Index row = 0; row < size_.m; row += copied_rows_) {
      Part part{row, std::min(row + copied_rows_, size_.m), 0, 0};
      do {
        part.k_end = std::min(part.k_begin + copied_depth_, size_.k);
        copy_part(part, copy.get());
        multiply(part, copy.get());
        part.k_begin = part.k_end;
      } while (part.k_begin < size_.k);
    }
  }

 private:
  // Rows and depth of A that are multiplied together.
  struct Part {
    Index row_begin, row_end, k_begin, k_end;
  };
  // How many rows of A and panels of B one task multiplies.
  struct Cut {
    Index rows, panels;
  };
  // A task's place: rows of A, panels of B, and the part of the depth it has come to.
  struct Block {
    Index row_begin, row_end, panel_begin, panel_end, k, depth;
  };

  void choose_copy() {
    row_stride_ = a_.row_stride;
    if (a_.column_stride == 1) return;
    constexpr Index line = kAlignment / static_cast<Index>(sizeof(T));
    constexpr Index copied = kCopiedBytes / static_cast<Index>(sizeof(T));
    copied_rows_ = std::min(size_.m, copied / depth_block_ / kRowBlock * kRowBlock);
    copied_depth_ = std::max<Index>(1, copied / copied_rows_ / depth_block_) * depth_block_;
    copied_depth_ = std::min(copied_depth_, std::max<Index>(1, size_.k));
    // A line more: rows a power of two apart would compete for the same cache sets.
    row_stride_ = round_up(copied_depth_, line) + line;
  }

  // Makes a part of A row-major. Read in place, every k would stand on a page of its own.
  void copy_part(const Part& part, T* copy) const {
    const Index rows = part.row_end - part.row_begin, depth = part.k_end - part.k_begin;
    const Index strips = ceil_divide(rows, kStrip);
    parallel_for(strips * ceil_divide(depth, kStrip), rows * depth, [&](Index task, int) {
      const Index row = task % strips * kStrip, k = task / strips * kStrip;
      const T* from =
          a_.data + (part.row_begin + row) * a_.row_stride + (part.k_begin + k) * a_.column_stride;
      kernels_.transpose(std::min(kStrip, depth - k), std::min(kStrip, rows - row), from,
                         a_.column_stride, copy + row * row_stride_ + k, row_stride_);
    });
  }

  // Packing is repeated for every block of rows, and A is read once for every block of panels: so
  // tasks keep two panels while that feeds all workers, and rows are cut last.
  Cut cut(Index rows, int workers) const {
    if (workers == 1) return {rows, kPanelsPerTask};
    const Index wanted = kTasksPerWorker * workers;
    Index panels = std::clamp<Index>(layout_.panels() / wanted, 1, kPanelsPerTask);
    if (layout_.panels() >= 2 * workers) panels = std::max<Index>(panels, 2);
    const Index panel_blocks = ceil_divide(layout_.panels(), panels);
    if (panel_blocks >= workers) return {rows, panels};
    return {round_up(ceil_divide(rows, ceil_divide(wanted, panel_blocks)), kRowBlock), panels};
  }

  // a: the first element of the part, rows row_stride_ apart.
  void multiply(const Part& part, const T* a) const {
    const Index rows = part.row_end - part.row_begin, depth = part.k_end - part.k_begin;
    const Index most_tasks = ceil_divide(rows, kRowBlock) * layout_.panels();
    const Workers workers{worker_count(most_tasks, multiply_add_work(rows * size_.n * depth))};
    const Cut each = cut(rows, workers.count);
    const Index row_blocks = ceil_divide(rows, each.rows);
    const Index tasks = row_blocks * ceil_divide(layout_.panels(), each.panels);
    const WorkerScratch<T> packed(workers.count, each.panels * tile_columns_ * depth_block_);
    parallel_for(tasks, workers, [&](Index task, int worker) {
      const Index row = task % row_blocks * each.rows, panel = task / row_blocks * each.panels;
      const Block block{part.row_begin + row,
                        std::min(part.row_begin + row + each.rows, part.row_end),
                        panel,
                        std::min(panel + each.panels, layout_.panels()),
                        part.k_begin,
                        0};
      multiply_block(block, part.k_end, a + row * row_stride_, packed.of(worker));
    });
  }

  // a: the block's first row from block.k on.
  void multiply_block(Block block, Index k_end, const T* a, T* packed) const {
    do {
      block.depth = std::min(depth_block_, k_end - block.k);
      pack_panels(block, packed);
      for (Index row = block.row_begin; row < block.row_end; row += kRowBlock) {
        const Index row_end = std::min(row + kRowBlock, block.row_end);
        const T* rows = a + (row - block.row_begin) * row_stride_;
        const T* b = packed;
        for (Index panel = block.panel_begin; panel < block.panel_end; ++panel) {
          multiply_panel(block, row, row_end, rows, panel, b);
          b += layout_.width(panel) * block.depth;
        }
      }
      block.k += block.depth;
      a += block.depth;
    } while (block.k < k_end);
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
  Index copied_rows_ = 0, copied_depth_ = 0;  // of A, when it is transposed
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
