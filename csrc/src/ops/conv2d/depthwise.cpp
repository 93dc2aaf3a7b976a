// depthwise_forward and depthwise_backward_input: one driver over a TapLattice.
//
// A unit is one group of one image: one input plane and its result planes, or for backward_input
// the other way round. An item of work is a run of small units, or a band of rows of a large one:
// its source is copied to a padded band in the first cache, and each result plane computed from
// there. Where phases interleave, they are computed side by side and then merged row by row.
//
// Bound by memory traffic for images beyond the cache; within it by loads and stores of the copy as
// much as by arithmetic.
#include "ops/conv2d/depthwise.h"

#include <algorithm>

#include "gemm/epilogue.h"
#include "ops/conv2d/depthwise_band.h"
#include "runtime/buffer.h"
#include "runtime/integers.h"
#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {
namespace {

// Measured on Zen 3 with csrc/benchmarks/bench_conv2d, 2026-11.
constexpr Index kBandBytes = 16 << 10;  // half of the first cache
constexpr Index kWantedTasks = 64;

template <class T>
class DepthwiseConvolution {
 public:
  DepthwiseConvolution(const TapLattice& lattice, HW kernel)
      : lattice_(lattice),
        table_(kernels<T>()),
        band_(lattice, kernel, table_.lanes, sizeof(T)),
        units_(lattice.result.n * lattice.groups),
        filter_size_(lattice.source_channels() * kernel.h * kernel.w) {
    rows_ = band_.rows_within(kBandBytes, lattice.source_channels());
    blocks_ = ceil_divide(lattice.result.h, rows_);
    band_.set_rows(rows_);
    const Index unit_bytes = unit_size() * static_cast<Index>(sizeof(T));
    run_ = blocks_ > 1 ? 1 : std::clamp<Index>(kBandBytes / unit_bytes, 1, units_);
    merges_ = lattice.spacing.h > 1 || lattice.spacing.w > 1;
    if (merges_) lay_out_phases();
    for (std::size_t phase = 0; phase < lattice.phases.size(); ++phase) {
      taps_.push_back(band_.taps(phase, lattice.source_channels()));
    }
  }

  void run(const T* source, const T* weight, const T* bias, Activation activation, T* result) {
    const Job job{source, weight, bias, result, activation};
    const Index items = ceil_divide(units_, run_) * blocks_;
    const Index grain = ceil_divide(items, kWantedTasks);
    const Index tasks = ceil_divide(items, grain);
    const Workers workers{worker_count(tasks, work())};
    const Index band_size = run_ * unit_size();
    const WorkerScratch<T> scratch(workers.count, band_size + phases_size_);
    for (int worker = 0; worker < workers.count; ++worker) {
      std::fill_n(scratch.of(worker), band_size, T(0));
    }
    parallel_for(tasks, workers, [&](Index task, int worker) {
      T* const band = scratch.of(worker);
      const Index end = std::min((task + 1) * grain, items);
      for (Index item = task * grain; item < end; ++item) {
        compute(job, item, band, band + band_size);
      }
    });
  }

 private:
  struct Job {
    const T* source;
    const T* weight;
    const T* bias;
    T* result;
    Activation activation;
  };

  Index unit_size() const { return lattice_.source_channels() * band_.plane_size(); }

  Index work() const {
    Index taps = 0;
    for (const BandTaps& phase : taps_) taps = std::max(taps, phase.count());
    return lattice_.source.size() + lattice_.result.size() +
           multiply_add_work(lattice_.result.size() * taps);
  }

  void lay_out_phases() {
    const Index slack = Index{2} * table_.lanes;
    phase_pitch_ = ceil_divide(lattice_.result.w, lattice_.spacing.w);
    phase_stride_ = ceil_divide(rows_, lattice_.spacing.h) * phase_pitch_ + slack;
    phases_size_ = lattice_.spacing.h * lattice_.spacing.w * phase_stride_;
  }

  void compute(const Job& job, Index item, T* band, T* phases) const {
    const Index unit = item / blocks_ * run_, units = std::min(run_, units_ - unit);
    const Index row = item % blocks_ * rows_, rows = std::min(rows_, lattice_.result.h - row);
    const Index source_plane = lattice_.source.pixels(), result_plane = lattice_.result.pixels();
    const Index sources = lattice_.source_channels(), results = lattice_.result_channels();
    band_.load(job.source + unit * sources * source_plane, job.source + lattice_.source.size(),
               units * sources, source_plane, row, rows, band);
    const Index first = unit * results, planes = units * results;
    T* const end =
        job.result + (first + planes - 1) * result_plane + (row + rows) * lattice_.result.w;
    for (Index i = 0; i < planes; ++i) {
      DepthwiseArguments<T> arguments{};
      set_channel(job, (first + i) % lattice_.result.c, arguments);
      arguments.source = band + i / results * unit_size();
      arguments.result = job.result + (first + i) * result_plane + row * lattice_.result.w;
      arguments.room = end - arguments.result;
      if (merges_) {
        convolve_phases(arguments, rows, phases);
      } else {
        arguments.rows = rows;
        arguments.columns = arguments.result_stride = lattice_.result.w;
        convolve(0, arguments);
      }
    }
  }

