// direct_forward and direct_backward_input: one driver over a TapLattice.
//
// A task computes a block of result rows of one image and group. For each panel of result channels
// the micro-kernel writes tiles of [pixel][channel] into scratch, at each pixel's natural place, so
// phases interleave by themselves; then one transposition stores the rows as NCHW. The weights are
// packed once per call, as [phase][panel][tap row][source channel][tap column][channel]: tap rows
// outermost, so that pixels near the upper and lower border skip the rows that only meet padding.
//
// Bound by arithmetic for depths (channels x taps) above about 64, by stores below.
#include "ops/conv2d/direct.h"

#include <algorithm>

#include "gemm/panels.h"
#include "ops/conv2d/epilogue.h"
#include "ops/conv2d/tap_lattice.h"
#include "runtime/buffer.h"
#include "runtime/integers.h"
#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {
namespace {

// Measured on Zen 3 with csrc/benchmarks/bench_conv2d, 2026-11.
constexpr Index kBandBytes = 160 << 10;  // a band and its weights share L2 (512 KB on Zen 3)
constexpr Index kTileBytes = 96 << 10;   // scratch for one panel of a block, written and read once
constexpr Index kImagesTogether = 4;     // times groups: a worker lists a block's pixels once
constexpr Index kWantedTasks = 16;  // blocks are cut smaller for few images, down to kFewestRows
constexpr Index kFewestRows = 4;
// Terms of a sum between two visits of its place: so many weights of a panel, and the pixels that
// they meet, stay in the first cache. In one piece the gradient of the input of stem7 takes 1.15
// times as long.
constexpr Index kDepth = 320;

template <class T>
class DirectConvolution {
 public:
  explicit DirectConvolution(const TapLattice& lattice)
      : lattice_(lattice),
        table_(kernels<T>()),
        panels_(table_, lattice.result_channels()),
        tile_pitch_(static_cast<Index>(table_.lanes) * table_.gemm.vectors) {
    choose_rows();
    choose_band();
    for (const Phase& phase : lattice_.phases) prepare_phase(phase);
  }

  Index packed_group_size() const { return packed_group_size_; }
  Index packed_offset(std::size_t phase, Index panel) const {
    return phases_[phase].packed + panels_.offset(panel, lattice_.depth(lattice_.phases[phase]));
  }
  const KernelTable<T>& table() const { return table_; }
  const PanelLayout& panels() const { return panels_; }
  Index widest_panel() const { return tile_pitch_; }

  // packed: groups x packed_group_size(); bias: groups x padded columns, or null. The epilogue's
  // own bias and scale are in these.
  void run(const T* source, const T* packed, const T* bias, const Conv2dEpilogue<T>& epilogue,
           T* result) {
    const PlaneStore<T> store(table_, epilogue.residual.data, epilogue.activation, result);
    const Index blocks = ceil_divide(lattice_.result.h, rows_);
    const Index images = lattice_.result.n * lattice_.groups, tasks = images * blocks;
    const Workers count{worker_count(tasks, work())};
    std::vector<Worker> workers(static_cast<std::size_t>(count.count));
    for (Worker& worker : workers) allocate(worker);
    parallel_for(tasks, count, [&](Index task, int number) {
      const Task now = task_of(task, images, blocks);
      Worker& worker = workers[static_cast<std::size_t>(number)];
      if (worker.block != now.block) prepare_block(worker, now.block);
      compute(worker, now, source, packed + now.group * packed_group_size_,
              bias == nullptr ? nullptr : bias + now.group * panels_.padded_columns(), store);
    });
  }

 private:
  struct PreparedPhase {
    Buffer<std::int32_t> columns;  // source offset of each (tap row, channel, tap column)
    Index packed;                  // where its weights begin within a group
  };
  // Consecutive pixels of a block that share their taps.
  struct PixelRun {
    std::size_t phase;
    Index pixel_begin, pixel_end;
    Index depth_begin, depth_end;  // of the phase's columns
  };
  struct alignas(kApart) Worker {
    Buffer<T> band, tile;
    Buffer<std::int32_t> a_rows, c_rows;  // source and scratch offset of each pixel
    std::vector<PixelRun> runs;
    Extent extent;
    Index block = -1;
  };
  struct Task {
    Index image, group, block;
  };

