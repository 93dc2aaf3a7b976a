// Mean and variance of a batch.
#pragma once

#include <convolite/batch_norm.h>

#include "ops/batch_norm/view.h"

namespace convolite::batch_norm {

// input (n, c, length), at least two values per channel -> mean, inv_std (c); moves `running`.
template <class T>
void batch_statistics(const BatchNormShape&, const View&, Span<const T> input,
                      const RunningStatistics<T>& running, double eps, Span<T> mean,
                      Span<T> inv_std);

// 1 / sqrt(running_var + eps), (c).
template <class T>
void inverse_deviations(Span<const T> running_var, double eps, Span<T> inv_std);

void check_eps(double eps);

}  // namespace convolite::batch_norm
