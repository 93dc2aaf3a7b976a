// Reductions in two steps: tasks of about kBlock elements each leave a partial result in double,
// then the partials of each output are combined in order. If the innermost axis is reduced, a
// kernel combines contiguous runs; if it is kept, rows are combined column by column.
#include <convolite/error.h>
#include <convolite/reduce.h>

#include <algorithm>
#include <cassert>

#include "runtime/buffer.h"
#include "runtime/integers.h"
#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {
namespace {

using Axis = ReduceShape::Axis;
using Axes = std::vector<Axis>;

constexpr Index kBlock = 1 << 14;    // elements of one task
constexpr Index kColumns = 1 << 11;  // columns of one task: sums and partials stay in L1
constexpr Index kRows = 64;          // rows summed in T before they are added in double

// Place of element `index` of the axes, counted in their order.
Index offset_of(const Axis* axes, std::size_t ndim, Index index) {
  Index offset = 0;
  while (ndim-- > 0) {
    offset += index % axes[ndim].size * axes[ndim].stride;
    index /= axes[ndim].size;
  }
  return offset;
}

double identity_of(Reduction reduction) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (reduction == Reduction::maximum) return -infinity;
  return reduction == Reduction::minimum ? infinity : 0.0;
}

double combine(Reduction reduction, double a, double b) {
  if (reduction == Reduction::maximum) return a >= b || a != a ? a : b;
  if (reduction == Reduction::minimum) return a <= b || a != a ? a : b;
  return a + b;
}

template <class T>
double combine_run(Reduction reduction, const T* input, Index count) {
  const ReduceKernels<T>& table = kernels<T>().reduce;
  if (reduction == Reduction::maximum) return static_cast<double>(table.maximum(input, count));
  if (reduction == Reduction::minimum) return static_cast<double>(table.minimum(input, count));
  return table.sum(input, count);
}

template <class T>
typename ReduceKernels<T>::Rows rows_kernel(Reduction reduction) {
  const ReduceKernels<T>& table = kernels<T>().reduce;
  if (reduction == Reduction::maximum) return table.maximum_rows;
  return reduction == Reduction::minimum ? table.minimum_rows : table.sum_rows;
}

bool innermost_is_reduced(const ReduceShape& shape) {
  return shape.kept.empty() || shape.reduced.back().stride < shape.kept.back().stride;
}

// Cut of the innermost axis into pieces, of the pieces into chunks, one chunk for each task.
struct Cut {
  Index pieces;  // of the innermost reduced axis
  Index units;   // pieces times places of the outer reduced axes
  Index units_per_chunk;
  Index chunks;

  Cut(Index inner_size, Index piece, Index piece_elements, Index outer_places) {
    pieces = ceil_divide(inner_size, piece);
    units = pieces * outer_places;
    units_per_chunk = std::max<Index>(1, kBlock / std::max<Index>(1, piece_elements));
    chunks = std::max<Index>(1, ceil_divide(units, units_per_chunk));
  }
};

// The innermost axis is reduced. partials (chunks, output_size).
template <class T>
void reduce_runs(Reduction reduction, const ReduceShape& shape, const Cut& cut, const T* input,
                 double* partials) {
  const Index length = shape.reduced.back().size;
  const std::size_t outer_axes = shape.reduced.size() - 1;
  const Index outputs_per_task =
      cut.chunks > 1 ? 1 : std::max<Index>(1, kBlock / std::max<Index>(1, shape.count));
  const Index groups = ceil_divide(shape.output_size, outputs_per_task);
  parallel_for(groups * cut.chunks, shape.output_size * shape.count, [&](Index task, int) {
    const Index chunk = task % cut.chunks;
    const Index first = task / cut.chunks * outputs_per_task;
    const Index last = std::min(shape.output_size, first + outputs_per_task);
    const Index last_unit = std::min(cut.units, (chunk + 1) * cut.units_per_chunk);
    for (Index i = first; i < last; ++i) {
      const T* from = input + offset_of(shape.kept.data(), shape.kept.size(), i);
      double result = identity_of(reduction);
      for (Index unit = chunk * cut.units_per_chunk; unit < last_unit; ++unit) {
        const Index begin = unit % cut.pieces * kBlock;
        const T* run = from + offset_of(shape.reduced.data(), outer_axes, unit / cut.pieces);
        result = combine(reduction, result,
                         combine_run(reduction, run + begin, std::min(kBlock, length - begin)));
      }
      partials[chunk * shape.output_size + i] = result;
    }
  });
}