  // Blocks go round a few images at a time: a worker lists a block's pixels once for all of them,
  // and has most of its images to itself from one operation to the next.
  Task task_of(Index task, Index images, Index blocks) const {
    const Index first = task / (kImagesTogether * blocks) * kImagesTogether;
    const Index together = std::min(kImagesTogether, images - first), i = task - first * blocks;
    const Index image = first + i % together;
    return {image / lattice_.groups, image % lattice_.groups, i / together};
  }

  Index work() const {
    Index depth = 0;
    for (const Phase& phase : lattice_.phases) depth = std::max(depth, lattice_.depth(phase));
    return lattice_.result.size() + multiply_add_work(lattice_.result.size() * depth);
  }

  void choose_rows() {
    const Nchw& result = lattice_.result;
    Index halo = 0;
    for (const Phase& phase : lattice_.phases) {
      halo = std::max(halo, phase.rows.greatest_offset() - phase.rows.least_offset());
    }
    const Index row_bytes = lattice_.source_channels() * static_cast<Index>(sizeof(T)) *
                            std::max<Index>(lattice_.extent(0, result.h).columns(), 1);
    const Index source_rows = std::max<Index>(kBandBytes / row_bytes - halo, 1);
    Index rows = std::max<Index>(source_rows * lattice_.spacing.h / lattice_.step.h, 1);
    const Index tile_row_bytes = tile_pitch_ * static_cast<Index>(sizeof(T)) * result.w;
    rows = std::min(rows, std::max<Index>(kTileBytes / tile_row_bytes, 1));
    const Index images = std::max<Index>(result.n * lattice_.groups, 1);
    const Index wanted_blocks = ceil_divide(kWantedTasks, images);
    rows = std::min(rows, std::max(ceil_divide(result.h, wanted_blocks), kFewestRows));
    rows = std::min(round_up(rows, lattice_.spacing.h), result.h);
    const Index blocks = ceil_divide(result.h, rows);
    rows_ = ceil_divide(result.h, blocks);  // even shares
  }

  // Reads the source in place when no tap leaves its columns; otherwise every band has one layout.
  void choose_band() {
    in_place_ =
        lattice_.extent(0, lattice_.result.h).inside({lattice_.source.h, lattice_.source.w});
    if (in_place_) {
      pitch_ = lattice_.source.w;
      channel_stride_ = lattice_.source.pixels();
      return;
    }
    Index rows = 0;
    for (Index row = 0; row < lattice_.result.h; row += rows_) {
      const Extent extent = lattice_.extent(row, std::min(row + rows_, lattice_.result.h));
      rows = std::max(rows, extent.rows());
      pitch_ = extent.columns();
    }
    channel_stride_ = band_channel_stride(rows, pitch_, sizeof(T));
  }

  void prepare_phase(const Phase& phase) {
    Buffer<std::int32_t> columns(std::max<Index>(lattice_.depth(phase), 1));
    Index k = 0;
    for (const AxisTap& row : phase.rows.taps) {
      const Index row_offset = (row.offset - phase.rows.least_offset()) * pitch_;
      for (Index c = 0; c < lattice_.source_channels(); ++c) {
        for (const AxisTap& column : phase.columns.taps) {
          columns[k++] = static_cast<std::int32_t>(row_offset + c * channel_stride_ +
                                                   column.offset - phase.columns.least_offset());
        }
      }
    }
    phases_.push_back({std::move(columns), packed_group_size_});
    packed_group_size_ += panels_.padded_columns() * lattice_.depth(phase);
  }

