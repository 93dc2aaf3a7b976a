// Mean and variance of a batch in one pass over memory: blocks are summed about a value of their
// own data, which leaves nothing to cancel, then combined in double and in index order.
#include "ops/batch_norm/statistics.h"

#include <cmath>

#include "runtime/isa.h"

namespace convolite::batch_norm {
namespace {

// The centre about which a block's deviations are summed: any value near the data will do, and an
// infinite one would spoil the mean.
template <class T>
T finite_centre(double sum, Index count) {
  const T centre = static_cast<T>(sum / static_cast<double>(count));
  return std::isfinite(centre) ? centre : T(0);
}

// Sums about a centre to a mean and a sum of squares about that mean, in place.
template <class T>
void recentre(T centre, Index count, double& first, double& second) {
  const double values = static_cast<double>(count), shift = first / values;
  second -= first * shift;
  if (second < 0) second = 0;  // by rounding only; NaN stays
  first = static_cast<double>(centre) + shift;
}

template <class T>
void block_moments_by_planes(const View& view, const Block& block, const T* input, double* means,
                             double* squares) {
  const NormKernels<T>& norm = kernels<T>().norm;
  const Index length = view.run_length, images = view.images_of(block.group);
  for (Index column = block.begin; column < block.begin + block.count; ++column) {
    const T* plane = input + (block.group * view.images * view.columns + column) * length;
    double sums[2] = {0, 0};
    norm.moments(length, plane, T(0), sums);
    const T centre = finite_centre<T>(sums[0], length);
    sums[0] = sums[1] = 0;
    for (Index i = 0; i < images; ++i) {
      norm.moments(length, plane + i * view.columns * length, centre, sums);
    }
    recentre(centre, images * length, sums[0], sums[1]);
    means[column] = sums[0];
    squares[column] = sums[1];
  }
}

template <class T>
void block_moments_by_rows(const View& view, const Block& block, const T* input, double* means,
                           double* squares) {
  const NormKernels<T>& norm = kernels<T>().norm;
  const Index images = view.images_of(block.group);
  const T* rows = input + block.group * view.images * view.columns + block.begin;
  const Buffer<T> centre(block.count);
  const Buffer<double> sums(2 * block.count);
  std::fill_n(centre.get(), block.count, T(0));
  norm.column_moments(images, block.count, view.columns, rows, centre.get(), sums.get());
  for (Index i = 0; i < block.count; ++i) centre[i] = finite_centre<T>(sums[i], images);
  norm.column_moments(images, block.count, view.columns, rows, centre.get(), sums.get());
  for (Index i = 0; i < block.count; ++i) {
    means[block.begin + i] = sums[i];
    squares[block.begin + i] = sums[block.count + i];
    recentre(centre[i], images, means[block.begin + i], squares[block.begin + i]);
  }
}

// Mean and sum of squared deviations of one channel.
struct Moments {
  double mean, squares;
};

// Chan, Golub & LeVeque 1983, for any number of parts: squares = sum of the parts' squares + count
// * (mean of the part - mean)^2. Parts are added in index order.
Moments combine(const View& view, const BatchNormShape& shape, const PartialSums& parts,
                Index channel) {
  const Index begin = channel * view.spread, end = begin + view.spread;
  Moments total{0, 0};
  for (Index group = 0; group < view.groups; ++group) {
    const double count = static_cast<double>(view.images_of(group) * view.column_values());
    for (Index i = begin; i < end; ++i) total.mean += count * parts.first(group)[i];
  }
  total.mean /= static_cast<double>(shape.count());
  for (Index group = 0; group < view.groups; ++group) {
    const double count = static_cast<double>(view.images_of(group) * view.column_values());
    for (Index i = begin; i < end; ++i) {
      const double distance = parts.first(group)[i] - total.mean;
      total.squares += parts.second(group)[i] + count * distance * distance;
    }
  }
  return total;
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
  const PartialSums parts(view);
  for_each_block(view, shape.size(), [&](const Block& block) {
    double* means = parts.first(block.group);
    double* squares = parts.second(block.group);
    if (view.by_planes) {
      block_moments_by_planes(view, block, input.data, means, squares);
    } else {
      block_moments_by_rows(view, block, input.data, means, squares);
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

#define CONVOLITE_INSTANTIATE(T)                                                    \
  template void batch_statistics(const BatchNormShape&, const View&, Span<const T>, \
                                 const RunningStatistics<T>&, double, Span<T>, Span<T>);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite::batch_norm
