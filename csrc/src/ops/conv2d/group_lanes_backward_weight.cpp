// group_lanes_backward_weight: grad_weight[o, c, r, s] = sum over images and pixels of
//   grad_output[n, o, y, x] * input[n, c, y * stride + r * dilation - top, ...].
//
// Groups are taken as many at a time as a vector has lanes. An item is a run of small images, or of
// blocks of rows of large ones: input and grad_output are transposed to vectors of lanes, and what
// they give is added to sums in double. The items of a block of groups are cut into parts by the
// shape alone; the parts are added in order.
//
// Rows are taken in strips that stay in the first cache until all filters have met them.
//
// Bound by arithmetic for groups of 8 channels and more; for fewer by memory, which the
// transpositions visit plane by plane, and their shuffles.
#include <algorithm>

#include "ops/conv2d/group_lanes.h"
#include "ops/conv2d/lane_band.h"
#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {
namespace {

// Measured on Zen 3 with csrc/benchmarks/bench_conv2d, 2026-11.
constexpr Index kSummedPixels = 512;     // in T
constexpr Index kFewestParts = 4;        // of the items, if there are so many
constexpr Index kWantedTasks = 32;       // each has sums of its own, which are filled and added up
constexpr Index kStripBytes = 24 << 10;  // grads and rows of a channel that stay in the first cache

template <class T>
class BackwardWeight {
 public:
  BackwardWeight(const Conv2dShape& shape, const TapLattice& lattice)
      : shape_(shape),
        lattice_(lattice),
        table_(kernels<T>()),
        lane_blocks_(ceil_divide(shape.groups, table_.lanes)),
        band_(lattice, table_.lanes, sizeof(T), lane_blocks_ * shape.input.n),
        filters_(shape.group_in() * shape.group_out()),
        row_sums_(filters_ * shape.taps() * table_.lanes),
        places_(band_.most_rows() * shape.output.w) {
    const Index rows = band_.most_rows();
    bands_ = std::max<Index>(1, kSummedPixels / (rows * shape.output.w));
    items_ = ceil_divide(shape.input.n * blocks(), bands_);
    parts_ = std::min(items_, std::max(kFewestParts, ceil_divide(kWantedTasks, lane_blocks_)));
    for (Index i = 0; i < rows * shape.output.w; ++i) {
      places_[i] = static_cast<std::int32_t>(i * table_.lanes);
    }
    for (const LaneBlock& block : band_.blocks()) list_calls(block);
  }

  void run(const T* grad_output, const T* input, T* grad_weight) const {
    const Index work =
        shape_.input.size() + shape_.result().size() + multiply_add_work(shape_.multiply_adds());
    const Index tasks = lane_blocks_ * parts_;
    const Workers workers{worker_count(tasks, work)};
    LaneBands<T> bands = band_.bands<T>(workers.count);
    const WorkerScratch<T> grads(workers.count, shape_.group_out() * grad_stride());
    const WorkerScratch<T> short_sums(workers.count, row_sums_);
    const Buffer<double> sums(tasks * row_sums_);
    parallel_for(tasks, workers, [&](Index task, int worker) {
      const Index part = task / lane_blocks_, block = task % lane_blocks_;
      const Scratch scratch{bands.of(worker), grads.of(worker), short_sums.of(worker)};
      double* const total = sums.get() + (block * parts_ + part) * row_sums_;
      std::fill_n(total, row_sums_, 0.0);
      for (Index item = items_ * part / parts_; item < items_ * (part + 1) / parts_; ++item) {
        add_item(grad_output, input, block * table_.lanes, item, scratch, total);
      }
    });
    const Index results = shape_.group_out();
    parallel_for(lane_blocks_ * results, tasks * row_sums_, [&](Index task, int) {
      const Index block = task / results;
      combine(block, task % results, sums.get() + block * parts_ * row_sums_, grad_weight);
    });
  }

