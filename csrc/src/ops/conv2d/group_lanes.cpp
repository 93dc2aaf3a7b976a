// group_lanes_forward and group_lanes_backward_input: one driver over a TapLattice.
//
// An item is a block of result rows of as many units as a vector has lanes. Its source planes are
// transposed to a band (lane_band.h); its result planes are computed as vectors of lanes, some
// together, and transposed back.
//
// The source channels of a group are taken in chunks whose filters stay in the first cache: each is
// added to what the tile holds.
//
// Bound by arithmetic for groups of 8 channels and more; for fewer by memory, which the two
// transpositions visit plane by plane, and their shuffles.
#include "ops/conv2d/group_lanes.h"

#include <algorithm>
#include <numeric>

#include "ops/conv2d/epilogue.h"
#include "ops/conv2d/lane_band.h"
#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {
namespace {

// Measured on Zen 3 with csrc/benchmarks/bench_conv2d, 2026-11.
constexpr Index kMostTasks = 64;
// Of a group, or as many as lanes. The general method takes so many times as long for 32 groups of
// 56, 28, 14 and 7 pixels square, 8 images, 2 threads: 1.9 to 3.2 for 4 channels, 1.1 to 1.6 for 8,
// and 0.75 to 0.97 for 16, which fill two vectors of their own. Where they fill only one (Zen 5,
// AVX-512, one thread): 1.0 to 1.3 for 16, 1.6 to 1.9 for 12.
constexpr Index kMostChannels = 8;
constexpr Index kFilterBytes = 20 << 10;  // of the channels of a call, in the first cache
constexpr Index kMostRowsBytes = Index{4} << 20;

// Values of the groups that a vector of units meets: [vector][row][lane], as many vectors as there
// are until the groups come round again. Dense, so that the filters of a few results stay in the
// first cache. Laid out by one thread: shared by two, so little work waited longer than it took.
template <class T>
class GroupRows {
 public:
  GroupRows(const KernelTable<T>& table, Index vectors, Index groups, Index rows, const T* values)
      : lanes_(table.lanes),
        rows_(rows),
        vectors_(std::min(vectors, groups / std::gcd(groups, lanes_))),
        values_(vectors_ * rows * lanes_) {
    for (Index vector = 0; vector < vectors_; ++vector) {
      Index group = vector * lanes_ % groups;
      for (Index lane = 0, run = 0; lane < lanes_; lane += run, group = 0) {
        run = std::min(lanes_ - lane, groups - group);
        table.gemm.transpose(run, rows, values + group * rows, rows,
                             values_.get() + vector * rows * lanes_ + lane, lanes_);
      }
    }
  }

  Index stride() const { return lanes_; }
  const T* at(Index row, Index vector) const {
    return values_.get() + (vector % vectors_ * rows_ + row) * lanes_;
  }

 private:
  Index lanes_, rows_, vectors_;
  Buffer<T> values_;
};

// The filters' rows from one source channel, and from one result channel of a group, to the next.
struct FilterStrides {
  Index source, result;
};

template <class T>
class GroupLaneConvolution {
 public:
  GroupLaneConvolution(const TapLattice& lattice, HW kernel, FilterStrides filters, const T* weight)
      : lattice_(lattice),
        table_(kernels<T>()),
        filters_(filters),
        units_(lattice.result.n * lattice.groups),
        lane_blocks_(ceil_divide(units_, table_.lanes)),
        band_(lattice, table_.lanes, sizeof(T), lane_blocks_),
        chunk_(chunk_channels(kernel)),
        weight_(table_, lane_blocks_, lattice.groups,
                lattice.source_channels() * lattice.result_channels() * kernel.h * kernel.w,
                weight) {
    for (const Phase& phase : lattice.phases) list_taps(phase, kernel);
  }

  void run(const T* source, const Conv2dEpilogue<T>& epilogue, T* result) const {
    const T* const bias = epilogue.bias.data;
    const Index items = lane_blocks_ * blocks();
    const Index grain = ceil_divide(items, kMostTasks), tasks = ceil_divide(items, grain);
    const Workers workers{worker_count(tasks, work())};
    LaneBands<T> bands = band_.bands<T>(workers.count);
    const WorkerScratch<T> tiles(
        workers.count, std::min<Index>(kLanesTogether, lattice_.result_channels()) * tile_stride());
    const GroupRows<T> biases(table_, lane_blocks_, lattice_.groups,
                              bias == nullptr ? 0 : lattice_.result_channels(), bias);
    const Job job{source, bias == nullptr ? nullptr : &biases,
                  PlaneStore<T>(table_, epilogue.residual.data, epilogue.activation, result)};
    parallel_for(tasks, workers, [&](Index task, int worker) {
      const Index end = std::min((task + 1) * grain, items);
      for (Index item = task * grain; item < end; ++item) {
        compute(job, item, bands.of(worker), tiles.of(worker));
      }
    });
  }

