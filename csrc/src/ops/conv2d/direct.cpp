// direct_forward and direct_backward_input: one driver over a TapLattice.
//
// A task computes a block of result rows of one image and group. For each panel of result channels
// the micro-kernel writes tiles of [pixel][channel] into scratch, at each pixel's natural place, so
// phases interleave by themselves; then one transposition stores the rows as NCHW. The weights are
// packed once per call, as [phase][panel][source channel, tap][channel].
//
// Bound by arithmetic for depths (channels x taps) above about 64, by stores below.
#include "ops/conv2d/direct.h"

#include <algorithm>

#include "gemm/epilogue.h"
#include "gemm/panels.h"
#include "ops/conv2d/tap_lattice.h"
#include "runtime/buffer.h"
#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {
namespace {

constexpr Index kBandBytes = 160 << 10;  // a band and its weights share L2 (512 KB on Zen 3)
constexpr Index kTileBytes = 96 << 10;   // scratch for one panel of a block, written and read once
constexpr Index kWantedTasks = 16;  // blocks are cut smaller for few images, down to kFewestRows
constexpr Index kFewestRows = 4;

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
  const PanelLayout& panels() const { return panels_; }
  Index widest_panel() const { return tile_pitch_; }

  // packed: groups x packed_group_size(); bias: groups x padded columns, or null.
  void run(const T* source, const T* packed, const T* bias, Activation activation, T* result) {
    const Index blocks = (lattice_.result.h + rows_ - 1) / rows_;
    const Index tasks = lattice_.result.n * lattice_.groups * blocks;
    const int workers = worker_count(tasks, work());
    std::vector<Worker> scratch(static_cast<std::size_t>(workers));
    for (Worker& worker : scratch) allocate(worker);
    parallel_for(tasks, work(), [&](Index task, int worker) {
      Task now{task / blocks / lattice_.groups, task / blocks % lattice_.groups, task % blocks};
      Worker& mine = scratch[static_cast<std::size_t>(worker)];
      if (mine.block != now.block) prepare_block(mine, now.block);
      compute(mine, now, source, packed + now.group * packed_group_size_,
              bias == nullptr ? nullptr : bias + now.group * panels_.padded_columns(), activation,
              result);
    });
  }

 private:
  struct PreparedPhase {
    Buffer<std::int32_t> columns;  // source offset of each (channel, tap)
    Index packed;                  // where its weights begin within a group
  };
  struct Worker {
    Buffer<T> band, tile;
    Buffer<std::int32_t> a_rows, c_rows;  // source and scratch offset of each pixel
    std::vector<Index> first_pixel;       // of each phase, and the end
    Extent extent;
    Index block = -1;
  };
  struct Task {
    Index image, group, block;
  };

  Index work() const {
    Index depth = 0;
    for (const Phase& phase : lattice_.phases) depth = std::max(depth, lattice_.depth(phase));
    return lattice_.result.size() + multiply_add_work(lattice_.result.size() * depth);
  }

  void choose_rows() {
    const Nchw& result = lattice_.result;
    const Extent whole = lattice_.extent(0, result.h);
    const Index row_bytes = lattice_.source_channels() * std::max<Index>(whole.columns(), 1) *
                            static_cast<Index>(sizeof(T));
    const Index halo = whole.rows() - (result.h - 1) * lattice_.step.h / lattice_.spacing.h;
    const Index source_rows = std::max<Index>(kBandBytes / row_bytes - halo, 1);
    Index rows = std::max<Index>(source_rows * lattice_.spacing.h / lattice_.step.h, 1);
    const Index pixel_bytes = tile_pitch_ * static_cast<Index>(sizeof(T));
    rows = std::min(rows, std::max<Index>(kTileBytes / (pixel_bytes * result.w), 1));
    const Index images = std::max<Index>(result.n * lattice_.groups, 1);
    const Index wanted_blocks = (kWantedTasks + images - 1) / images;
    rows = std::min(rows, std::max((result.h + wanted_blocks - 1) / wanted_blocks, kFewestRows));
    rows = std::min((rows + lattice_.spacing.h - 1) / lattice_.spacing.h * lattice_.spacing.h,
                    result.h);
    const Index blocks = (result.h + rows - 1) / rows;
    rows_ = (result.h + blocks - 1) / blocks;  // even shares
  }

  // Reads the source in place when no tap leaves it; otherwise every band has the same layout.
  void choose_band() {
    const Extent whole = lattice_.extent(0, lattice_.result.h);
    in_place_ = whole.inside({lattice_.source.h, lattice_.source.w});
    if (in_place_) {
      pitch_ = lattice_.source.w;
      channel_stride_ = lattice_.source.pixels();
      return;
    }
    Index rows = 0;
    for (Index row = 0; row < lattice_.result.h; row += rows_) {
      rows = std::max(rows, block_extent(row / rows_).rows());
    }
    pitch_ = whole.columns();
    channel_stride_ = band_channel_stride(rows, pitch_, sizeof(T));
  }

