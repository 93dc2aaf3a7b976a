// depthwise_forward and depthwise_backward_input: a choice of three (depthwise.h), of which the
// last, one driver over a TapLattice that copies planes to a band, stands here.
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

#include "ops/conv2d/depthwise_band.h"
#include "ops/conv2d/depthwise_rows.h"
#include "ops/conv2d/epilogue.h"
#include "ops/conv2d/group_lanes.h"
#include "runtime/buffer.h"
#include "runtime/integers.h"
#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {
namespace {

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
        grid_{std::min(lattice.spacing.h, lattice.result.h),
              std::min(lattice.spacing.w, lattice.result.w)},
        filter_size_(lattice.source_channels() * kernel.h * kernel.w) {
    rows_ = band_.rows_within(kBandBytes, lattice.source_channels());
    blocks_ = ceil_divide(lattice.result.h, rows_);
    band_.set_rows(rows_);
    const Index unit_bytes = unit_size() * static_cast<Index>(sizeof(T));
    run_ = blocks_ > 1 ? 1 : std::clamp<Index>(kBandBytes / unit_bytes, 1, units_);
    prepare_taps();
  }

  void run(const T* source, const T* weight, const Conv2dEpilogue<T>& epilogue, T* result) {
    const Job job{source, weight, epilogue, result};
    const Index items = ceil_divide(units_, run_) * blocks_;
    const Index grain = ceil_divide(items, kWantedTasks);
    const Index tasks = ceil_divide(items, grain);
    const Workers workers{worker_count(tasks, work())};
    const Index band_size = run_ * unit_size();
    const WorkerScratch<T> scratch(workers.count, band_size);
    for (int worker = 0; worker < workers.count; ++worker) {
      std::fill_n(scratch.of(worker), band_size, T(0));
    }
    parallel_for(tasks, workers, [&](Index task, int worker) {
      T* const band = scratch.of(worker);
      const Index end = std::min((task + 1) * grain, items);
      for (Index item = task * grain; item < end; ++item) {
        compute(job, item, band);
      }
    });
  }

 private:
  struct Job {
    const T* source;
    const T* weight;
    const Conv2dEpilogue<T>& epilogue;
    T* result;
  };

  Index unit_size() const { return lattice_.source_channels() * band_.plane_size(); }

  Index work() const {
    Index taps = 0;
    for (const BandTaps& phase : taps_) taps = std::max(taps, phase.count());
    return lattice_.source.size() + lattice_.result.size() +
           multiply_add_work(lattice_.result.size() * taps);
  }

  void prepare_taps() {
    phases_.resize(static_cast<std::size_t>(grid_.h * grid_.w), DepthwiseTaps{});
    taps_.reserve(lattice_.phases.size());
    for (std::size_t i = 0; i < lattice_.phases.size(); ++i) {
      const Phase& phase = lattice_.phases[i];
      taps_.push_back(band_.taps(i, lattice_.source_channels()));
      const BandTaps& taps = taps_.back();
      phases_[static_cast<std::size_t>(phase.rows.first * grid_.w + phase.columns.first)] = {
          taps.count(), taps.offsets.data(), taps.weights.data()};
    }
    kernel_ = choose_kernel();
  }

  typename DepthwiseKernels<T>::Convolve choose_kernel() const {
    const DepthwiseKernels<T>& kernels = table_.depthwise;
    if (grid_.w == 2) return kernels.two_column_phases;
    if (phases_.size() > 1) return kernels.any_phases;
    const Index step = lattice_.step.h, square = taps_[0].square;
    if (square == 3 && step <= 2) return kernels.square_3[step - 1];
    if (square == 5 && step <= 2) return kernels.square_5[step - 1];
    return kernels.one_phase;
  }

  void compute(const Job& job, Index item, T* band) const {
    const Index unit = item / blocks_ * run_, units = std::min(run_, units_ - unit);
    const Index row = item % blocks_ * rows_, rows = std::min(rows_, lattice_.result.h - row);
    const Index source_plane = lattice_.source.pixels(), result_plane = lattice_.result.pixels();
    const Index sources = lattice_.source_channels(), results = lattice_.result_channels();
    band_.load(table_, job.source + unit * sources * source_plane,
               job.source + lattice_.source.size(), units * sources, source_plane, row, rows, band);
    const Index first = unit * results, planes = units * results;
    // Rows may be stored past their end into what this task computes later: the following planes,
    // if they are whole.
    const Index whole = blocks_ == 1 ? planes : 1;
    DepthwiseArguments<T> arguments = shared_arguments(job.epilogue.activation);
    const T *const bias = job.epilogue.bias.data, *const residual = job.epilogue.residual.data;
    arguments.rows = rows;
    for (Index i = 0; i < planes; i += arguments.planes) {
      const Index channel = (first + i) % lattice_.result.c;
      // Planes of one call have sources and filters of their own.
      arguments.planes = results > 1 ? 1 : std::min(planes - i, lattice_.result.c - channel);
      arguments.weight = job.weight + channel * filter_size_;
      arguments.bias = bias == nullptr ? nullptr : bias + channel;
      arguments.source = band + i / results * unit_size();
      const Index at = (first + i) * result_plane + row * lattice_.result.w;
      arguments.residual = residual == nullptr ? nullptr : residual + at;
      arguments.result = job.result + at;
      arguments.room = std::max<Index>(whole - 1 - i, 0) * result_plane + rows * lattice_.result.w;
      kernel_(arguments);
    }
  }

