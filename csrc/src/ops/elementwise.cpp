// Cuts elementwise arithmetic into blocks of about kBlock elements; the kernels do the rest.
#include <convolite/elementwise.h>
#include <convolite/error.h>

#include <algorithm>
#include <cassert>

#include "runtime/integers.h"
#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {
namespace {

constexpr Index kBlock =
    1 << 14;  // elements of one task: operands and result (192 KB of floats) stay within L2

template <class T>
using Unary = typename ElementwiseKernels<T>::Unary;
template <class T>
using Binary = typename ElementwiseKernels<T>::Binary;
using Axis = BroadcastShape::Axis;

template <class T>
Unary<T> kernel_of(UnaryOperation operation) {
  const ElementwiseKernels<T>& table = kernels<T>().elementwise;
  switch (operation) {
    case UnaryOperation::negative:
      return table.negative;
    case UnaryOperation::exp:
      return table.exp;
    case UnaryOperation::log:
      return table.log;
    case UnaryOperation::sqrt:
      return table.sqrt;
    case UnaryOperation::abs:
      return table.abs;
    case UnaryOperation::sign:
      return table.sign;
    case UnaryOperation::reciprocal:
      break;
  }
  return table.reciprocal;
}

template <class T>
Binary<T> kernel_of(BinaryOperation operation) {
  const ElementwiseKernels<T>& table = kernels<T>().elementwise;
  switch (operation) {
    case BinaryOperation::add:
      return table.add;
    case BinaryOperation::subtract:
      return table.subtract;
    case BinaryOperation::multiply:
      return table.multiply;
    case BinaryOperation::divide:
      return table.divide;
    case BinaryOperation::power:
      return table.power;
    case BinaryOperation::maximum:
      return table.maximum;
    case BinaryOperation::minimum:
      return table.minimum;
    case BinaryOperation::equal:
      return table.equal;
    case BinaryOperation::power_slope:
      return table.power_slope;
    case BinaryOperation::exponent_slope:
      break;
  }
  return table.exponent_slope;
}

// Appends an axis outside the others, or lengthens the outermost one if the walk goes on as before.
void add_outer_axis(std::vector<Axis>& axes, const Axis& axis) {
  if (!axes.empty()) {
    Axis& inner = axes.back();
    if (axis.a_stride == inner.a_stride * inner.size &&
        axis.b_stride == inner.b_stride * inner.size) {
      inner.size *= axis.size;
      return;
    }
  }
  axes.push_back(axis);
}

struct Offsets {
  Index a = 0, b = 0;
};

// Where row `row` begins: the last `inner` axes are the row itself.
Offsets row_offsets(const std::vector<Axis>& axes, std::size_t inner, Index row) {
  Offsets offsets;
  for (std::size_t i = axes.size() - inner; i-- > 0;) {
    const Index place = row % axes[i].size;
    row /= axes[i].size;
    offsets.a += place * axes[i].a_stride;
    offsets.b += place * axes[i].b_stride;
  }
  return offsets;
}

// An output of at least two axes: the last two are rows and columns, the others planes of them.
template <class T>
void binary_planes(Binary<T> kernel, const BroadcastShape& shape, const T* a, const T* b,
                   T* output) {
  const Axis& columns = shape.axes[shape.axes.size() - 1];
  const Axis& rows = shape.axes[shape.axes.size() - 2];
  const Index planes = shape.size / (rows.size * columns.size);
  const Index rows_per_task = std::min(rows.size, std::max<Index>(1, kBlock / columns.size));
  const Index tasks_per_plane = ceil_divide(rows.size, rows_per_task);
  const Index planes_per_task =
      tasks_per_plane > 1 ? 1 : std::max<Index>(1, kBlock / (rows.size * columns.size));
  const Index plane_groups = ceil_divide(planes, planes_per_task);
  parallel_for(plane_groups * tasks_per_plane, shape.size, [&](Index task, int) {
    const Index group = task / tasks_per_plane;
    const Index first_row = task % tasks_per_plane * rows_per_task;
    const Index last_plane = std::min(planes, (group + 1) * planes_per_task);
    for (Index plane = group * planes_per_task; plane < last_plane; ++plane) {
      const Offsets at = row_offsets(shape.axes, 2, plane);
      kernel({a + at.a + first_row * rows.a_stride, b + at.b + first_row * rows.b_stride,
              columns.a_stride != 0, columns.b_stride != 0, rows.a_stride, rows.b_stride,
              std::min(rows_per_task, rows.size - first_row), columns.size,
              output + (plane * rows.size + first_row) * columns.size});
    }
  });
}

template <class T>
void binary_line(Binary<T> kernel, const BroadcastShape& shape, const T* a, const T* b, T* output) {
  const Axis line = shape.axes.empty() ? Axis{1, 1, 1} : shape.axes.back();
  parallel_blocks(line.size, kBlock, line.size, [&](Index begin, Index end, int) {
    kernel({a + begin * line.a_stride, b + begin * line.b_stride, line.a_stride != 0,
            line.b_stride != 0, 0, 0, 1, end - begin, output + begin});
  });
}

// x^2, x^(1/2) and x^-1, the powers of daily use, need no power function.
template <class T>
bool power_by_simpler_means(const BroadcastShape& shape, Span<const T> a, Span<const T> b,
                            Span<T> output) {
  if (b.size != 1 || a.size != shape.size) return false;
  if (b[0] == T(2)) {
    parallel_blocks(a.size, kBlock, a.size, [&](Index begin, Index end, int) {
      const T* from = a.data + begin;
      kernels<T>().elementwise.multiply(
          {from, from, true, true, 0, 0, 1, end - begin, output.data + begin});
    });
    return true;
  }
  if (b[0] != T(0.5) && b[0] != T(-1)) return false;
  unary(b[0] == T(-1) ? UnaryOperation::reciprocal : UnaryOperation::sqrt, a, output);
  return true;
}

// The derivative of x^2, 2 x.
template <class T>
bool slope_by_simpler_means(const BroadcastShape& shape, Span<const T> a, Span<const T> b,
                            Span<T> output) {
  if (b.size != 1 || a.size != shape.size || b[0] != T(2)) return false;
  parallel_blocks(a.size, kBlock, a.size, [&](Index begin, Index end, int) {
    kernels<T>().elementwise.multiply(
        {a.data + begin, b.data, true, false, 0, 0, 1, end - begin, output.data + begin});
  });
  return true;
}

}  // namespace

