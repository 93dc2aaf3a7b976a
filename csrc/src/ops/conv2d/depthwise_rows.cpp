// A task computes some planes of one image, or a band of rows of a large one. The gradient of the
// input is the same with the filters turned by half a circle.
//
// Bound by memory traffic, which is one pass over the source and one over the result.
#include "ops/conv2d/depthwise_rows.h"

#include <algorithm>

#include "ops/conv2d/epilogue.h"
#include "runtime/buffer.h"
#include "runtime/integers.h"
#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {
namespace {

constexpr Index kWantedTasks = 64;
constexpr Index kRowStep = 4;  // bands begin where the kernel begins a block of rows
constexpr Index kTaps = 9;
// Below, filters' gradients of 112x112 pixels run at 0.8 of channels as lanes (AVX2, Zen 5, one
// thread, csrc/benchmarks/bench_conv2d, 2026-11).
constexpr Index kManyLanes = 16;
constexpr Index kSummedPixels = 4096;  // in T, before they are added in double
constexpr Index kSummedChannels = 8;   // of a task: their planes are one run of memory
constexpr Index kFewestChannels = 16;  // in the filters' gradient
constexpr Index kParts = 4;            // of the images in the filters' gradient, summed apart

template <class T>
struct RowsProblem {
  Nchw source, result;
  Index step;
  const T* input;
  const T* weight;
  const T* bias;
  const T* residual;
  Activation activation;
  T* output;
};

template <class T>
void convolve_rows(const RowsProblem<T>& p) {
  const KernelTable<T>& table = kernels<T>();
  const Index channels = p.result.c, planes = p.result.n * channels;
  const Index bands = std::clamp<Index>(kWantedTasks / std::max<Index>(planes, 1), 1,
                                        ceil_divide(p.result.h, kRowStep));
  const Index rows = round_up(ceil_divide(p.result.h, bands), kRowStep);
  const Index blocks = ceil_divide(p.result.h, rows);
  // Of consecutive channels of one image.
  const Index grain = std::min(ceil_divide(planes, kWantedTasks), channels);
  const Index runs = ceil_divide(channels, grain);
  const Index work = p.source.size() + p.result.size() + multiply_add_work(p.result.size() * kTaps);
  const Buffer<T> zeros(p.source.w);
  std::fill_n(zeros.get(), p.source.w, T(0));
  parallel_for(p.result.n * runs * blocks, work, [&](Index task, int) {
    const Index block = task % blocks, run = task / blocks % runs, image = task / blocks / runs;
    const Index channel = run * grain, first = image * channels + channel;
    DepthwiseRowsArguments<T> a{};
    set_clamp(a, p.activation);
    a.planes = std::min(grain, channels - channel);
    a.source = p.input + first * p.source.pixels();
    a.height = p.source.h;
    a.width = p.source.w;
    a.zeros = zeros.get();
    a.weight = p.weight + channel * kTaps;
    a.bias = p.bias == nullptr ? nullptr : p.bias + channel;
    a.residual = p.residual == nullptr ? nullptr : p.residual + first * p.result.pixels();
    a.result = p.output + first * p.result.pixels();
    a.height_out = p.result.h;
    a.columns = p.result.w;
    a.row_begin = block * rows;
    a.row_end = std::min(a.row_begin + rows, p.result.h);
    table.depthwise_rows.convolve[p.step - 1](a);
  });
}

// Filters of `channels`, each turned by half a circle.
template <class T>
Buffer<T> turned(const T* weight, Index channels) {
  Buffer<T> result(channels * kTaps);
  for (Index i = 0; i < channels; ++i) {
    std::reverse_copy(weight + i * kTaps, weight + (i + 1) * kTaps, result.get() + i * kTaps);
  }
  return result;
}

}  // namespace

template <class T>
bool depthwise_rows_fit(const Conv2dShape& shape, Pass pass) {
  const Padding& padding = shape.padding;
  const bool plain = shape.group_in() == 1 && shape.group_out() == 1 && shape.kernel.h == 3 &&
                     shape.kernel.w == 3 && shape.dilation.h == 1 && shape.dilation.w == 1 &&
                     padding.top == 1 && padding.bottom == 1 && padding.left == 1 &&
                     padding.right == 1 && shape.stride.h == shape.stride.w;
  if (!plain || shape.result().size() == 0) return false;
  const Index lanes = kernels<T>().lanes, step = shape.stride.h;
  if (shape.output.w < lanes) return false;
  if (pass == Pass::backward_weight &&
      (shape.groups < kFewestChannels ||
       (lanes < kManyLanes && shape.input.pixels() > kSummedPixels))) {
    return false;
  }
  return step == 1 ||
         (step == 2 && pass != Pass::backward_input && shape.input.w == 2 * shape.output.w);
}