 private:
  struct Job {
    const T* source;
    const GroupRows<T>* bias;
    PlaneStore<T> store;
  };
  // Of each chunk of source channels in turn. Tap rows outermost: a run of rows takes some of them.
  struct PhaseTaps {
    std::vector<std::ptrdiff_t> offsets, weights;
    Index rows, columns;  // of taps
    typename GroupLaneKernels<T>::Convolve convolve;
  };

  Index blocks() const { return static_cast<Index>(band_.blocks().size()); }
  Index tile_stride() const { return band_.most_rows() * lattice_.result.w * table_.lanes; }

  Index work() const {
    Index depth = 0;
    for (const Phase& phase : lattice_.phases) depth = std::max(depth, lattice_.depth(phase));
    return lattice_.source.size() + lattice_.result.size() +
           multiply_add_work(lattice_.result.size() * depth);
  }

  void list_taps(const Phase& phase, HW kernel) {
    std::vector<AxisTap> columns = phase.columns.taps;
    std::sort(columns.begin(), columns.end(),
              [](const AxisTap& a, const AxisTap& b) { return a.offset < b.offset; });
    PhaseTaps taps;
    taps.rows = static_cast<Index>(phase.rows.taps.size());
    taps.columns = static_cast<Index>(columns.size());
    taps.convolve = choose_kernel(columns);
    taps.offsets.reserve(static_cast<std::size_t>(lattice_.depth(phase)));
    taps.weights.reserve(static_cast<std::size_t>(lattice_.depth(phase)));
    const Index sources = lattice_.source_channels();
    for (Index first = 0; first < sources; first += chunk_) {
      for (const AxisTap& row : phase.rows.taps) {
        for (Index c = first; c < std::min(first + chunk_, sources); ++c) {
          for (const AxisTap& column : columns) {
            taps.offsets.push_back(c * band_.channel_stride() + band_.offset(phase, row, column));
            taps.weights.push_back((c * filters_.source + row.kernel * kernel.w + column.kernel) *
                                   weight_.stride());
          }
        }
      }
    }
    taps_.push_back(std::move(taps));
  }

  // Source channels whose filters of kLanesTogether results stay in the first cache, in even
  // shares.
  Index chunk_channels(HW kernel) const {
    const Index channel =
        kLanesTogether * kernel.h * kernel.w * table_.lanes * static_cast<Index>(sizeof(T));
    const Index sources = lattice_.source_channels();
    return ceil_divide(sources, ceil_divide(sources, std::max<Index>(1, kFilterBytes / channel)));
  }

  typename GroupLaneKernels<T>::Convolve choose_kernel(const std::vector<AxisTap>& columns) const {
    const GroupLaneKernels<T>& kernels = table_.group_lanes;
    const Index count = static_cast<Index>(columns.size()), step = lattice_.step.w;
    if (count < 2 || columns.back().offset - columns.front().offset != count - 1) {
      return kernels.any_taps;
    }
    if (count == 2 && step == 1) return kernels.rows_of_2;
    if (count == 3 && step <= 2) return kernels.rows_of_3[step - 1];
    if (count == 5 && step <= 2) return kernels.rows_of_5[step - 1];
    return kernels.any_taps;
  }

  void compute(const Job& job, Index item, T* band, T* tile) const {
    const Index unit = item / blocks() * table_.lanes;
    const Index units = std::min<Index>(table_.lanes, units_ - unit);
    const LaneBlock& block = band_.blocks()[static_cast<std::size_t>(item % blocks())];
    const Index sources = lattice_.source_channels(), results = lattice_.result_channels();
    const Index source_plane = lattice_.source.pixels(), result_plane = lattice_.result.pixels();
    for (Index c = 0; c < sources; ++c) {
      band_.load(table_, block, job.source + (unit * sources + c) * source_plane, units,
                 sources * source_plane, band + c * band_.channel_stride());
    }
    for (Index k = 0; k < results;) {
      const Index together = results - k >= kLanesTogether ? kLanesTogether : 1;
      convolve(job, block, item / blocks(), k, together, band, tile);
      for (const Index end = k + together; k < end; ++k) {
        job.store.run(block.rows * lattice_.result.w, units,
                      tile + (k + together - end) * tile_stride(), table_.lanes,
                      (unit * results + k) * result_plane + block.row * lattice_.result.w,
                      results * result_plane);
      }
    }
  }

