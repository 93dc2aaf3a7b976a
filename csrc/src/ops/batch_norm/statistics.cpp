// Mean and variance of a batch in one pass over memory: blocks are summed about a value of their
// own data, which leaves nothing to cancel, then combined in double and in index order.
#include "ops/batch_norm/statistics.h"

#include <convolite/error.h>

#include <cmath>

#include "runtime/isa.h"

namespace convolite::batch_norm {
namespace {

// One block's values of one column: about `centre`, a value near the data, their mean is `shift`;
// `squares` is the sum of squared deviations from that mean.
struct Part {
  double centre, shift, squares;
};

class Parts {
 public:
  explicit Parts(const View& view) : numbers_(view) {}
  void set(Index group, Index column, const Part& part) const {
    numbers_.of(group, 0)[column] = part.centre;
    numbers_.of(group, 1)[column] = part.shift;
    numbers_.of(group, 2)[column] = part.squares;
  }
  Part get(Index group, Index column) const {
    return {numbers_.of(group, 0)[column], numbers_.of(group, 1)[column],
            numbers_.of(group, 2)[column]};
  }

 private:
  Partials<3> numbers_;
};

// Any value near the data will do, but an infinite one would spoil the mean.
template <class T>
T finite_centre(double sum, Index count) {
  const T centre = static_cast<T>(sum / static_cast<double>(count));
  return std::isfinite(centre) ? centre : T(0);
}

// From the sums of deviations from `centre` and of their squares.
template <class T>
Part part_of(T centre, Index count, double sum, double square_sum) {
  const double shift = sum / static_cast<double>(count);
  const double squares = square_sum - sum * shift;
  return {static_cast<double>(centre), shift, squares < 0 ? 0 : squares};  // < 0 by rounding only
}

template <class T>
void sum_planes(const View& view, const Block& block, const T* input, const Parts& parts) {
  const NormKernels<T>& norm = kernels<T>().norm;
  const Index length = view.run_length, images = view.images_of(block.group);
  const Index stride = view.columns * length;
  for (Index column = block.begin; column < block.begin + block.count; ++column) {
    const T* plane = input + block.group * view.images * stride + column * length;
    double sums[2] = {0, 0};
    for (Index i = 0; i < images; ++i) norm.moments(kShortest, plane + i * stride, T(0), sums);
    const T centre = finite_centre<T>(sums[0], images * kShortest);
    sums[0] = sums[1] = 0;
    for (Index i = 0; i < images; ++i) norm.moments(length, plane + i * stride, centre, sums);
    parts.set(block.group, column, part_of(centre, images * length, sums[0], sums[1]));
  }
}

template <class T>
void sum_rows(const View& view, const Block& block, const T* input, T* centre, double* sums,
              const Parts& parts) {
  const NormKernels<T>& norm = kernels<T>().norm;
  const Index images = view.images_of(block.group);
  const T* rows = input + block.group * view.images * view.columns + block.begin;
  std::fill_n(centre, block.count, T(0));
  norm.column_moments(images, block.count, view.columns, rows, centre, sums);
  for (Index i = 0; i < block.count; ++i) centre[i] = finite_centre<T>(sums[i], images);
  norm.column_moments(images, block.count, view.columns, rows, centre, sums);
  for (Index i = 0; i < block.count; ++i) {
    parts.set(block.group, block.begin + i,
              part_of(centre[i], images, sums[i], sums[block.count + i]));
  }
}

// Mean and sum of squared deviations of one channel.
struct Moments {
  double mean, squares;
};

// Chan, Golub & LeVeque 1983, for any number of parts: squares = sum of the parts' squares + count
// * (mean of the part - mean)^2. Means are measured from the first part's centre, so that a large
// one does not round their distances. Parts are added in index order.
Moments combine(const View& view, const BatchNormShape& shape, const Parts& parts, Index channel) {
  const Index first = channel * view.spread;
  const double origin = parts.get(0, first).centre;
  const auto for_each_part = [&](const auto& body) {
    for (Index group = 0; group < view.groups; ++group) {
      const double count = static_cast<double>(view.images_of(group) * view.column_values());
      for (Index column = first; column < first + view.spread; ++column) {
        const Part part = parts.get(group, column);
        body(count, part.centre - origin + part.shift, part.squares);
      }
    }
  };
  double sum = 0, squares = 0;
  for_each_part([&](double count, double distance, double) { sum += count * distance; });
  const double mean = sum / static_cast<double>(shape.count());
  for_each_part([&](double count, double distance, double within) {
    squares += within + count * (distance - mean) * (distance - mean);
  });
  return {origin + mean, squares};
}

template <class T>
void update_running(const RunningStatistics<T>& running, Index channel, double mean,
                    double unbiased_variance) {
  const double keep = 1 - running.momentum;
  if (running.mean.size != 0) {
    T& value = running.mean[channel];
    value = static_cast<T>(keep * static_cast<double>(value) + running.momentum * mean);
  }
  if (running.var.size != 0) {
    T& value = running.var[channel];
    value =
        static_cast<T>(keep * static_cast<double>(value) + running.momentum * unbiased_variance);
  }
}

}  // namespace

template <class T>
void batch_statistics(const BatchNormShape& shape, const View& view, Span<const T> input,
                      const RunningStatistics<T>& running, double eps, Span<T> mean,
                      Span<T> inv_std) {
  const Parts parts(view);
  const Workers workers = view.block_workers(shape.size());
  const WorkerScratch<T> centres(workers.count, view.widest_block());
  const WorkerScratch<double> sums(workers.count, 2 * view.widest_block());
  for_each_block(view, workers, [&](const Block& block, int worker) {
    if (view.by_planes) {
      sum_planes(view, block, input.data, parts);
    } else {
      sum_rows(view, block, input.data, centres.of(worker), sums.of(worker), parts);
    }
  });
  const double count = static_cast<double>(shape.count());
  for (Index channel = 0; channel < shape.c; ++channel) {
    const Moments moments = combine(view, shape, parts, channel);
    mean[channel] = static_cast<T>(moments.mean);
    inv_std[channel] = static_cast<T>(1 / std::sqrt(moments.squares / count + eps));
    update_running(running, channel, moments.mean, moments.squares / (count - 1));
  }
}

template <class T>
void inverse_deviations(Span<const T> running_var, double eps, Span<T> inv_std) {
  for (Index c = 0; c < inv_std.size; ++c) {
    inv_std[c] = static_cast<T>(1 / std::sqrt(static_cast<double>(running_var[c]) + eps));
  }
}

void check_eps(double eps) {
  if (!(eps >= 0) || std::isinf(eps)) fail("batch_norm: eps must not be negative, got ", eps);
}

#define CONVOLITE_INSTANTIATE(T)                                                         \
  template void batch_statistics(const BatchNormShape&, const View&, Span<const T>,      \
                                 const RunningStatistics<T>&, double, Span<T>, Span<T>); \
  template void inverse_deviations(Span<const T>, double, Span<T>);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite::batch_norm