BroadcastShape BroadcastShape::infer(const char* op, const std::vector<Index>& a,
                                     const std::vector<Index>& b) {
  const std::size_t ndim = std::max(a.size(), b.size());
  BroadcastShape shape;
  shape.output.resize(ndim);
  Index a_size = 1, b_size = 1;
  for (std::size_t i = 1; i <= ndim; ++i) {  // from the last axis
    const Index a_extent = i <= a.size() ? a[a.size() - i] : 1;
    const Index b_extent = i <= b.size() ? b[b.size() - i] : 1;
    if (a_extent != b_extent && a_extent != 1 && b_extent != 1) {
      fail(op, ": shapes do not broadcast, axis -", i, " is ", a_extent, " in a but ", b_extent,
           " in b (a.shape = ", shape_text(a), ", b.shape = ", shape_text(b), ")");
    }
    const Index extent = a_extent == 1 ? b_extent : a_extent;
    shape.output[ndim - i] = extent;
    shape.size = checked_product(op, shape.size, extent);
    if (extent != 1) {
      add_outer_axis(shape.axes, {extent, a_extent == 1 ? 0 : a_size, b_extent == 1 ? 0 : b_size});
    }
    a_size *= a_extent;
    b_size *= b_extent;
  }
  std::reverse(shape.axes.begin(), shape.axes.end());
  return shape;
}

template <class T>
void unary(UnaryOperation operation, Span<const T> input, Span<T> output) {
  assert(input.size == output.size);
  const Unary<T> kernel = kernel_of<T>(operation);
  parallel_blocks(input.size, kBlock, input.size, [&](Index begin, Index end, int) {
    kernel(input.data + begin, end - begin, output.data + begin);
  });
}

template <class T>
void binary(BinaryOperation operation, const BroadcastShape& shape, Span<const T> a,
            Span<const T> b, Span<T> output) {
  assert(output.size == shape.size);
  if (shape.size == 0) return;
  if (operation == BinaryOperation::power && power_by_simpler_means(shape, a, b, output)) return;
  if (operation == BinaryOperation::power_slope && slope_by_simpler_means(shape, a, b, output)) {
    return;
  }
  const Binary<T> kernel = kernel_of<T>(operation);
  if (shape.axes.size() < 2) {
    binary_line(kernel, shape, a.data, b.data, output.data);
  } else {
    binary_planes(kernel, shape, a.data, b.data, output.data);
  }
}

#define CONVOLITE_INSTANTIATE(T)                                                             \
  template void unary(UnaryOperation, Span<const T>, Span<T>);                               \
  template void binary(BinaryOperation, const BroadcastShape&, Span<const T>, Span<const T>, \
                       Span<T>);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