  // The result channels [channel, channel + together) of a vector of units.
  void convolve(const Job& job, const LaneBlock& block, Index vector, Index channel, Index together,
                const T* band, T* tile) const {
    const Index lanes = table_.lanes, width = lattice_.result.w;
    const Index sources = lattice_.source_channels();
    GroupLaneArguments<T> arguments{};
    set_clamp(arguments, job.store.activation_before());
    const bool clamps = arguments.clamp;
    arguments.step = lattice_.step.w * lanes;
    arguments.row_step = lattice_.step.h * band_.row_stride();
    arguments.weight = weight_.at(channel * filters_.result, vector);
    arguments.weight_stride = filters_.result * weight_.stride();
    if (job.bias != nullptr) {
      arguments.bias = job.bias->at(channel, vector);
      arguments.bias_stride = job.bias->stride();
    }
    arguments.result_stride = tile_stride();
    arguments.result_step = lattice_.spacing.w * lanes;
    arguments.result_row_step = lattice_.spacing.h * width * lanes;
    for (const LaneRun& run : block.runs) {
      const Phase& phase = lattice_.phases[run.phase];
      const PhaseTaps& taps = taps_[run.phase];
      arguments.source = band + run.source;
      arguments.rows = run.rows;
      arguments.columns = phase.columns.count;
      const Index row = phase.rows.first + run.row_begin * lattice_.spacing.h - block.row;
      arguments.result = tile + (row * width + phase.columns.first) * lanes;
      const auto kernel = together == 1 ? taps.convolve : table_.group_lanes.any_taps_together;
      for (Index first = 0; first < sources; first += chunk_) {
        const Index row_taps = std::min(chunk_, sources - first) * taps.columns;
        const Index begin = first * taps.rows * taps.columns + run.tap_begin * row_taps;
        arguments.taps = {(run.tap_end - run.tap_begin) * row_taps, taps.offsets.data() + begin,
                          taps.weights.data() + begin};
        arguments.accumulate = first > 0;
        arguments.clamp = clamps && first + chunk_ >= sources;
        kernel(arguments);
      }
    }
  }

  const TapLattice& lattice_;
  const KernelTable<T>& table_;
  FilterStrides filters_;
  Index units_, lane_blocks_;
  LaneBand band_;
  Index chunk_;  // source channels of a call
  GroupRows<T> weight_;
  std::vector<PhaseTaps> taps_;
};

}  // namespace

template <class T>
const char* group_lanes_decline(const Conv2dShape& shape, Pass pass) {
  if (shape.groups == 1) return "there is one group";
  const Index lanes = kernels<T>().lanes;
  // Filters have one gradient for all images, whose lanes therefore are the groups of one.
  const Index units = pass == Pass::backward_weight ? shape.groups : shape.groups * shape.input.n;
  if (units < lanes) return "groups are fewer than the lanes of a vector";
  // The sums of so many filters, which workers exchange, outweigh what the registers gain.
  const Index most = pass == Pass::backward_weight ? lanes - 1 : lanes;
  if (std::max(shape.group_in(), shape.group_out()) > std::max(kMostChannels, most)) {
    return "groups have many channels";
  }
  const HW span{(shape.kernel.h - 1) * shape.dilation.h + 1,
                (shape.kernel.w - 1) * shape.dilation.w + 1};
  const Padding& padding = shape.padding;
  if (std::max(padding.top, padding.bottom) >= span.h ||
      std::max(padding.left, padding.right) >= span.w) {
    return "windows lie in the padding";
  }
  const Index row = (std::max(shape.input.w, shape.output.w) + 2 * span.w) * lanes *
                    static_cast<Index>(sizeof(T));
  if (span.h * std::max(shape.group_in(), shape.group_out()) > kMostRowsBytes / row) {
    return "the rows of a window outgrow the cache";
  }
  return nullptr;
}

template <class T>
void group_lanes_forward(const Conv2dShape& shape, const T* input, const T* weight,
                         const Conv2dEpilogue<T>& epilogue, T* output) {
  if (shape.result().size() == 0) return;
  const TapLattice lattice = TapLattice::forward(shape);
  const Index depth = shape.group_in() * shape.taps();
  const ScaledFilters<T> filters(kernels<T>(), weight, depth, epilogue.scale.data);
  const Buffer<T> scaled(filters.scratch_size(shape.weight_size()));
  const T* const ready = filters.rows(0, shape.out_channels, 0, depth, scaled.get()).data;
  GroupLaneConvolution<T>(lattice, shape.kernel, {shape.taps(), depth}, ready)
      .run(input, epilogue, output);
}

template <class T>
void group_lanes_backward_input(const Conv2dShape& shape, const T* grad_output, const T* weight,
                                T* grad_input) {
  if (shape.input.size() == 0) return;
  const TapLattice lattice = TapLattice::backward_input(shape);
  const FilterStrides filters{shape.group_in() * shape.taps(), shape.taps()};
  GroupLaneConvolution<T>(lattice, shape.kernel, filters, weight).run(grad_output, {}, grad_input);
}

#define CONVOLITE_INSTANTIATE(T)                                            \
  template const char* group_lanes_decline<T>(const Conv2dShape&, Pass);    \
  template void group_lanes_forward(const Conv2dShape&, const T*, const T*, \
                                    const Conv2dEpilogue<T>&, T*);          \
  template void group_lanes_backward_input(const Conv2dShape&, const T*, const T*, T*);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
