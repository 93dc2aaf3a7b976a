// depthwise_backward_weight: grad_weight[o, r, s] = sum over images and pixels of
//   grad_output[n, o, y, x] * input[n, c, y * stride + r * dilation - top, ...].
//
// Channels are the lanes (group_lanes.h) where there are enough of them, else pixels of a row: an
// item is a run of small images, or a band of rows of a large one, for one output channel: its
// input is copied to a padded band, and the kernel adds what it gives to sums in double. Items of a
// channel are cut into parts by the shape alone; the parts are added in order.
//
// Bound by loads and stores of the copy as much as by arithmetic.
#include <algorithm>

#include "ops/conv2d/depthwise.h"
#include "ops/conv2d/depthwise_band.h"
#include "ops/conv2d/depthwise_rows.h"
#include "ops/conv2d/group_lanes.h"
#include "runtime/buffer.h"
#include "runtime/integers.h"
#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {
namespace {

constexpr Index kBandBytes = 16 << 10;  // half of the first cache; also what is summed in T
constexpr Index kWantedTasks = 64;
constexpr Index kFewestParts = 4;  // of the images, if there are so many

template <class T>
class BackwardWeight {
 public:
  BackwardWeight(const Conv2dShape& shape, const TapLattice& lattice)
      : shape_(shape), table_(kernels<T>()), band_(lattice, shape.kernel, table_.lanes, sizeof(T)) {
    rows_ = band_.rows_within(kBandBytes, 1);
    band_.set_rows(rows_);
    taps_ = band_.taps(0, 1);
    blocks_ = ceil_divide(shape.output.h, rows_);
    const Index plane_bytes = band_.plane_size() * static_cast<Index>(sizeof(T));
    images_ = blocks_ > 1 ? 1
                          : std::clamp<Index>(kBandBytes / plane_bytes, 1,
                                              std::max<Index>(1, shape.input.n / kFewestParts));
    items_ = ceil_divide(shape.input.n, images_) * blocks_;
    parts_ =
        std::min(items_, std::max(kFewestParts, ceil_divide(kWantedTasks, shape.out_channels)));
  }

  void run(const T* grad_output, const T* input, T* grad_weight) const {
    const Index size = shape_.weight_size();
    const Index grain = ceil_divide(shape_.out_channels * parts_, kWantedTasks);
    const Index runs = ceil_divide(shape_.out_channels, grain), tasks = runs * parts_;
    const Index work =
        shape_.input.size() + shape_.result().size() + multiply_add_work(shape_.multiply_adds());
    const Workers workers{worker_count(tasks, work)};
    const WorkerScratch<T> bands(workers.count, images_ * band_.plane_size());
    for (int worker = 0; worker < workers.count; ++worker) {
      std::fill_n(bands.of(worker), images_ * band_.plane_size(), T(0));
    }
    const Buffer<double> sums(parts_ * size);
    std::fill_n(sums.get(), parts_ * size, 0.0);
    parallel_for(tasks, workers, [&](Index task, int worker) {
      const Index part = task / runs, first = task % runs * grain;
      for (Index o = first; o < std::min(first + grain, shape_.out_channels); ++o) {
        for (Index item = items_ * part / parts_; item < items_ * (part + 1) / parts_; ++item) {
          accumulate(grad_output, input, o, item, bands.of(worker),
                     sums.get() + part * size + o * shape_.taps());
        }
      }
    });
    for (Index i = 0; i < size; ++i) {
      double sum = sums[i];
      for (Index part = 1; part < parts_; ++part) sum += sums[part * size + i];
      grad_weight[i] = static_cast<T>(sum);
    }
  }

 private:
  void accumulate(const T* grad_output, const T* input, Index o, Index item, T* band,
                  double* sums) const {
    const Index image = item / blocks_ * images_;
    const Index images = std::min(images_, shape_.input.n - image);
    const Index row = item % blocks_ * rows_, rows = std::min(rows_, shape_.output.h - row);
    const Index channel = o / shape_.group_out();
    band_.load(table_, input + (image * shape_.input.c + channel) * shape_.input.pixels(),
               input + shape_.input.size(), images, shape_.input.c * shape_.input.pixels(), row,
               rows, band);
    const Nchw result = shape_.result();
    DepthwiseWeightArguments<T> arguments{};
    arguments.source = band;
    arguments.source_stride = band_.source_stride();
    arguments.source_plane_stride = band_.plane_size();
    arguments.grad = grad_output + (image * result.c + o) * result.pixels() + row * result.w;
    arguments.grad_end = grad_output + result.size();
    arguments.grad_plane_stride = result.c * result.pixels();
    arguments.planes = images;
    arguments.rows = rows;
    arguments.columns = result.w;
    arguments.offsets = taps_.offsets.data();
    arguments.sums = sums;
    add_sums(arguments);
  }

  void add_sums(DepthwiseWeightArguments<T>& arguments) const {
    const DepthwiseKernels<T>& kernels = table_.depthwise;
    if (taps_.square == 3 && shape_.stride.h <= 2) {
      kernels.weight_square_3[shape_.stride.h - 1](arguments);
      return;
    }
    const Index taps = taps_.count(), calls = ceil_divide(taps, kMostWeightTaps);
    for (Index call = 0; call < calls; ++call) {
      const Index begin = taps * call / calls, end = taps * (call + 1) / calls;
      DepthwiseWeightArguments<T> share = arguments;
      share.offsets += begin;
      share.sums += begin;
      kernels.weight_taps[end - begin - 1](share);
    }
  }

  const Conv2dShape& shape_;
  const KernelTable<T>& table_;
  DepthwiseBand band_;
  BandTaps taps_;
  Index rows_ = 1, blocks_ = 1;   // output rows of a band, bands of an image
  Index images_ = 1, items_ = 1;  // images of an item, items of a channel
  Index parts_ = 1;
};

}  // namespace

template <class T>
void depthwise_backward_weight(const Conv2dShape& shape, const T* grad_output, const T* input,
                               T* grad_weight) {
  if (shape.result().size() == 0) {
    std::fill_n(grad_weight, shape.weight_size(), T(0));
    return;
  }
  const DepthwiseForm form = depthwise_form<T>(shape, Pass::backward_weight);
  if (form == DepthwiseForm::rows) {
    return depthwise_rows_backward_weight(shape, grad_output, input, grad_weight);
  }
  if (form == DepthwiseForm::channels) {
    return group_lanes_backward_weight(shape, grad_output, input, grad_weight);
  }
  const TapLattice lattice = TapLattice::forward(shape);
  BackwardWeight<T>(shape, lattice).run(grad_output, input, grad_weight);
}

template void depthwise_backward_weight(const Conv2dShape&, const float*, const float*, float*);
template void depthwise_backward_weight(const Conv2dShape&, const double*, const double*, double*);

}  // namespace convolite