 private:
  // Rows of pixels that find their taps at the same offsets.
  struct Call {
    Index source, grad, rows;
    std::vector<std::ptrdiff_t> offsets;
  };
  struct Scratch {
    T* band;
    T* grad;
    T* sums;
  };

  Index blocks() const { return static_cast<Index>(band_.blocks().size()); }
  Index row_step() const { return shape_.stride.h * band_.row_stride(); }
  Index grad_row() const { return shape_.output.w * table_.lanes; }
  Index grad_stride() const { return band_.most_rows() * grad_row(); }
  Index groups_from(Index group) const {
    return std::min<Index>(table_.lanes, shape_.groups - group);
  }

  void add_item(const T* grad_output, const T* input, Index group, Index item,
                const Scratch& scratch, double* total) const {
    const Index end = std::min((item + 1) * bands_, shape_.input.n * blocks());
    std::fill_n(scratch.sums, row_sums_, T(0));
    for (Index band = item * bands_; band < end; ++band) {
      const auto block = static_cast<std::size_t>(band % blocks());
      load(grad_output, input, band / blocks(), group, band_.blocks()[block], scratch);
      add_band(calls_[block], scratch);
    }
    for (Index i = 0; i < row_sums_; ++i) total[i] += static_cast<double>(scratch.sums[i]);
  }

  void load(const T* grad_output, const T* input, Index image, Index group, const LaneBlock& block,
            const Scratch& scratch) const {
    const Index groups = groups_from(group), plane = shape_.result().pixels();
    const Index sources = shape_.group_in(), results = shape_.group_out();
    const Index unit = image * shape_.groups + group;
    for (Index c = 0; c < sources; ++c) {
      band_.load(table_, block, input + (unit * sources + c) * shape_.input.pixels(), groups,
                 sources * shape_.input.pixels(), scratch.band + c * band_.channel_stride());
    }
    for (Index k = 0; k < results; ++k) {
      table_.group_lanes.gather(
          {grad_output + (unit * results + k) * plane + block.row * shape_.output.w, groups,
           results * plane, block.rows * shape_.output.w, plane, places_.get(),
           scratch.grad + k * grad_stride()});
    }
  }

  // Taps outside of the image meet rows of zeros: 0 times a gradient that is not finite is NaN. The
  // band has one on either side. Rows with taps farther out are calls of their own.
  void list_calls(const LaneBlock& block) {
    std::vector<Call> calls;
    const Index strip = strip_rows();
    bool continues = false;
    for (const LaneRun& run : block.runs) {
      const bool near = band_.holds_all_taps(block, run);
      const Index most = near ? strip : 1;
      Index y = 0;
      if (near && continues) {
        y = std::min(run.rows, most - calls.back().rows);
        calls.back().rows += y;
      }
      for (Index rows = 0; y < run.rows; y += rows) {
        rows = std::min(most, run.rows - y);
        calls.push_back(call(block, run, y, rows, near));
      }
      continues = near;
    }
    calls_.push_back(std::move(calls));
  }

  // Of a call: as many as leave what all its sums read in the first cache.
  Index strip_rows() const {
    const Index grads = std::min<Index>(kLanesTogether, shape_.group_out()) * grad_row();
    const Index bytes = (grads + row_step()) * static_cast<Index>(sizeof(T));
    return std::max<Index>(1, kStripBytes / bytes);
  }

  // Rows [y, y + rows) of a run.
  Call call(const LaneBlock& block, const LaneRun& run, Index y, Index rows, bool near) const {
    const Phase& phase = lattice_.phases[0];
    Call call{run.source + y * row_step(), (run.row_begin - block.row + y) * grad_row(), rows, {}};
    for (const AxisTap& row : phase.rows.taps) {
      const bool inside = row.kernel >= run.tap_begin && row.kernel < run.tap_end;
      for (const AxisTap& column : phase.columns.taps) {
        call.offsets.push_back(near || inside ? band_.offset(phase, row, column)
                                              : band_.zero_place(column) - call.source);
      }
    }
    return call;
  }

