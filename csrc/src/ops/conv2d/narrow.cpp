// narrow_forward and narrow_backward_input: one driver over a TapLattice of step 1.
//
// A task computes a block of result rows of one image and group. Chunk by chunk of source rows, one
// matrix product gives what every tap of every result channel makes of every source pixel:
// [result channel, tap][pixel], with weights and pixels as they lie in memory. A result row then is
// the sum of rows of these products, each shifted by its tap (kernels/table.h,
// ShiftedSumArguments); a row whose taps meet several chunks grows in the result itself.
//
// Bound by arithmetic for many source channels, by the products' stores and loads for few.
#include "ops/conv2d/narrow.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "gemm/panels.h"
#include "ops/conv2d/epilogue.h"
#include "ops/conv2d/tap_lattice.h"
#include "runtime/buffer.h"
#include "runtime/integers.h"
#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {
namespace {

// Source channels x lanes for each channel of the result that repay the additions. With AVX-512 and
// 3 channels the general method takes 1.5 times as long for 4 results, 0.93 for 8; with AVX2 0.9
// for 4. For 32 channels and half of a vector of results it takes 1.7 and 1.9 (Zen 5, 2026-11).
constexpr Index kFewestTerms = 12;
constexpr Index kProductBytes = 256 << 10;       // of a chunk: they and the source share L2
constexpr Index kPackedBytes = 24 << 10;         // of source pixels that stay in L1 for all weights
constexpr Index kMostRowBytes = Index{4} << 20;  // of the products of one source row
constexpr Index kWantedTasks = 16;
constexpr Index kFewestRows = 4;

// From one result channel, and from one source channel of a group, to the next.
struct WeightStrides {
  Index result, source;
};

template <class T>
class NarrowConvolution {
 public:
  NarrowConvolution(const TapLattice& lattice, HW kernel, WeightStrides weight)
      : lattice_(lattice),
        table_(kernels<T>()),
        kernel_(kernel),
        products_(lattice.result_channels() * kernel.h * kernel.w),
        a_rows_(products_),
        c_rows_(products_),
        a_cols_(lattice.source_channels()) {
    choose_rows();
    for (Index row = 0; row < lattice_.result.h; row += rows_) {
      add_block(row, std::min(row + rows_, lattice_.result.h));
    }
    const Index taps = kernel.h * kernel.w;
    for (Index m = 0; m < products_; ++m) {
      a_rows_[m] = static_cast<std::int32_t>(m / taps * weight.result + m % taps);
      c_rows_[m] = static_cast<std::int32_t>(m * stride_);
    }
    for (Index k = 0; k < lattice_.source_channels(); ++k) {
      a_cols_[k] = static_cast<std::int32_t>(k * weight.source);
    }
  }

  // weight: groups x weight_group. The scale is in the weights already.
  void run(const T* source, const T* weight, Index weight_group, const Conv2dEpilogue<T>& epilogue,
           T* result) const {
    const Index images = lattice_.result.n * lattice_.groups;
    const Index blocks = static_cast<Index>(blocks_.size()), tasks = images * blocks;
    const Index multiply_adds =
        images * lattice_.source.pixels() * products_ * lattice_.source_channels();
    const Workers workers{
        worker_count(tasks, lattice_.result.size() * kernel_.h + multiply_add_work(multiply_adds))};
    const WorkerScratch<T> packed(workers.count, packed_depth() * widest_panel());
    const WorkerScratch<T> products(workers.count, products_ * stride_ + 2 * room_);
    parallel_for(tasks, workers, [&](Index task, int worker) {
      const Index image = task / blocks, group = image % lattice_.groups;
      const Index channels = lattice_.result_channels();
      const T* from = source + image * lattice_.source_channels() * lattice_.source.pixels();
      const Index at = image * channels * lattice_.result.pixels();
      const auto behind = [](const T* values, Index offset) {
        return values == nullptr ? nullptr : values + offset;
      };
      const Job job{behind(epilogue.bias.data, group * channels),
                    behind(epilogue.residual.data, at), epilogue.activation, result + at};
      T* sums = products.of(worker) + room_;
      for (const Chunk& chunk : blocks_[static_cast<std::size_t>(task % blocks)]) {
        multiply(chunk, from, weight + group * weight_group, packed.of(worker), sums);
        for (const RowSum& rows : chunk.sums) add_up(rows, sums, job);
      }
    });
  }

