// Convolution with max pooling behind it: a task convolves some images by the method of the plan,
// and pools them while they are in the L2 cache. Each task transforms or packs the filters anew,
// which is in these figures: for 64 images `_core.pooled_conv2d_forward` takes 0.70 of the time of
// its parts for sample1 of cases/conv2d.csv, 0.86 for sample2 and 0.98 for c16_32 (Zen 3, AVX2, two
// threads, 2026-11).
#include <convolite/conv2d.h>
#include <convolite/runtime.h>

#include <algorithm>
#include <cassert>
#include <cstdint>

#include "ops/conv2d/plan.h"
#include "ops/pool2d/max_planes.h"
#include "runtime/buffer.h"
#include "runtime/threads.h"

namespace convolite {
namespace {

constexpr Index kTaskBytes = 256 * 1024;  // of convolved images: half of a usual L2 cache

template <class T>
Index images_per_task(const Conv2dShape& shape) {
  const Index image = shape.out_channels * shape.output.h * shape.output.w;
  return kTaskBytes / static_cast<Index>(sizeof(T)) / image;
}

Conv2dShape with_images(Conv2dShape shape, Index images) {
  shape.input.n = images;
  return shape;
}

}  // namespace

PooledConv2dShape PooledConv2dShape::infer(const Conv2dShape& conv, const PoolWindow& window) {
  return {conv, Pool2dShape::infer("max_pool2d", conv.result(), window)};
}

// Where images are larger, or too few to keep every thread busy, the parts are faster: 5.8 and 6.7
// ms for r64_56, 4.2 and 5.6 for r128_28.
template <class T>
bool pooled_conv2d_is_one_pass(const PooledConv2dShape& shape) {
  const Index block = images_per_task<T>(shape.conv);
  return block > 0 && shape.conv.input.n >= 2 * block * get_num_threads();
}

template <class T, class Offset>
void pooled_conv2d_forward(const PooledConv2dShape& shape, Span<const T> input,
                           Span<const T> weight, const Conv2dEpilogue<T>& epilogue, Span<T> output,
                           Span<Offset> offsets) {
  assert(epilogue.residual.data == nullptr);
  const Conv2dShape& conv = shape.conv;
  const Activation activation = epilogue.activation;
  const Conv2dEpilogue<T> inner{epilogue.bias, Activation::none, epilogue.scale};
  assert(input.size == conv.input.size() && output.size == shape.pool.output_size());
  if (!pooled_conv2d_is_one_pass<T>(shape)) {
    const Index size = conv.result().size();
    const Buffer<T> convolved(size);
    conv2d_forward(conv, input, weight, inner, Span<T>{convolved.get(), size});
    return max_pool2d_forward(shape.pool, Span<const T>{convolved.get(), size}, activation, output,
                              offsets);
  }
  const Index block = images_per_task<T>(conv);
  const Index image = conv.input.c * conv.input.pixels();
  const Index convolved = conv.out_channels * conv.output.h * conv.output.w;
  const Index pooled = conv.out_channels * shape.pool.output.h * shape.pool.output.w;
  const Workers workers{worker_count(ceil_divide(conv.input.n, block), conv.result().size())};
  const auto run_conv = plan_conv2d<T>(conv, Pass::forward).forward;
  const pool2d::MaxForward<T, Offset> pool(shape.pool, activation, workers.count);
  const WorkerScratch<T> scratch(workers.count, block * convolved);
  parallel_blocks(conv.input.n, block, workers, [&](Index begin, Index end, int worker) {
    T* const images = scratch.of(worker);
    run_conv(with_images(conv, end - begin), input.data + begin * image, weight.data, inner,
             images);
    pool.run((end - begin) * conv.out_channels, images, output.data + begin * pooled,
             offsets.data + begin * pooled, worker);
  });
}

template bool pooled_conv2d_is_one_pass<float>(const PooledConv2dShape&);
template bool pooled_conv2d_is_one_pass<double>(const PooledConv2dShape&);

#define CONVOLITE_INSTANTIATE(T, Offset)                                                      \
  template void pooled_conv2d_forward(const PooledConv2dShape&, Span<const T>, Span<const T>, \
                                      const Conv2dEpilogue<T>&, Span<T>, Span<Offset>);
CONVOLITE_INSTANTIATE(float, std::uint8_t)
CONVOLITE_INSTANTIATE(float, std::int32_t)
CONVOLITE_INSTANTIATE(double, std::uint8_t)
CONVOLITE_INSTANTIATE(double, std::int32_t)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