  void add_band(const std::vector<Call>& calls, const Scratch& scratch) const {
    for (const Call& call : calls) {
      const Index results = shape_.group_out();
      for (Index k = 0; k < results;) {
        const bool together = results - k >= kLanesTogether;
        add_filters(call, k, together, scratch);
        k += together ? kLanesTogether : 1;
      }
    }
  }

  // The filters of one output channel of a group or kLanesTogether.
  void add_filters(const Call& call, Index channel, bool together, const Scratch& scratch) const {
    const typename GroupLaneKernels<T>::WeightSums* const kernels =
        together ? table_.group_lanes.weight_taps_together : table_.group_lanes.weight_taps;
    const Index most_taps = together ? table_.group_lanes.most_taps_together : kMostWeightTaps;
    const Index sources = shape_.group_in(), taps = shape_.taps();
    const Index shares = ceil_divide(taps, most_taps);
    GroupLaneWeightArguments<T> arguments{};
    arguments.step = shape_.stride.w * table_.lanes;
    arguments.row_step = row_step();
    arguments.rows = call.rows;
    arguments.columns = shape_.output.w;
    arguments.grad = scratch.grad + channel * grad_stride() + call.grad;
    arguments.grad_stride = grad_stride();
    arguments.sums_stride = sources * taps * table_.lanes;
    for (Index c = 0; c < sources; ++c) {
      arguments.source = scratch.band + c * band_.channel_stride() + call.source;
      T* const sums = scratch.sums + (channel * sources + c) * taps * table_.lanes;
      for (Index share = 0; share < shares; ++share) {
        const Index begin = taps * share / shares, end = taps * (share + 1) / shares;
        arguments.offsets = call.offsets.data() + begin;
        arguments.sums = sums + begin * table_.lanes;
        kernels[end - begin - 1](arguments);
      }
    }
  }

  // Adds the parts of a block of groups in order to the first, for one output channel of each
  // group; [filter and tap][lane] to filters.
  void combine(Index block, Index channel, double* sums, T* grad_weight) const {
    const Index lanes = table_.lanes, rows = row_sums_ / lanes / shape_.group_out();
    const Index count = rows * lanes, group = block * lanes;
    sums += channel * count;
    for (Index part = 1; part < parts_; ++part) {
      for (Index i = 0; i < count; ++i) sums[i] += sums[part * row_sums_ + i];
    }
    for (Index lane = 0; lane < groups_from(group); ++lane) {
      T* const filters = grad_weight + ((group + lane) * shape_.group_out() + channel) * rows;
      for (Index row = 0; row < rows; ++row) {
        filters[row] = static_cast<T>(sums[row * lanes + lane]);
      }
    }
  }

  const Conv2dShape& shape_;
  const TapLattice& lattice_;
  const KernelTable<T>& table_;
  Index lane_blocks_;
  LaneBand band_;
  Index filters_, row_sums_;  // of a group; sums of a block of groups
  Buffer<std::int32_t> places_;
  std::vector<std::vector<Call>> calls_;  // of each block
  Index bands_ = 1, items_ = 1;           // of an item, of a block of groups
  Index parts_ = 1;
};

}  // namespace

template <class T>
void group_lanes_backward_weight(const Conv2dShape& shape, const T* grad_output, const T* input,
                                 T* grad_weight) {
  if (shape.result().size() == 0) {
    std::fill_n(grad_weight, shape.weight_size(), T(0));
    return;
  }
  const TapLattice lattice = TapLattice::forward(shape);
  BackwardWeight<T>(shape, lattice).run(grad_output, input, grad_weight);
}

template void group_lanes_backward_weight(const Conv2dShape&, const float*, const float*, float*);
template void group_lanes_backward_weight(const Conv2dShape&, const double*, const double*,
                                          double*);

}  // namespace convolite
