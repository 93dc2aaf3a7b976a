// Softmax and log-softmax: checks the axis and hands rows or columns to the kernels.
#include <convolite/error.h>
#include <convolite/softmax.h>

#include <cassert>

#include "ops/softmax_tasks.h"
#include "runtime/isa.h"

namespace convolite {
namespace {

template <class T, class Row, class Columns>
void forward(const SoftmaxShape& shape, Row row_kernel, Columns columns_kernel, Span<const T> input,
             Span<T> output) {
  assert(input.size == shape.size() && output.size == shape.size());
  for_each_softmax(
      shape,
      [&](Index i) {
        row_kernel(input.data + i * shape.length, shape.length, output.data + i * shape.length);
      },
      [&](Index i, Index j, const SoftmaxColumns& part) {
        const Index at = i * shape.length * shape.inner + j;
        columns_kernel(part, input.data + at, output.data + at);
      });
}

template <class T, class Row, class Columns>
void backward(const SoftmaxShape& shape, Row row_kernel, Columns columns_kernel,
              Span<const T> grad_output, Span<const T> output, Span<T> grad_input) {
  assert(grad_output.size == shape.size() && output.size == shape.size());
  for_each_softmax(
      shape,
      [&](Index i) {
        const Index at = i * shape.length;
        row_kernel(grad_output.data + at, output.data + at, shape.length, grad_input.data + at);
      },
      [&](Index i, Index j, const SoftmaxColumns& part) {
        const Index at = i * shape.length * shape.inner + j;
        columns_kernel(part, grad_output.data + at, output.data + at, grad_input.data + at);
      });
}

}  // namespace

SoftmaxShape SoftmaxShape::infer(const char* op, const std::vector<Index>& input, Index axis) {
  const Index ndim = static_cast<Index>(input.size());
  if (axis < -ndim || axis >= ndim) {
    fail(op, ": axis ", axis, " is out of range for ", ndim,
         " axes (input.shape = ", shape_text(input), ")");
  }
  const Index place = axis < 0 ? axis + ndim : axis;
  SoftmaxShape shape;
  for (Index i = 0; i < ndim; ++i) {
    Index& size = i < place ? shape.outer : (i == place ? shape.length : shape.inner);
    size = checked_product(op, size, input[static_cast<std::size_t>(i)]);
  }
  return shape;
}

template <class T>
void softmax_forward(const SoftmaxShape& shape, Span<const T> input, Span<T> output) {
  const SoftmaxKernels<T>& table = kernels<T>().softmax;
  forward(shape, table.softmax_row, table.softmax_columns, input, output);
}

template <class T>
void log_softmax_forward(const SoftmaxShape& shape, Span<const T> input, Span<T> output) {
  const SoftmaxKernels<T>& table = kernels<T>().softmax;
  forward(shape, table.log_softmax_row, table.log_softmax_columns, input, output);
}

template <class T>
void softmax_backward(const SoftmaxShape& shape, Span<const T> grad_output, Span<const T> output,
                      Span<T> grad_input) {
  const SoftmaxKernels<T>& table = kernels<T>().softmax;
  backward(shape, table.softmax_backward_row, table.softmax_backward_columns, grad_output, output,
           grad_input);
}

template <class T>
void log_softmax_backward(const SoftmaxShape& shape, Span<const T> grad_output,
                          Span<const T> output, Span<T> grad_input) {
  const SoftmaxKernels<T>& table = kernels<T>().softmax;
  backward(shape, table.log_softmax_backward_row, table.log_softmax_backward_columns, grad_output,
           output, grad_input);
}

#define CONVOLITE_INSTANTIATE(T)                                                              \
  template void softmax_forward(const SoftmaxShape&, Span<const T>, Span<T>);                 \
  template void log_softmax_forward(const SoftmaxShape&, Span<const T>, Span<T>);             \
  template void softmax_backward(const SoftmaxShape&, Span<const T>, Span<const T>, Span<T>); \
  template void log_softmax_backward(const SoftmaxShape&, Span<const T>, Span<const T>, Span<T>);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