  // All blocks share the columns of the whole image, so that they share the offsets of the taps.
  Extent block_extent(Index block) const {
    const Extent whole = lattice_.extent(0, lattice_.result.h);
    Extent extent =
        lattice_.extent(block * rows_, std::min((block + 1) * rows_, lattice_.result.h));
    extent.column_begin = whole.column_begin;
    extent.column_end = whole.column_end;
    return extent;
  }

  static HW origin(const Phase& phase) {
    HW least = phase.taps.empty() ? HW{} : phase.taps.front().offset;
    for (const Tap& tap : phase.taps) {
      least = {std::min(least.h, tap.offset.h), std::min(least.w, tap.offset.w)};
    }
    return least;
  }

  void prepare_phase(const Phase& phase) {
    const HW least = origin(phase);
    Buffer<std::int32_t> columns(std::max<Index>(lattice_.depth(phase), 1));
    Index k = 0;
    for (Index c = 0; c < lattice_.source_channels(); ++c) {
      for (const Tap& tap : phase.taps) {
        columns[k++] = static_cast<std::int32_t>(
            c * channel_stride_ + (tap.offset.h - least.h) * pitch_ + tap.offset.w - least.w);
      }
    }
    phases_.push_back({std::move(columns), packed_group_size_});
    packed_group_size_ += panels_.padded_columns() * lattice_.depth(phase);
  }

  void allocate(Worker& worker) const {
    const Index pixels = rows_ * lattice_.result.w;
    if (!in_place_) worker.band = Buffer<T>(lattice_.source_channels() * channel_stride_);
    worker.tile = Buffer<T>(pixels * tile_pitch_);
    worker.a_rows = Buffer<std::int32_t>(pixels);
    worker.c_rows = Buffer<std::int32_t>(pixels);
    worker.first_pixel.resize(lattice_.phases.size() + 1);
  }

  // The offsets of a block's pixels; consecutive tasks of a worker mostly share them.
  void prepare_block(Worker& worker, Index block) const {
    worker.block = block;
    worker.extent =
        in_place_ ? Extent{0, lattice_.source.h, 0, lattice_.source.w} : block_extent(block);
    if (!in_place_) clear_band(lattice_.source_channels(), channel_stride_, worker.band.get());
    const Index row_begin = block * rows_;
    const Index row_end = std::min(row_begin + rows_, lattice_.result.h);
    Index pixel = 0;
    for (std::size_t p = 0; p < lattice_.phases.size(); ++p) {
      worker.first_pixel[p] = pixel;
      const Phase& phase = lattice_.phases[p];
      const HW least = origin(phase);
      const Index last = lattice_.phase_row(phase, row_end);
      for (Index i = lattice_.phase_row(phase, row_begin); i < last; ++i) {
        const Index row = i * lattice_.step.h + least.h - worker.extent.row_begin;
        const Index y = phase.first.h + i * lattice_.spacing.h - row_begin;
        for (Index j = 0; j < phase.count.w; ++j, ++pixel) {
          const Index column = j * lattice_.step.w + least.w - worker.extent.column_begin;
          const Index x = phase.first.w + j * lattice_.spacing.w;
          worker.a_rows[pixel] =
              phase.taps.empty() ? 0 : static_cast<std::int32_t>(row * pitch_ + column);
          worker.c_rows[pixel] =
              static_cast<std::int32_t>((y * lattice_.result.w + x) * tile_pitch_);
        }
      }
    }
    worker.first_pixel.back() = pixel;
  }

  void compute(Worker& worker, const Task& task, const T* source, const T* packed, const T* bias,
               Activation activation, T* result) const {
    const Index source_channel = task.group * lattice_.source_channels();
    const T* image =
        source + (task.image * lattice_.source.c + source_channel) * lattice_.source.pixels();
    if (!in_place_) {
      load_band(image, lattice_.source_channels(), {lattice_.source.h, lattice_.source.w},
                worker.extent, channel_stride_, worker.band.get());
      image = worker.band.get();
    }
    const Index row_begin = task.block * rows_;
    const Index rows = std::min(rows_, lattice_.result.h - row_begin);
    const Index plane = lattice_.result.pixels();
    T* rows_out =
        result +
        (task.image * lattice_.result.c + task.group * lattice_.result_channels()) * plane +
        row_begin * lattice_.result.w;
    for (Index panel = 0; panel < panels_.panels(); ++panel) {
      GemmTileArguments<T> tile{};
      set_epilogue<T>(tile, {bias, activation}, panels_.first_column(panel));
      tile.columns = panels_.width(panel);
      tile.c = worker.tile.get();
      for (std::size_t phase = 0; phase < phases_.size(); ++phase) {
        multiply(worker, phase, panel, image, packed + packed_offset(phase, panel), tile);
      }
      table_.gemm.transpose(rows * lattice_.result.w, panels_.used(panel), worker.tile.get(),
                            tile_pitch_, rows_out + panels_.first_column(panel) * plane, plane);
    }
  }

