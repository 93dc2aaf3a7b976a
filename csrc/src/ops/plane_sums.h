// The gradient of a bias, from the sums of planes.
#pragma once

#include <convolite/types.h>

#include "runtime/buffer.h"

namespace convolite {

// Sums of planes, noted by whoever has just made or read them; finish() adds up those of each
// channel. Of an empty span nothing is wanted.
template <class T>
class PlaneSums {
 public:
  PlaneSums(const Nchw& shape, Span<T> channel_sums)
      : shape_(shape), channel_sums_(channel_sums), sums_(wanted() ? shape.n * shape.c : 0) {}

  bool wanted() const { return channel_sums_.size != 0; }
  void set(Index plane, double sum) const { sums_[plane] = sum; }

  // In the images' order.
  void finish() const {
    for (Index channel = 0; channel < channel_sums_.size; ++channel) {
      double sum = 0;
      for (Index n = 0; n < shape_.n; ++n) sum += sums_[n * shape_.c + channel];
      channel_sums_[channel] = static_cast<T>(sum);
    }
  }

 private:
  Nchw shape_;
  Span<T> channel_sums_;
  Buffer<double> sums_;
};

}  // namespace convolite