  void allocate(Worker& worker) const {
    const Index pixels = rows_ * lattice_.result.w;
    if (!in_place_) {
      // Only the side columns need zeros, and no load touches them.
      worker.band = worker_buffer<T>(lattice_.source_channels() * channel_stride_);
      clear_band(lattice_.source_channels(), channel_stride_, worker.band.get());
    }
    worker.tile = worker_buffer<T>(pixels * tile_pitch_);
    worker.a_rows = worker_buffer<std::int32_t>(pixels);
    worker.c_rows = worker_buffer<std::int32_t>(pixels);
  }

  // Lists a block's runs and pixels; consecutive tasks of a worker mostly share them.
  void prepare_block(Worker& worker, Index block) const {
    worker.block = block;
    worker.runs.clear();
    const Index row_begin = block * rows_;
    const Index row_end = std::min(row_begin + rows_, lattice_.result.h);
    worker.extent = in_place_ ? Extent{0, lattice_.source.h, 0, lattice_.source.w}
                              : lattice_.extent(row_begin, row_end);
    Index pixel = 0;
    for (std::size_t p = 0; p < lattice_.phases.size(); ++p) {
      const Phase& phase = lattice_.phases[p];
      const Index tap_row =
          lattice_.source_channels() * static_cast<Index>(phase.columns.taps.size());
      for (const RowRun& run : lattice_.runs(phase, row_begin, row_end)) {
        const Index first_pixel = pixel;
        for (Index row = run.row_begin; row < run.row_end; ++row) {
          list_pixels(worker, phase, row, row_begin, pixel);
        }
        worker.runs.push_back(
            {p, first_pixel, pixel, run.tap_begin * tap_row, run.tap_end * tap_row});
      }
    }
  }

  void list_pixels(Worker& worker, const Phase& phase, Index row, Index row_begin,
                   Index& pixel) const {
    const Index source_row =
        row * lattice_.step.h + phase.rows.least_offset() - worker.extent.row_begin;
    const Index first_column = phase.columns.least_offset() - worker.extent.column_begin;
    const Index y = phase.rows.first + row * lattice_.spacing.h - row_begin;
    for (Index column = 0; column < phase.columns.count; ++column, ++pixel) {
      const Index x = phase.columns.first + column * lattice_.spacing.w;
      worker.a_rows[pixel] =
          static_cast<std::int32_t>(source_row * pitch_ + first_column + column * lattice_.step.w);
      worker.c_rows[pixel] = static_cast<std::int32_t>((y * lattice_.result.w + x) * tile_pitch_);
    }
  }

  void compute(Worker& worker, const Task& task, const T* source, const T* packed, const T* bias,
               const PlaneStore<T>& store) const {
    const Index source_channels = lattice_.source_channels();
    const T* image = source + (task.image * lattice_.source.c + task.group * source_channels) *
                                  lattice_.source.pixels();
    if (!in_place_) {
      load_band(image, source_channels, {lattice_.source.h, lattice_.source.w}, worker.extent,
                channel_stride_, worker.band.get());
      image = worker.band.get();
    }
    const Index row_begin = task.block * rows_;
    const Index rows = std::min(rows_, lattice_.result.h - row_begin);
    const Index plane = lattice_.result.pixels();
    const Index channel = task.image * lattice_.result.c + task.group * lattice_.result_channels();
    const Index first = channel * plane + row_begin * lattice_.result.w;
    for (Index panel = 0; panel < panels_.panels(); ++panel) {
      for (const PixelRun& run : worker.runs) {
        sum_up(worker, run, panel, image, packed, {bias, store.activation_before()});
      }
      store.run(rows * lattice_.result.w, panels_.used(panel), worker.tile.get(), tile_pitch_,
                first + panels_.first_column(panel) * plane, plane);
    }
  }

