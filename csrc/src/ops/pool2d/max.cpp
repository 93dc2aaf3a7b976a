// Max pooling of whole images: planes are cut into tasks (max_planes.h).
#include <convolite/pool2d.h>

#include <cassert>

#include "ops/plane_sums.h"
#include "ops/pool2d/max_planes.h"
#include "ops/pool2d/tasks.h"
#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {

using namespace pool2d;

namespace {

// Which planes each task owns, and how many workers share them.
struct PlaneTasks {
  Index input_pixels, output_pixels, block;
  Workers workers;

  explicit PlaneTasks(const Pool2dShape& shape)
      : input_pixels(shape.input.pixels()),
        output_pixels(shape.output.h * shape.output.w),
        block(planes_per_task(shape.input)),
        workers{worker_count(ceil_divide(shape.planes(), block),
                             shape.input.size() + shape.output_size())} {}
};

}  // namespace

template <class T, class Offset>
void max_pool2d_forward(const Pool2dShape& shape, Span<const T> input, Activation activation,
                        Span<T> output, Span<Offset> offsets) {
  assert(input.size == shape.input.size() && output.size == shape.output_size());
  assert(offsets.size == shape.output_size());
  assert(shape.byte_offsets() == (sizeof(Offset) == 1));
  const PlaneTasks tasks(shape);
  const MaxForward<T, Offset> pool(shape, activation, tasks.workers.count);
  parallel_blocks(shape.planes(), tasks.block, tasks.workers,
                  [&](Index begin, Index end, int worker) {
                    pool.run(end - begin, input.data + begin * tasks.input_pixels,
                             output.data + begin * tasks.output_pixels,
                             offsets.data + begin * tasks.output_pixels, worker);
                  });
}

template <class T, class Offset>
void max_pool2d_backward(const Pool2dShape& shape, Span<const T> grad_output,
                         Span<const Offset> offsets, Activation activation, Span<const T> output,
                         Span<T> grad_input, Span<T> grad_bias) {
  assert(grad_input.size == shape.input.size() && grad_output.size == shape.output_size());
  assert(offsets.size == shape.output_size());
  assert(activation == Activation::none || output.size == shape.output_size());
  assert(grad_bias.size == 0 || grad_bias.size == shape.input.c);
  const PlaneTasks tasks(shape);
  const MaxBackward<T, Offset> pool(shape, activation, tasks.block, tasks.workers.count);
  const PlaneSums<T> sums(shape.input, grad_bias);
  parallel_blocks(shape.planes(), tasks.block, tasks.workers,
                  [&](Index begin, Index end, int worker) {
                    const Index first = begin * tasks.output_pixels;
                    pool.run(end - begin, grad_output.data + first,
                             output.size != 0 ? output.data + first : nullptr, offsets.data + first,
                             grad_input.data + begin * tasks.input_pixels, worker);
                    if (!sums.wanted()) return;
                    kernels<T>().bias.sum(grad_input.data + begin * tasks.input_pixels, end - begin,
                                          tasks.input_pixels, sums.from(begin));
                  });
  sums.finish();
}

#define CONVOLITE_INSTANTIATE(T, Offset)                                                   \
  template void max_pool2d_forward(const Pool2dShape&, Span<const T>, Activation, Span<T>, \
                                   Span<Offset>);                                          \
  template void max_pool2d_backward(const Pool2dShape&, Span<const T>, Span<const Offset>, \
                                    Activation, Span<const T>, Span<T>, Span<T>);
CONVOLITE_INSTANTIATE(float, std::uint8_t)
CONVOLITE_INSTANTIATE(float, std::int32_t)
CONVOLITE_INSTANTIATE(double, std::uint8_t)
CONVOLITE_INSTANTIATE(double, std::int32_t)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