  void set_channel(const Job& job, Index channel, DepthwiseArguments<T>& arguments) const {
    GemmTileArguments<T> clamp{};
    set_epilogue<T>(clamp, {nullptr, job.activation}, 0);
    arguments.weight = job.weight + channel * filter_size_;
    arguments.bias = job.bias == nullptr ? T(0) : job.bias[channel];
    arguments.low = clamp.low;
    arguments.high = clamp.high;
    arguments.clamp = clamp.clamp;
  }

  void convolve(std::size_t phase, DepthwiseArguments<T>& arguments) const {
    const BandTaps& taps = taps_[phase];
    arguments.source_stride = band_.source_stride();
    arguments.taps = taps.count();
    arguments.offsets = taps.offsets.data();
    arguments.weights = taps.weights.data();
    const DepthwiseKernels<T>& kernels = table_.depthwise;
    const Index step = lattice_.step.h;
    if (taps.square == 3 && step <= 2) {
      kernels.square_3[step - 1](arguments);
    } else if (taps.square == 5 && step <= 2) {
      kernels.square_5[step - 1](arguments);
    } else {
      kernels.taps(arguments);
    }
  }

  // `given` says where the merged rows go.
  void convolve_phases(const DepthwiseArguments<T>& given, Index rows, T* phases) const {
    const HW spacing = lattice_.spacing;
    for (std::size_t i = 0; i < lattice_.phases.size(); ++i) {
      const Phase& phase = lattice_.phases[i];
      DepthwiseArguments<T> arguments = given;
      arguments.rows = ceil_divide(std::max<Index>(rows - phase.rows.first, 0), spacing.h);
      arguments.columns = phase.columns.count;
      arguments.result =
          phases + (phase.rows.first * spacing.w + phase.columns.first) * phase_stride_;
      arguments.result_stride = phase_pitch_;
      arguments.room = phase_stride_;
      convolve(i, arguments);
    }
    DepthwiseMergeArguments<T> merge{};
    merge.phases = phases;
    merge.row_step = spacing.h;
    merge.row_phase_stride = spacing.w * phase_stride_;
    merge.step = spacing.w;
    merge.phase_stride = phase_stride_;
    merge.pitch = phase_pitch_;
    merge.rows = rows;
    merge.columns = lattice_.result.w;
    merge.result = given.result;
    merge.room = given.room;
    table_.depthwise.merge(merge);
  }

  const TapLattice& lattice_;
  const KernelTable<T>& table_;
  DepthwiseBand band_;
  Index units_, filter_size_;
  Index rows_ = 1, blocks_ = 1;  // result rows of a band, bands of a plane
  Index run_ = 1;                // units of an item
  bool merges_ = false;
  Index phase_pitch_ = 0, phase_stride_ = 0, phases_size_ = 0;
  std::vector<BandTaps> taps_;  // of each phase
};

}  // namespace

const char* depthwise_declines(const Conv2dShape& shape, Pass) {
  if (shape.group_in() != 1) return "output channels sum several input channels";
  if (shape.groups == 1 && shape.out_channels > 1) return "all output channels read one channel";
  return nullptr;
}

template <class T>
void depthwise_forward(const Conv2dShape& shape, const T* input, const T* weight, const T* bias,
                       Activation activation, T* output) {
  if (shape.result().size() == 0) return;
  const TapLattice lattice = TapLattice::forward(shape);
  DepthwiseConvolution<T>(lattice, shape.kernel).run(input, weight, bias, activation, output);
}

template <class T>
void depthwise_backward_input(const Conv2dShape& shape, const T* grad_output, const T* weight,
                              T* grad_input) {
  if (shape.input.size() == 0) return;
  const TapLattice lattice = TapLattice::backward_input(shape);
  DepthwiseConvolution<T>(lattice, shape.kernel)
      .run(grad_output, weight, nullptr, Activation::none, grad_input);
}

#define CONVOLITE_INSTANTIATE(T)                                                                \
  template void depthwise_forward(const Conv2dShape&, const T*, const T*, const T*, Activation, \
                                  T*);                                                          \
  template void depthwise_backward_input(const Conv2dShape&, const T*, const T*, T*);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
