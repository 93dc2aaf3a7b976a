// The gradient of the bias of a linear layer, and what of a gradient passes the fused activation:
// one reading of the gradient for both, block by block within the first cache. The few rows of a
// block are summed in T if they are long enough for vectors, everything else in double; the tasks'
// sums are added in their order.
#include <convolite/linear.h>

#include <algorithm>
#include <cassert>

#include "ops/fused_activation.h"
#include "runtime/buffer.h"
#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {
namespace {

constexpr Index kColumns = 1024;  // of one block: 4 KB of each row of floats
constexpr Index kRows = 5;        // of one block: the first and four more, as sum_rows takes them
constexpr Index kTaskRows = 250;  // of one task
constexpr Index kShortRow = 16;   // shorter rows are not worth a kernel call

// A block of what is summed, its rows `stride` apart.
template <class T>
struct Rows {
  T* data;
  Index stride;
};

// Adds `height` rows to the sums of their columns.
template <class T>
void add_rows(const T* rows, Index stride, Index height, Index width, double* sums) {
  if (width < kShortRow) {
    for (Index i = 0; i < height; ++i) {
      for (Index j = 0; j < width; ++j) sums[j] += static_cast<double>(rows[i * stride + j]);
    }
    return;
  }
  T block_sums[kColumns];
  kernels<T>().reduce.sum_rows(rows, stride, height, width, block_sums);
  for (Index j = 0; j < width; ++j) sums[j] += static_cast<double>(block_sums[j]);
}

// find(first row, rows, first column, columns, worker) gives each block.
template <class T, class Find>
void sum_columns(const LinearShape& shape, Workers workers, const Find& find, Span<T> grad_bias) {
  const Index columns = shape.out_features, across = ceil_divide(columns, kColumns);
  const Index parts = std::max<Index>(1, ceil_divide(shape.batch, kTaskRows));
  const Buffer<double> partials(parts * columns);
  parallel_for(parts * across, workers, [&](Index task, int worker) {
    const Index column = task % across * kColumns, width = std::min(kColumns, columns - column);
    const Index begin = task / across * kTaskRows;
    const Index end = std::min(shape.batch, begin + kTaskRows);
    double* const sums = partials.get() + task / across * columns + column;
    std::fill_n(sums, width, 0.0);
    for (Index row = begin; row < end; row += kRows) {
      const Index height = std::min(kRows, end - row);
      const auto block = find(row, height, column, width, worker);
      add_rows<T>(block.data, block.stride, height, width, sums);
    }
  });
  for (Index part = 1; part < parts; ++part) {
    for (Index j = 0; j < columns; ++j) partials[j] += partials[part * columns + j];
  }
  std::copy_n(partials.get(), columns, grad_bias.data);
}

Workers workers_for(const LinearShape& shape) {
  const Index tasks = ceil_divide(shape.out_features, kColumns) *
                      std::max<Index>(1, ceil_divide(shape.batch, kTaskRows));
  return {worker_count(tasks, shape.output_size())};
}

}  // namespace

template <class T>
void linear_backward_bias(const LinearShape& shape, Span<const T> grad_output, Span<T> grad_bias) {
  assert(grad_output.size == shape.output_size() && grad_bias.size == shape.out_features);
  const Index stride = shape.out_features;
  sum_columns(
      shape, workers_for(shape),
      [&](Index row, Index, Index column, Index, int) {
        return Rows<const T>{grad_output.data + row * stride + column, stride};
      },
      grad_bias);
}

template <class T>
void linear_backward_epilogue(const LinearShape& shape, Activation activation,
                              Span<const T> grad_output, Span<const T> output, Span<T> passed,
                              Span<T> grad_bias) {
  assert(activation != Activation::none);
  assert(grad_output.size == shape.output_size() && output.size == shape.output_size());
  if (grad_bias.size == 0) {
    if (passed.size != 0) fused_activation_backward(activation, grad_output, output, passed);
    return;
  }
  const Index features = shape.out_features;
  const auto gate = fused_activation<T>(activation).backward;
  const Workers workers = workers_for(shape);
  const WorkerScratch<T> scratch(workers.count, passed.size != 0 ? 0 : kRows * kColumns);
  sum_columns(
      shape, workers,
      [&](Index row, Index height, Index column, Index width, int worker) {
        const Index first = row * features + column;
        const Rows<T> block = passed.size != 0 ? Rows<T>{passed.data + first, features}
                                               : Rows<T>{scratch.of(worker), width};
        // Whole rows are one run.
        const Index runs = width == features ? 1 : height, length = height * width / runs;
        for (Index i = 0; i < runs; ++i) {
          gate(grad_output.data + first + i * features, output.data + first + i * features, length,
               T(0), block.data + i * block.stride);
        }
        return block;
      },
      grad_bias);
}

#define CONVOLITE_INSTANTIATE(T)                                                        \
  template void linear_backward_bias(const LinearShape&, Span<const T>, Span<T>);       \
  template void linear_backward_epilogue(const LinearShape&, Activation, Span<const T>, \
                                         Span<const T>, Span<T>, Span<T>);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
