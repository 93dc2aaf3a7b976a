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
#include <cassert>
#include <limits>

#include "gemm/panels.h"
#include "gemm/thin.h"
#include "runtime/buffer.h"
#include "runtime/integers.h"
#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {
namespace {

// Measured on Zen 3 with csrc/benchmarks/bench_gemm, 2026-11: other values within a factor of two
// of these lose 0 to 5 %. On Zen 5 (AVX-512) panels of 40 KB gain 3 to 5 % at 1024x1024x1024 and
// nothing elsewhere. There a product of 256x256x256 by two threads, cut by whole panels, reached
// 82 % of the peak, and cut by vectors 91 %.
constexpr Index kPanelBytes = 24 << 10;         // a panel of one depth block: most of L1
constexpr Index kRowBlock = 48;                 // a multiple of every tile height: 8 of 6, 6 of 8
constexpr Index kPackedBytes = 96 << 10;        // panels of one task: they reuse a block of A
constexpr Index kFewestRows = 64;               // where rows are cut: each part packs B again
constexpr Index kTasksPerWorker = 4;            // where rows are cut, or there are many products
constexpr Index kFewestVectors = 2;             // of columns in a task: one leaves a tile idle
constexpr Index kPackedRows = 6;                // of A that cost as much as packing B once more
constexpr Index kCopiedBytes = Index{8} << 20;  // of A transposed at once
constexpr Index kRowStrip = 8;                  // rows of B packed together
constexpr Index kStrip = 64;                    // rows and columns of A transposed together

template <class T>
class Gemm {
 public:
  // products: how many of C; terms: how many A B make up each of them. One of both is 1.
  Gemm(const GemmSize& size, Index products, Index terms, const GemmImages& images, MatrixView<T> a,
       MatrixView<T> b, T* c, const Epilogue<T>& epilogue)
      : size_(size),
        products_(products),
        terms_(terms),
        images_(images),
        a_(a),
        b_(b),
        c_(c),
        c_row_stride_(images.c_row_stride == 0 ? size.n : images.c_row_stride),
        epilogue_(epilogue),
        table_(kernels<T>()),
        kernels_(table_.gemm),
        vectors_(ceil_divide(size.n, static_cast<Index>(table_.lanes))) {
    tile_columns_ = static_cast<Index>(table_.lanes) * kernels_.vectors;
    choose_depth();
    choose_copy();
    for (Index m = 0; m < kernels_.rows; ++m) {
      a_rows_[m] = static_cast<std::int32_t>(m * row_stride_);
      c_rows_[m] = static_cast<std::int32_t>(m * c_row_stride_);
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
  // Where C is cut into tasks: every `rows` rows, and before each of first_vector[0 ..
  // column_blocks]. Columns are counted in vectors.
  struct Cut {
    Index rows, column_blocks, most_vectors;
    Buffer<Index> first_vector;
  };
  // A task's place in one product: rows of A and columns of B, those in panels of their own.
  struct Block {
    Index product, row_begin, row_end, first_column;
    PanelLayout layout;
  };
  // Where a task has come to along the depth: `depth` steps from k on of each of `terms` terms.
  struct Depth {
    Index term, terms, k, depth;
    bool first, last;

    Index steps() const { return terms * depth; }
  };

  // Even blocks of the depth, or several terms in one block where they are short.
  void choose_depth() {
    const Index most = kPanelBytes / (tile_columns_ * static_cast<Index>(sizeof(T)));
    const Index k = std::max<Index>(1, size_.k);
    depth_block_ = ceil_divide(k, ceil_divide(k, most));
    if (terms_ > 1 && depth_block_ == k) {
      const Index reach = std::numeric_limits<std::int32_t>::max() / (images_.a_stride + 1);
      terms_block_ = std::clamp<Index>(most / k, 1, std::min(terms_, std::max<Index>(1, reach)));
    }
    a_cols_ = Buffer<std::int32_t>(depth_block_ * terms_block_);
    std::int32_t* column = a_cols_.get();
    for (Index term = 0; term < terms_block_; ++term) {
      for (Index i = 0; i < depth_block_; ++i) {
        *column++ = static_cast<std::int32_t>(term * images_.a_stride + i);
      }
    }
  }

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

  // Guided (Polychronopoulos and Kuck, 1987): a task takes one worker's share of the columns that
  // are left, so that the first read A seldom and the last are small enough for workers that the
  // system slows down to end together. The tasks of many products are all alike. Packing is
  // repeated for every block of rows: rows are cut only where columns cannot be cut evenly.
  Cut cut_into_tasks(Index rows, int workers) const {
    const Index bytes_of_vector =
        table_.lanes * depth_block_ * terms_block_ * static_cast<Index>(sizeof(T));
    const Index most = std::max<Index>(kernels_.vectors, kPackedBytes / bytes_of_vector);
    const bool by_rows = products_ == 1 && rows_cut_better(rows, workers);
    Cut cut{rows, 0, 0, Buffer<Index>(vectors_ + 1)};
    for (Index vector = 0; vector < vectors_; ++cut.column_blocks) {
      const Index left = vectors_ - vector;
      const Index share = products_ == 1 ? left / (by_rows ? 1 : workers)
                                         : vectors_ * products_ / (kTasksPerWorker * workers);
      const Index taken =
          left <= kernels_.vectors ? left : std::min(left, std::clamp(share, kFewestVectors, most));
      cut.first_vector[cut.column_blocks] = vector;
      cut.most_vectors = std::max(cut.most_vectors, taken);
      vector += taken;
    }
    cut.first_vector[cut.column_blocks] = vectors_;
    const Index blocks = cut.column_blocks * products_;
    if (by_rows) {
      cut.rows = round_up(ceil_divide(rows, workers), kernels_.rows);
    } else if (blocks < workers) {
      const Index parts = ceil_divide(workers, blocks);
      const Index most_parts = std::max<Index>(1, rows / (kFewestRows * parts));
      cut.rows =
          round_up(ceil_divide(rows, parts * std::min(kTasksPerWorker, most_parts)), kernels_.rows);
    }
    return cut;
  }

  // Whether an equal number of tiles of rows for each worker, who packs all of B, beats an equal
  // number of vectors of columns.
  bool rows_cut_better(Index rows, int workers) const {
    const auto evenness = [workers](Index parts) {
      return static_cast<double>(parts) /
             static_cast<double>(round_up(std::max<Index>(parts, 1), workers));
    };
    const Index packed = kPackedRows * (workers - 1);
    const double useful = static_cast<double>(rows) / static_cast<double>(rows + packed);
    return evenness(ceil_divide(rows, kernels_.rows)) * useful > evenness(vectors_);
  }

  // a: the first element of the part, rows row_stride_ apart.
  void multiply(const Part& part, const T* a) const {
    const Index rows = part.row_end - part.row_begin, depth = part.k_end - part.k_begin;
    const Index most_tasks = ceil_divide(rows, kRowBlock) * vectors_ * products_;
    const Index work = multiply_add_work(rows * size_.n * depth * products_ * terms_);
    const Workers workers{worker_count(most_tasks, work)};
    const Cut cut = cut_into_tasks(rows, workers.count);
    const Index row_blocks = ceil_divide(rows, cut.rows);
    const WorkerScratch<T> packed(workers.count,
                                  cut.most_vectors * table_.lanes * depth_block_ * terms_block_);
    parallel_for(products_ * cut.column_blocks * row_blocks, workers, [&](Index task, int worker) {
      const Index row = task % row_blocks * cut.rows;
      const Index* vector = cut.first_vector.get() + task / row_blocks % cut.column_blocks;
      const Index column = vector[0] * table_.lanes;
      const Index columns = std::min(vector[1] * table_.lanes, size_.n) - column;
      const Block block{task / row_blocks / cut.column_blocks, part.row_begin + row,
                        std::min(part.row_begin + row + cut.rows, part.row_end), column,
                        PanelLayout(table_, columns)};
      multiply_block(block, part, a + row * row_stride_, packed.of(worker));
    });
  }

  // a: the block's first row from the part's first k on.
  void multiply_block(const Block& block, const Part& part, const T* a, T* packed) const {
    for (Index term = 0; term < terms_; term += terms_block_) {
      const Index terms = std::min(terms_block_, terms_ - term);
      Index k = part.k_begin;
      do {
        const Index k_end = std::min(k + depth_block_, part.k_end);
        const Depth depth{term,
                          terms,
                          k,
                          k_end - k,
                          term == 0 && k == 0,
                          term + terms == terms_ && k_end == size_.k};
        multiply_depth(block, depth, a + term * images_.a_stride + k - part.k_begin, packed);
        k = k_end;
      } while (k < part.k_end);
    }
  }

  // a: the block's first row at this depth.
  void multiply_depth(const Block& block, const Depth& depth, const T* a, T* packed) const {
    pack_panels(block, depth, packed);
    const Index rows = block.row_end - block.row_begin;
    const EvenParts tiles(rows, ceil_divide(rows, kernels_.rows));
    const Index together = kRowBlock / kernels_.rows;
    for (Index tile = 0; tile < tiles.count(); tile += together) {
      const Index end = std::min(tile + together, tiles.count());
      const T* b = packed;
      for (Index panel = 0; panel < block.layout.panels(); ++panel) {
        multiply_panel(block, depth, tiles, tile, end, a, panel, b);
        b += block.layout.width(panel) * depth.steps();
      }
    }
  }

  // Rows of B strip by strip across the panels, columns panel by panel: both are read in long runs
  // then.
  void pack_panels(const Block& block, const Depth& depth, T* packed) const {
    const Index strip = b_.column_stride == 1 ? kRowStrip : depth.depth;
    for (Index term = 0; term < depth.terms; ++term) {
      const T* b = b_.data + (block.product + depth.term + term) * images_.b_stride +
                   block.first_column * b_.column_stride;
      for (Index k = 0; k < depth.depth; k += strip) {
        T* to = packed;
        for (Index panel = 0; panel < block.layout.panels(); ++panel) {
          const Index width = block.layout.width(panel);
          pack_strip(b + (depth.k + k) * b_.row_stride, block.layout, panel,
                     std::min(strip, depth.depth - k), to + (term * depth.depth + k) * width);
          to += width * depth.steps();
        }
      }
    }
  }

  // `depth` rows of one panel, b the first of them in the block's first column.
  void pack_strip(const T* b, const PanelLayout& layout, Index panel, Index depth, T* to) const {
    const Index width = layout.width(panel), used = layout.used(panel);
    const T* from = b + layout.first_column(panel) * b_.column_stride;
    if (b_.column_stride == 1) {
      kernels_.pack(depth, used, width, from, b_.row_stride, to);
      return;
    }
    kernels_.transpose(used, depth, from, b_.column_stride, to, width);
    for (Index i = 0; used < width && i < depth; ++i) {
      std::fill_n(to + i * width + used, width - used, T(0));
    }
  }

  // Tiles [begin, end) of the block's rows. a: the block's first row at this depth; b: the packed
  // panel.
  void multiply_panel(const Block& block, const Depth& depth, const EvenParts& tiles, Index begin,
                      Index end, const T* a, Index panel, const T* b) const {
    const Index column = block.first_column + block.layout.first_column(panel);
    GemmTileArguments<T> tile{};
    tile.depth = depth.steps();
    tile.a_rows = a_rows_;
    tile.a_cols = a_cols_.get();
    tile.b = b;
    tile.c_rows = c_rows_;
    tile.columns = block.layout.used(panel);
    tile.accumulate = !depth.first;
    if (depth.last) set_epilogue(tile, epilogue_, column);
    const auto& kernel_of_height = kernels_.tile[block.layout.vectors(panel) - 1];
    T* const c = c_ + block.product * images_.c_stride + block.row_begin * c_row_stride_ + column;
    for (Index i = begin; i < end; ++i) {
      const Index row = tiles.first(i);
      tile.a = a + row * row_stride_;
      tile.c = c + row * c_row_stride_;
      if (depth.last) set_row_epilogue(tile, block.row_begin + row);
      kernel_of_height[tiles.size(i) - 1](tile);
    }
  }

  // For rows from `row` on; tile.c stands at the first of them.
  void set_row_epilogue(GemmTileArguments<T>& tile, Index row) const {
    if (epilogue_.row_bias != nullptr) tile.row_bias = epilogue_.row_bias + row;
    if (epilogue_.row_scale != nullptr) tile.row_scale = epilogue_.row_scale + row;
    if (epilogue_.residual != nullptr) tile.residual = epilogue_.residual + (tile.c - c_);
  }

  GemmSize size_;
  Index products_, terms_;
  GemmImages images_;
  MatrixView<T> a_, b_;
  T* c_;
  Index c_row_stride_;
  Epilogue<T> epilogue_;
  const KernelTable<T>& table_;
  const GemmKernels<T>& kernels_;
  Index vectors_;     // of columns
  Index row_stride_;  // of A as the micro-kernel reads it
  Index tile_columns_, depth_block_, terms_block_ = 1;
  Index copied_rows_ = 0, copied_depth_ = 0;  // of A, when it is transposed
  Buffer<std::int32_t> a_cols_;
  std::int32_t a_rows_[kMaxTileRows], c_rows_[kMaxTileRows];
};

}  // namespace

template <class T>
void gemm(const GemmSize& size, MatrixView<T> a, MatrixView<T> b, T* c,
          const Epilogue<T>& epilogue) {
  assert(epilogue.row_scale == nullptr && epilogue.residual == nullptr);
  is_thin(size, a, b) ? gemm_thin(size, a, b, c, epilogue) : gemm_each(size, {}, a, b, c, epilogue);
}

template <class T>
void gemm_each(const GemmSize& size, const GemmImages& images, MatrixView<T> a, MatrixView<T> b,
               T* c, const Epilogue<T>& epilogue) {
  if (size.m == 0 || size.n == 0 || images.count == 0) return;
  Gemm<T>(size, images.count, 1, images, a, b, c, epilogue).run();
}

template <class T>
void gemm_sum(const GemmSize& size, const GemmImages& images, MatrixView<T> a, MatrixView<T> b,
              T* c) {
  assert(a.column_stride == 1);
  if (images.count == 0 || size.k == 0) {
    std::fill_n(c, size.m * size.n, T(0));
  } else if (size.m > 0 && size.n > 0) {
    Gemm<T>(size, 1, images.count, images, a, b, c, {}).run();
  }
}

#define CONVOLITE_INSTANTIATE(T)                                                                \
  template void gemm(const GemmSize&, MatrixView<T>, MatrixView<T>, T*, const Epilogue<T>&);    \
  template void gemm_each(const GemmSize&, const GemmImages&, MatrixView<T>, MatrixView<T>, T*, \
                          const Epilogue<T>&);                                                  \
  template void gemm_sum(const GemmSize&, const GemmImages&, MatrixView<T>, MatrixView<T>, T*);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