  // Part by part; bias and activation come with the last.
  void sum_up(const Worker& worker, const PixelRun& run, Index panel, const T* image,
              const T* packed, const Epilogue<T>& epilogue) const {
    const Index depth = run.depth_end - run.depth_begin;
    const Index parts = std::max<Index>(1, ceil_divide(depth, kDepth));
    PixelRun part = run;
    for (Index i = 0; i < parts; ++i) {
      part.depth_begin = run.depth_begin + depth * i / parts;
      part.depth_end = run.depth_begin + depth * (i + 1) / parts;
      GemmTileArguments<T> tile{};
      if (i + 1 == parts) set_epilogue<T>(tile, epilogue, panels_.first_column(panel));
      tile.accumulate = i > 0;
      tile.a = image;
      multiply(worker, part, panel, packed, tile);
    }
  }

  // Pixels are dealt out evenly: a tile of four or five rows keeps the multipliers as busy as one
  // of six, a tile of one does not.
  void multiply(const Worker& worker, const PixelRun& run, Index panel, const T* packed,
                GemmTileArguments<T>& tile) const {
    tile.c = worker.tile.get();
    tile.columns = panels_.width(panel);
    tile.depth = run.depth_end - run.depth_begin;
    tile.a_cols = phases_[run.phase].columns.get() + run.depth_begin;
    tile.b = packed + packed_offset(run.phase, panel) + run.depth_begin * panels_.width(panel);
    const auto& tile_of_height = table_.gemm.tile[panels_.vectors(panel) - 1];
    const Index pixels = run.pixel_end - run.pixel_begin;
    const EvenParts tiles(pixels, ceil_divide(pixels, table_.gemm.rows));
    for (Index i = 0; i < tiles.count(); ++i) {
      tile.a_rows = worker.a_rows.get() + run.pixel_begin + tiles.first(i);
      tile.c_rows = worker.c_rows.get() + run.pixel_begin + tiles.first(i);
      tile_of_height[tiles.size(i) - 1](tile);
    }
  }

  const TapLattice& lattice_;
  const KernelTable<T>& table_;
  PanelLayout panels_;
  Index tile_pitch_;
  Index rows_ = 1;  // result rows of one block
  bool in_place_ = false;
  Index pitch_ = 0, channel_stride_ = 0;
  std::vector<PreparedPhase> phases_;
  Index packed_group_size_ = 0;
};

// Filters (oc, c / groups, taps) -> for each group and panel of output channels, zero-padded,
// [kernel row][c][kernel column][oc].
template <class T>
void pack_forward(const Conv2dShape& shape, const DirectConvolution<T>& direct,
                  const ScaledFilters<T>& filters, T* packed) {
  constexpr Index block = 8;  // input channels transposed at once
  const PanelLayout& panels = direct.panels();
  const Index tasks = shape.groups * panels.panels();
  const Index kernel_w = shape.kernel.w;
  const Workers workers{worker_count(tasks, shape.weight_size())};
  const Index block_size = block * shape.taps() * direct.widest_panel();
  const WorkerScratch<T> scratch(workers.count, block_size + filters.scratch_size(block_size));
  parallel_for(tasks, workers, [&](Index task, int worker) {
    const Index group = task / panels.panels(), panel = task % panels.panels();
    const Index width = panels.width(panel), used = panels.used(panel);
    const Index first = group * shape.group_out() + panels.first_column(panel);
    T* to = packed + group * direct.packed_group_size() + direct.packed_offset(0, panel);
    T* by_tap = scratch.of(worker);  // [c of the block, tap][oc]
    std::fill_n(by_tap, block * shape.taps() * width, T(0));
    for (Index c = 0; c < shape.group_in(); c += block) {
      const Index channels = std::min(block, shape.group_in() - c);
      const auto rows =
          filters.rows(first, used, c * shape.taps(), channels * shape.taps(), by_tap + block_size);
      direct.table().gemm.transpose(used, channels * shape.taps(), rows.data, rows.stride, by_tap,
                                    width);
      for (Index i = 0; i < channels * shape.kernel.h; ++i) {
        const Index channel = c + i / shape.kernel.h, row = i % shape.kernel.h;
        std::copy_n(by_tap + i * kernel_w * width, kernel_w * width,
                    to + (row * shape.group_in() + channel) * kernel_w * width);
      }
    }
  });
}

// weight -> for each group, phase and panel of input channels, zero-padded,
// [tap row][oc / groups][tap column][c].
template <class T>
void pack_backward_input(const Conv2dShape& shape, const TapLattice& lattice,
                         const DirectConvolution<T>& direct, const T* weight, T* packed) {
  const PanelLayout& panels = direct.panels();
  const Index tasks = shape.groups * panels.panels();
  const Index taps = shape.taps();
  const Workers workers{worker_count(tasks, shape.weight_size())};
  const WorkerScratch<T> scratch(workers.count, taps * direct.widest_panel());
  parallel_for(tasks, workers, [&](Index task, int worker) {
    const Index group = task / panels.panels(), panel = task % panels.panels();
    const Index width = panels.width(panel), used = panels.used(panel);
    T* by_tap = scratch.of(worker);  // [tap][c] of one output channel
    std::fill_n(by_tap, taps * width, T(0));
    for (Index o = 0; o < shape.group_out(); ++o) {
      const Index filter = (group * shape.group_out() + o) * shape.group_in();
      direct.table().gemm.transpose(
          used, taps, weight + (filter + panels.first_column(panel)) * taps, taps, by_tap, width);
      for (std::size_t p = 0; p < lattice.phases.size(); ++p) {
        const Phase& phase = lattice.phases[p];
        const Index tap_columns = static_cast<Index>(phase.columns.taps.size());
        T* to = packed + group * direct.packed_group_size() + direct.packed_offset(p, panel) +
                o * tap_columns * width;
        for (const AxisTap& row : phase.rows.taps) {
          for (Index s = 0; s < tap_columns; ++s) {
            const Index column = phase.columns.taps[static_cast<std::size_t>(s)].kernel;
            std::copy_n(by_tap + (row.kernel * shape.kernel.w + column) * width, width,
                        to + s * width);
          }
          to += shape.group_out() * tap_columns * width;
        }
      }
    }
  });
}

}  // namespace