// The innermost axis is kept. partials (chunks, output_size).
template <class T>
void reduce_rows(Reduction reduction, const ReduceShape& shape, const Cut& cut, const T* input,
                 double* partials) {
  const auto kernel = rows_kernel<T>(reduction);
  const Axis rows = shape.reduced.back();
  const Index columns = shape.kept.back().size;
  const Index column_pieces = ceil_divide(columns, kColumns);
  const Index outer = shape.output_size / columns;
  parallel_for(
      outer * column_pieces * cut.chunks, shape.output_size * shape.count, [&](Index task, int) {
        const Index chunk = task % cut.chunks;
        const Index begin = task / cut.chunks % column_pieces * kColumns;
        const Index place = task / cut.chunks / column_pieces;
        const Index width = std::min(kColumns, columns - begin);
        const T* from = input + begin + offset_of(shape.kept.data(), shape.kept.size() - 1, place);
        double* result = partials + chunk * shape.output_size + place * columns + begin;
        T sum[kColumns];
        std::fill(result, result + width, identity_of(reduction));
        const Index last_unit = std::min(cut.units, (chunk + 1) * cut.units_per_chunk);
        for (Index unit = chunk * cut.units_per_chunk; unit < last_unit; ++unit) {
          const Index row = unit % cut.pieces * kRows;
          const Index at =
              offset_of(shape.reduced.data(), shape.reduced.size() - 1, unit / cut.pieces);
          kernel(from + at + row * rows.stride, rows.stride, std::min(kRows, rows.size - row),
                 width, sum);
          for (Index j = 0; j < width; ++j) {
            result[j] = combine(reduction, result[j], static_cast<double>(sum[j]));
          }
        }
      });
}

void add_outer_axis(Axes& axes, const Axis& axis) {
  if (!axes.empty() && axis.stride == axes.back().stride * axes.back().size) {
    axes.back().size *= axis.size;
  } else {
    axes.push_back(axis);
  }
}

std::vector<bool> marked_axes(const char* op, const std::vector<Index>& input,
                              const std::vector<Index>& axes) {
  const Index ndim = static_cast<Index>(input.size());
  std::vector<bool> marked(input.size(), false);
  for (const Index axis : axes) {
    if (axis < -ndim || axis >= ndim) {
      fail(op, ": axis ", axis, " is out of range for ", ndim,
           " axes (a.shape = ", shape_text(input), ")");
    }
    const std::size_t place = static_cast<std::size_t>(axis < 0 ? axis + ndim : axis);
    if (marked[place]) fail(op, ": axes must differ, got ", shape_text(axes));
    marked[place] = true;
  }
  return marked;
}

}  // namespace

ReduceShape ReduceShape::infer(const char* op, Reduction reduction, const std::vector<Index>& input,
                               const std::vector<Index>& axes, bool keepdims) {
  const std::vector<bool> marked = marked_axes(op, input, axes);
  ReduceShape shape;
  Index stride = 1;
  for (std::size_t i = input.size(); i-- > 0;) {
    Index& size = marked[i] ? shape.count : shape.output_size;
    size = checked_product(op, size, input[i]);
    if (!marked[i] || keepdims) shape.output.push_back(marked[i] ? 1 : input[i]);
    if (input[i] != 1) add_outer_axis(marked[i] ? shape.reduced : shape.kept, {input[i], stride});
    stride = checked_product(op, stride, input[i]);
  }
  for (auto* reversed : {&shape.reduced, &shape.kept}) {
    std::reverse(reversed->begin(), reversed->end());
  }
  std::reverse(shape.output.begin(), shape.output.end());
  const bool extremum = reduction == Reduction::maximum || reduction == Reduction::minimum;
  if (extremum && shape.count == 0 && shape.output_size > 0) {
    fail(op, ": a must have elements along the axes, got a.shape = ", shape_text(input),
         ", axes = ", shape_text(axes));
  }
  if (shape.reduced.empty()) shape.reduced.push_back({1, 1});
  return shape;
}