 private:
  // Of one image and group.
  struct Job {
    const T* bias;
    const T* residual;
    Activation activation;
    T* result;
  };
  // Result rows, one spacing apart, that add the same taps of a chunk.
  struct RowSum {
    std::size_t phase;  // the first of those that share these rows
    Index row, rows;    // of the phase
    Index tap_begin, tap_end;
    bool is_first, is_last;        // whether other chunks come before or behind
    std::vector<ShiftedTap> taps;  // of all phases of columns
    std::vector<ShiftedTaps> columns;

    bool continues(const RowSum& other) const {
      return phase == other.phase && row == other.row + other.rows &&
             tap_begin == other.tap_begin && tap_end == other.tap_end &&
             is_first == other.is_first && is_last == other.is_last;
    }
  };
  struct Chunk {
    Index source_row, source_rows;
    std::vector<RowSum> sums;
  };

  Index widest_panel() const { return Index{table_.lanes} * table_.gemm.vectors; }
  Index packed_depth() const {
    const Index row_bytes = widest_panel() * static_cast<Index>(sizeof(T));
    return std::min(lattice_.source_channels(), kPackedBytes / row_bytes);
  }

  void choose_rows() {
    const Nchw& source = lattice_.source;
    const Index images = lattice_.result.n * lattice_.groups;
    const Index wanted = ceil_divide(kWantedTasks, images);
    rows_ = std::max(ceil_divide(lattice_.result.h, wanted), kFewestRows);
    rows_ = std::min(round_up(rows_, lattice_.spacing.h), lattice_.result.h);
    const Index row_bytes = products_ * source.w * static_cast<Index>(sizeof(T));
    chunk_rows_ = std::clamp<Index>(kProductBytes / row_bytes, 1, source.h);
    const Index line = 64 / static_cast<Index>(sizeof(T));
    stride_ = round_up(chunk_rows_ * source.w, line);
    if (stride_ * static_cast<Index>(sizeof(T)) % 1024 == 0) stride_ += line;
    room_ = round_up(std::max(source.w, lattice_.result.w) + table_.lanes, line);
  }

  std::size_t column_phases() const {
    return static_cast<std::size_t>(std::min(lattice_.spacing.w, lattice_.result.w));
  }

  void add_block(Index row_begin, Index row_end) {
    const Extent extent = lattice_.extent(row_begin, row_end);
    const EvenParts parts(extent.rows(),
                          std::max<Index>(ceil_divide(extent.rows(), chunk_rows_), 1));
    std::vector<Chunk>& chunks = blocks_.emplace_back();
    for (Index part = 0; part < parts.count(); ++part) {
      Chunk& chunk = chunks.emplace_back();
      chunk.source_row = extent.row_begin + parts.first(part);
      chunk.source_rows = parts.size(part);
      for (std::size_t p = 0; p < lattice_.phases.size(); p += column_phases()) {
        for (const RowRun& run : lattice_.runs(lattice_.phases[p], row_begin, row_end)) {
          add_rows(chunk, p, run, part == 0);
        }
      }
      for (RowSum& rows : chunk.sums) list_taps(chunk, rows);
    }
  }

  // Notes the rows of a run that meet the chunk, or no row at all.
  void add_rows(Chunk& chunk, std::size_t phase, const RowRun& run, bool is_first_chunk) const {
    const std::vector<AxisTap>& taps = lattice_.phases[phase].rows.taps;
    const Index chunk_end = chunk.source_row + chunk.source_rows;
    const auto position = [&](Index tap) { return taps.begin() + tap; };
    for (Index row = run.row_begin; row < run.row_end; ++row) {
      const auto inside = [&](const AxisTap& tap) {
        return row + tap.offset >= chunk.source_row && row + tap.offset < chunk_end;
      };
      const auto first = std::find_if(position(run.tap_begin), position(run.tap_end), inside);
      const auto last = std::find_if_not(first, position(run.tap_end), inside);
      RowSum sum{phase, row, 1, first - taps.begin(), last - taps.begin(), true, true, {}, {}};
      for (auto tap = position(run.tap_begin); tap != position(run.tap_end); ++tap) {
        sum.is_first = sum.is_first && row + tap->offset >= chunk.source_row;
        sum.is_last = sum.is_last && row + tap->offset < chunk_end;
      }
      const bool has_no_taps = run.tap_begin == run.tap_end;
      if (has_no_taps ? !is_first_chunk : first == last) continue;
      if (!chunk.sums.empty() && sum.continues(chunk.sums.back())) {
        ++chunk.sums.back().rows;
      } else {
        chunk.sums.push_back(std::move(sum));
      }
    }
  }