template <class T>
void direct_forward(const Conv2dShape& shape, const T* input, const T* weight,
                    const Conv2dEpilogue<T>& epilogue, T* output) {
  if (shape.result().size() == 0) return;
  const TapLattice lattice = TapLattice::forward(shape);
  DirectConvolution<T> direct(lattice);
  const Buffer<T> packed(shape.groups * direct.packed_group_size());
  const ScaledFilters<T> filters(direct.table(), weight, shape.group_in() * shape.taps(),
                                 epilogue.scale.data);
  pack_forward(shape, direct, filters, packed.get());
  const T* const bias = epilogue.bias.data;
  Buffer<T> padded_bias;
  if (bias != nullptr) {
    const Index pitch = direct.panels().padded_columns();
    padded_bias = Buffer<T>(shape.groups * pitch);
    for (Index group = 0; group < shape.groups; ++group) {
      T* to = std::copy_n(bias + group * shape.group_out(), shape.group_out(),
                          padded_bias.get() + group * pitch);
      std::fill(to, padded_bias.get() + (group + 1) * pitch, T(0));
    }
  }
  direct.run(input, packed.get(), padded_bias.get(), epilogue, output);
}

template <class T>
void direct_backward_input(const Conv2dShape& shape, const T* grad_output, const T* weight,
                           T* grad_input) {
  if (shape.input.size() == 0) return;
  const TapLattice lattice = TapLattice::backward_input(shape);
  DirectConvolution<T> direct(lattice);
  const Buffer<T> packed(shape.groups * direct.packed_group_size());
  pack_backward_input(shape, lattice, direct, weight, packed.get());
  direct.run(grad_output, packed.get(), nullptr, {}, grad_input);
}

#define CONVOLITE_INSTANTIATE(T)                                                                 \
  template void direct_forward(const Conv2dShape&, const T*, const T*, const Conv2dEpilogue<T>&, \
                               T*);                                                              \
  template void direct_backward_input(const Conv2dShape&, const T*, const T*, T*);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