template <class T>
void depthwise_rows_forward(const Conv2dShape& shape, const T* input, const T* weight,
                            const Conv2dEpilogue<T>& epilogue, T* output) {
  const ScaledFilters<T> filters(kernels<T>(), weight, kTaps, epilogue.scale.data);
  const Buffer<T> scaled(filters.scratch_size(shape.weight_size()));
  const T* const ready = filters.rows(0, shape.out_channels, 0, kTaps, scaled.get()).data;
  convolve_rows<T>({shape.input, shape.result(), shape.stride.h, input, ready, epilogue.bias.data,
                    epilogue.residual.data, epilogue.activation, output});
}

template <class T>
void depthwise_rows_backward_input(const Conv2dShape& shape, const T* grad_output, const T* weight,
                                   T* grad_input) {
  const Buffer<T> filters = turned(weight, shape.out_channels);
  convolve_rows<T>({shape.result(), shape.input, 1, grad_output, filters.get(), nullptr, nullptr,
                    Activation::none, grad_input});
}

template <class T>
void depthwise_rows_backward_weight(const Conv2dShape& shape, const T* grad_output, const T* input,
                                    T* grad_weight) {
  const KernelTable<T>& table = kernels<T>();
  const Nchw source = shape.input, result = shape.result();
  const Index images = std::max<Index>(1, kSummedPixels / result.pixels());
  const Index rows =
      std::max(kRowStep, std::min(result.h, kSummedPixels / result.w) / kRowStep * kRowStep);
  const Index work = source.size() + result.size() + multiply_add_work(shape.multiply_adds());
  const Buffer<T> zeros(source.w);
  std::fill_n(zeros.get(), source.w, T(0));
  const Index parts = std::min(kParts, result.n), runs = ceil_divide(result.c, kSummedChannels);
  const Buffer<double> partial(parts * shape.weight_size());
  parallel_for(parts * runs, work, [&](Index task, int) {
    const Index part = task / runs, begin = task % runs * kSummedChannels;
    const Index end = std::min(begin + kSummedChannels, result.c);
    const Index last_image = result.n * (part + 1) / parts;
    double* const sums = partial.get() + part * shape.weight_size() + begin * kTaps;
    std::fill_n(sums, (end - begin) * kTaps, 0.0);
    DepthwiseRowsWeightArguments<T> a{};
    a.height = source.h;
    a.width = source.w;
    a.source_plane_stride = source.c * source.pixels();
    a.zeros = zeros.get();
    a.grad_plane_stride = result.c * result.pixels();
    a.columns = result.w;
    for (Index image = result.n * part / parts; image < last_image; image += images) {
      a.planes = std::min(images, last_image - image);
      for (Index channel = begin; channel < end; ++channel) {
        a.source = input + (image * source.c + channel) * source.pixels();
        a.grad = grad_output + (image * result.c + channel) * result.pixels();
        a.sums = sums + (channel - begin) * kTaps;
        for (a.row_begin = 0; a.row_begin < result.h; a.row_begin = a.row_end) {
          a.row_end = std::min(a.row_begin + rows, result.h);
          table.depthwise_rows.weight_sums[shape.stride.h - 1](a);
        }
      }
    }
  });
  for (Index i = 0; i < shape.weight_size(); ++i) {
    double sum = partial[i];
    for (Index part = 1; part < parts; ++part) sum += partial[part * shape.weight_size() + i];
    grad_weight[i] = static_cast<T>(sum);
  }
}

#define CONVOLITE_INSTANTIATE(T)                                                           \
  template bool depthwise_rows_fit<T>(const Conv2dShape&, Pass);                           \
  template void depthwise_rows_forward(const Conv2dShape&, const T*, const T*,             \
                                       const Conv2dEpilogue<T>&, T*);                      \
  template void depthwise_rows_backward_input(const Conv2dShape&, const T*, const T*, T*); \
  template void depthwise_rows_backward_weight(const Conv2dShape&, const T*, const T*, T*);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