  // In the order of their source rows, in which chunks follow each other: where chunks begin does
  // not change a sum.
  void list_taps(const Chunk& chunk, RowSum& rows) const {
    const std::vector<AxisTap>& all = lattice_.phases[rows.phase].rows.taps;
    std::vector<AxisTap> row_taps(all.begin() + rows.tap_begin, all.begin() + rows.tap_end);
    std::sort(row_taps.begin(), row_taps.end(),
              [](const AxisTap& a, const AxisTap& b) { return a.offset < b.offset; });
    for (std::size_t p = 0; p < column_phases(); ++p) {
      const AxisPhase& columns = lattice_.phases[rows.phase + p].columns;
      ShiftedTaps of_phase{0, nullptr, 0, columns.count};
      for (const AxisTap& row : row_taps) {
        const Index source_row = rows.row + row.offset - chunk.source_row;
        for (const AxisTap& column : columns.taps) {
          const Index begin = std::max<Index>(0, -column.offset);
          const Index end = std::min(columns.count, lattice_.source.w - column.offset);
          if (begin >= end) continue;
          const Index product = row.kernel * kernel_.w + column.kernel;
          rows.taps.push_back(
              {product * stride_ + source_row * lattice_.source.w + column.offset, begin, end});
          of_phase.begin = std::max(of_phase.begin, begin);
          of_phase.end = std::min(of_phase.end, end);
          ++of_phase.count;
        }
      }
      rows.columns.push_back(of_phase);
    }
    const ShiftedTap* taps = rows.taps.data();
    for (ShiftedTaps& of_phase : rows.columns) {
      of_phase.taps = taps;
      taps += of_phase.count;
    }
  }

  // products[result channel, tap][pixel of the chunk].
  void multiply(const Chunk& chunk, const T* source, const T* weight, T* packed,
                T* products) const {
    const Index plane = lattice_.source.pixels(), depth = lattice_.source_channels();
    const PanelLayout panels(table_, chunk.source_rows * lattice_.source.w);
    const EvenParts parts(depth, ceil_divide(depth, packed_depth()));
    const T* rows = source + chunk.source_row * lattice_.source.w;
    for (Index panel = 0; panel < panels.panels(); ++panel) {
      for (Index part = 0; part < parts.count(); ++part) {
        const Index k = parts.first(part), width = panels.width(panel);
        table_.gemm.pack(parts.size(part), panels.used(panel), width,
                         rows + k * plane + panels.first_column(panel), plane, packed);
        GemmTileArguments<T> tile{};
        tile.depth = parts.size(part);
        tile.a = weight;
        tile.a_cols = a_cols_.get() + k;
        tile.b = packed;
        tile.c = products + panels.first_column(panel);
        tile.columns = width;
        tile.accumulate = part > 0;
        multiply_panel(tile, panels.vectors(panel));
      }
    }
  }

  void multiply_panel(GemmTileArguments<T>& tile, Index vectors) const {
    const auto& tile_of_height = table_.gemm.tile[vectors - 1];
    const EvenParts tiles(products_, ceil_divide(products_, table_.gemm.rows));
    for (Index i = 0; i < tiles.count(); ++i) {
      tile.a_rows = a_rows_.get() + tiles.first(i);
      tile.c_rows = c_rows_.get() + tiles.first(i);
      tile_of_height[tiles.size(i) - 1](tile);
    }
  }