template <class T>
void reduce(Reduction reduction, const ReduceShape& shape, Span<const T> input, Span<T> output) {
  assert(input.size == shape.output_size * shape.count && output.size == shape.output_size);
  if (output.size == 0) return;
  const Axis inner = shape.reduced.back();
  const bool runs = innermost_is_reduced(shape);
  const Index outer_places = inner.size == 0 ? 0 : shape.count / inner.size;
  const Index columns = runs ? 1 : std::min(kColumns, shape.kept.back().size);
  const Index piece = runs ? kBlock : kRows;
  const Cut cut(inner.size, piece, std::min(piece, inner.size) * columns, outer_places);
  const Buffer<double> partials(cut.chunks * shape.output_size);
  if (runs) {
    reduce_runs(reduction, shape, cut, input.data, partials.get());
  } else {
    reduce_rows(reduction, shape, cut, input.data, partials.get());
  }
  const double divisor = reduction == Reduction::mean ? static_cast<double>(shape.count) : 1.0;
  parallel_blocks(output.size, kColumns, cut.chunks * output.size,
                  [&](Index begin, Index end, int) {
                    for (Index i = begin; i < end; ++i) {
                      double result = partials[i];
                      for (Index chunk = 1; chunk < cut.chunks; ++chunk) {
                        result = combine(reduction, result, partials[chunk * output.size + i]);
                      }
                      output[i] = static_cast<T>(result / divisor);
                    }
                  });
}

// Rows of grad_input in parallel: repetitions of one value if the innermost axis was reduced,
// copies of a row if it was kept. Bound by memory.
template <class T>
void reduce_backward(Reduction reduction, const ReduceShape& shape, Span<const T> grad_output,
                     Span<T> grad_input) {
  assert(grad_input.size == shape.output_size * shape.count);
  if (grad_input.size == 0) return;
  const bool repeats = innermost_is_reduced(shape);
  const Index length = repeats ? shape.reduced.back().size : shape.kept.back().size;
  const Index places = repeats ? shape.output_size : shape.output_size / length;
  const Index units = grad_input.size / (places * length);
  const std::size_t outer_kept = shape.kept.size() - (repeats ? 0 : 1);
  const std::size_t outer_reduced = shape.reduced.size() - (repeats ? 1 : 0);
  const T divisor = static_cast<T>(reduction == Reduction::mean ? shape.count : 1);
  const Index rows_per_task = std::max<Index>(1, kBlock / length);
  parallel_blocks(places * units, rows_per_task, grad_input.size, [&](Index begin, Index end, int) {
    for (Index row = begin; row < end; ++row) {
      const Index place = row / units;
      T* to = grad_input.data + offset_of(shape.kept.data(), outer_kept, place) +
              offset_of(shape.reduced.data(), outer_reduced, row % units);
      if (repeats) {
        std::fill_n(to, length, grad_output[place] / divisor);
      } else {
        const T* from = grad_output.data + place * length;
        std::transform(from, from + length, to, [=](T value) { return value / divisor; });
      }
    }
  });
}

#define CONVOLITE_INSTANTIATE(T)                                               \
  template void reduce(Reduction, const ReduceShape&, Span<const T>, Span<T>); \
  template void reduce_backward(Reduction, const ReduceShape&, Span<const T>, Span<T>);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