  void multiply(const Worker& worker, std::size_t phase, Index panel, const T* image,
                const T* packed, GemmTileArguments<T>& tile) const {
    tile.depth = lattice_.depth(lattice_.phases[phase]);
    tile.a = image;
    tile.a_cols = phases_[phase].columns.get();
    tile.b = packed;
    const auto& kernels_of_width = table_.gemm.tile[panels_.vectors(panel) - 1];
    const Index end = worker.first_pixel[phase + 1];
    for (Index pixel = worker.first_pixel[phase]; pixel < end; pixel += table_.gemm.rows) {
      tile.a_rows = worker.a_rows.get() + pixel;
      tile.c_rows = worker.c_rows.get() + pixel;
      kernels_of_width[std::min<Index>(table_.gemm.rows, end - pixel) - 1](tile);
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

// weight (oc, c / groups, taps) -> for each group and panel of output channels [c / groups,
// taps][oc].
template <class T>
void pack_forward(const Conv2dShape& shape, const DirectConvolution<T>& direct, const T* weight,
                  T* packed) {
  const PanelLayout& panels = direct.panels();
  const Index depth = shape.group_in() * shape.taps();
  parallel_for(shape.groups * panels.panels(), shape.weight_size(), [&](Index task, int) {
    const Index group = task / panels.panels(), panel = task % panels.panels();
    const Index width = panels.width(panel), used = panels.used(panel);
    T* to = packed + group * direct.packed_group_size() + direct.packed_offset(0, panel);
    if (used < width) std::fill_n(to, depth * width, T(0));
    const Index channel = group * shape.group_out() + panels.first_column(panel);
    kernels<T>().gemm.transpose(used, depth, weight + channel * depth, depth, to, width);
  });
}

// weight -> for each group, phase and panel of input channels [oc / groups, taps of the phase][c].
template <class T>
void pack_backward_input(const Conv2dShape& shape, const TapLattice& lattice,
                         const DirectConvolution<T>& direct, const T* weight, T* packed) {
  const PanelLayout& panels = direct.panels();
  const Index tasks = shape.groups * panels.panels();
  const Index taps = shape.taps();
  const WorkerScratch<T> scratch(worker_count(tasks, shape.weight_size()),
                                 taps * direct.widest_panel());
  parallel_for(tasks, shape.weight_size(), [&](Index task, int worker) {
    const Index group = task / panels.panels(), panel = task % panels.panels();
    const Index width = panels.width(panel), used = panels.used(panel);
    T* by_tap = scratch.of(worker);  // [tap][channel] of one output channel
    std::fill_n(by_tap, taps * width, T(0));
    for (Index o = 0; o < shape.group_out(); ++o) {
      const Index filter = (group * shape.group_out() + o) * shape.group_in();
      kernels<T>().gemm.transpose(used, taps, weight + (filter + panels.first_column(panel)) * taps,
                                  taps, by_tap, width);
      for (std::size_t p = 0; p < lattice.phases.size(); ++p) {
        const std::vector<Tap>& of_phase = lattice.phases[p].taps;
        T* to = packed + group * direct.packed_group_size() + direct.packed_offset(p, panel) +
                o * static_cast<Index>(of_phase.size()) * width;
        for (const Tap& tap : of_phase) {
          to = std::copy_n(by_tap + tap.kernel * width, width, to);
        }
      }
    }
  });
}

}  // namespace

template <class T>
void direct_forward(const Conv2dShape& shape, const T* input, const T* weight, const T* bias,
                    Activation activation, T* output) {
  const TapLattice lattice = TapLattice::forward(shape);
  DirectConvolution<T> direct(lattice);
  const Buffer<T> packed(shape.groups * direct.packed_group_size());
  pack_forward(shape, direct, weight, packed.get());
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
  direct.run(input, packed.get(), padded_bias.get(), activation, output);
}

template <class T>
void direct_backward_input(const Conv2dShape& shape, const T* grad_output, const T* weight,
                           T* grad_input) {
  const TapLattice lattice = TapLattice::backward_input(shape);
  DirectConvolution<T> direct(lattice);
  const Buffer<T> packed(shape.groups * direct.packed_group_size());
  pack_backward_input(shape, lattice, direct, weight, packed.get());
  direct.run(grad_output, packed.get(), nullptr, Activation::none, grad_input);
}

#define CONVOLITE_INSTANTIATE(T)                                                                  \
  template void direct_forward(const Conv2dShape&, const T*, const T*, const T*, Activation, T*); \
  template void direct_backward_input(const Conv2dShape&, const T*, const T*, T*);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