  void add_up(const RowSum& rows, const T* products, const Job& job) const {
    const Phase& phase = lattice_.phases[rows.phase];
    ShiftedSumArguments<T> sum{};
    set_clamp(sum, job.activation);
    sum.source_stride = lattice_.source.w;
    sum.taps = rows.columns.data();
    sum.phases = static_cast<Index>(rows.columns.size());
    sum.rows = rows.rows;
    sum.columns = lattice_.result.w;
    sum.result_stride = lattice_.spacing.h * lattice_.result.w;
    sum.clamp = sum.clamp && rows.is_last;
    sum.accumulate = !rows.is_first;
    const auto& kernels = table_.shifted_sum;
    const auto add = sum.phases == 1   ? kernels.one_phase
                     : sum.phases == 2 ? kernels.two_phases
                                       : kernels.any_phases;
    const Index first_row = phase.rows.first + rows.row * lattice_.spacing.h;
    for (Index channel = 0; channel < lattice_.result_channels(); ++channel) {
      sum.source = products + channel * kernel_.h * kernel_.w * stride_;
      const Index at = channel * lattice_.result.pixels() + first_row * lattice_.result.w;
      sum.bias = job.bias != nullptr && rows.is_first ? job.bias[channel] : T(0);
      sum.residual = job.residual != nullptr && rows.is_last ? job.residual + at : nullptr;
      sum.result = job.result + at;
      add(sum);
    }
  }

  TapLattice lattice_;
  const KernelTable<T>& table_;
  HW kernel_;
  Index products_;  // result channels x taps
  Buffer<std::int32_t> a_rows_, c_rows_, a_cols_;
  Index rows_ = 1;        // result rows of a block
  Index chunk_rows_ = 1;  // source rows, at most
  Index stride_ = 0;      // from one product's pixels to the next's
  Index room_ = 0;        // before and behind the products, see ShiftedSumArguments
  std::vector<std::vector<Chunk>> blocks_;
};

}  // namespace

template <class T>
const char* narrow_declines(const Conv2dShape& shape, Pass pass) {
  if (pass == Pass::backward_weight) return "a sum over pixels has no pixels as lanes";
  if (shape.input.pixels() == 0) return "the images have no pixels";
  const bool forward = pass == Pass::forward;
  const Index source = forward ? shape.group_in() : shape.group_out();
  const Index result = forward ? shape.group_out() : shape.group_in();
  if (forward && (shape.stride.h != 1 || shape.stride.w != 1)) return "the stride is not 1";
  if (2 * result > kernels<T>().lanes) {
    return "the channels of the result fill more than half of a vector";
  }
  if (source * kernels<T>().lanes < kFewestTerms * result) {
    return "with so few channels the products cost more to add up than to make";
  }
  const Index width = forward ? shape.input.w : shape.output.w;
  if (result * shape.taps() * width * static_cast<Index>(sizeof(T)) > kMostRowBytes ||
      shape.weight_size() > std::numeric_limits<std::int32_t>::max()) {
    return "the products of a row outgrow the cache";
  }
  return nullptr;
}

template <class T>
void narrow_forward(const Conv2dShape& shape, const T* input, const T* weight,
                    const Conv2dEpilogue<T>& epilogue, T* output) {
  if (shape.result().size() == 0) return;
  const Index filter = shape.group_in() * shape.taps();
  const ScaledFilters<T> filters(kernels<T>(), weight, filter, epilogue.scale.data);
  const Buffer<T> scaled(filters.scratch_size(shape.weight_size()));
  const T* const ready = filters.rows(0, shape.out_channels, 0, filter, scaled.get()).data;
  NarrowConvolution<T>(TapLattice::forward(shape), shape.kernel, {filter, shape.taps()})
      .run(input, ready, shape.group_out() * filter, epilogue, output);
}

template <class T>
void narrow_backward_input(const Conv2dShape& shape, const T* grad_output, const T* weight,
                           T* grad_input) {
  if (shape.input.size() == 0) return;
  const Index filter = shape.group_in() * shape.taps();
  NarrowConvolution<T>(TapLattice::backward_input(shape), shape.kernel, {shape.taps(), filter})
      .run(grad_output, weight, shape.group_out() * filter, {}, grad_input);
}

#define CONVOLITE_INSTANTIATE(T)                                                                 \
  template const char* narrow_declines<T>(const Conv2dShape&, Pass);                             \
  template void narrow_forward(const Conv2dShape&, const T*, const T*, const Conv2dEpilogue<T>&, \
                               T*);                                                              \
  template void narrow_backward_input(const Conv2dShape&, const T*, const T*, T*);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