  DepthwiseArguments<T> shared_arguments(Activation activation) const {
    DepthwiseArguments<T> arguments{};
    set_clamp(arguments, activation);
    arguments.source_stride = band_.source_stride();
    arguments.source_plane_stride = unit_size();
    arguments.phases = phases_.data();
    arguments.row_phases = grid_.h;
    arguments.column_phases = grid_.w;
    arguments.filter_size = filter_size_;
    arguments.columns = lattice_.result.w;
    return arguments;
  }

  const TapLattice& lattice_;
  const KernelTable<T>& table_;
  DepthwiseBand band_;
  Index units_;
  HW grid_;  // phases that have pixels
  Index filter_size_;
  Index rows_ = 1, blocks_ = 1;        // result rows of a band, bands of a plane
  Index run_ = 1;                      // units of an item
  std::vector<BandTaps> taps_;         // of lattice_.phases
  std::vector<DepthwiseTaps> phases_;  // [row][column] of the grid
  typename DepthwiseKernels<T>::Convolve kernel_ = nullptr;
};

}  // namespace

const char* depthwise_declines(const Conv2dShape& shape, Pass) {
  if (shape.group_in() != 1) return "output channels sum several input channels";
  if (shape.groups == 1 && shape.out_channels > 1) return "all output channels read one channel";
  return nullptr;
}

template <class T>
DepthwiseForm depthwise_form(const Conv2dShape& shape, Pass pass) {
  if (depthwise_rows_fit<T>(shape, pass)) return DepthwiseForm::rows;
  if (group_lanes_decline<T>(shape, pass) == nullptr) return DepthwiseForm::channels;
  return DepthwiseForm::band;
}

template <class T>
const char* depthwise_form_in_words(const Conv2dShape& shape, Pass pass) {
  switch (depthwise_form<T>(shape, pass)) {
    case DepthwiseForm::rows:
      return "pixels as lanes, rows read where they lie";
    case DepthwiseForm::channels:
      return "channels as lanes";
    case DepthwiseForm::band:
      return "pixels as lanes, planes copied to a padded band";
  }
  return nullptr;
}

template <class T>
void depthwise_forward(const Conv2dShape& shape, const T* input, const T* weight,
                       const Conv2dEpilogue<T>& epilogue, T* output) {
  if (shape.result().size() == 0) return;
  const DepthwiseForm form = depthwise_form<T>(shape, Pass::forward);
  if (form == DepthwiseForm::rows) {
    return depthwise_rows_forward(shape, input, weight, epilogue, output);
  }
  if (form == DepthwiseForm::channels) {
    return group_lanes_forward(shape, input, weight, epilogue, output);
  }
  const TapLattice lattice = TapLattice::forward(shape);
  const ScaledFilters<T> filters(kernels<T>(), weight, shape.taps(), epilogue.scale.data);
  const Buffer<T> scaled(filters.scratch_size(shape.weight_size()));
  const T* const ready = filters.rows(0, shape.out_channels, 0, shape.taps(), scaled.get()).data;
  DepthwiseConvolution<T>(lattice, shape.kernel).run(input, ready, epilogue, output);
}

template <class T>
void depthwise_backward_input(const Conv2dShape& shape, const T* grad_output, const T* weight,
                              T* grad_input) {
  if (shape.input.size() == 0) return;
  const DepthwiseForm form = depthwise_form<T>(shape, Pass::backward_input);
  if (form == DepthwiseForm::rows) {
    return depthwise_rows_backward_input(shape, grad_output, weight, grad_input);
  }
  if (form == DepthwiseForm::channels) {
    return group_lanes_backward_input(shape, grad_output, weight, grad_input);
  }
  const TapLattice lattice = TapLattice::backward_input(shape);
  DepthwiseConvolution<T>(lattice, shape.kernel).run(grad_output, weight, {}, grad_input);
}

#define CONVOLITE_INSTANTIATE(T)                                             \
  template DepthwiseForm depthwise_form<T>(const Conv2dShape&, Pass);        \
  template const char* depthwise_form_in_words<T>(const Conv2dShape&, Pass); \
  template void depthwise_forward(const Conv2dShape&, const T*, const T*,    \
                                  const Conv2dEpilogue<T>&, T*);             \
  template void depthwise_backward_input(const Conv2dShape&, const T*, const T*, T*);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
