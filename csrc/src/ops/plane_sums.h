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
  double* from(Index plane) const { return sums_.get() + plane; }

  // In the images' order.
  void finish() const {
    const Index channels = channel_sums_.size;
    for (Index n = 1; n < shape_.n; ++n) {
      for (Index c = 0; c < channels; ++c) sums_[c] += sums_[n * channels + c];
    }
    for (Index c = 0; c < channels; ++c) {
      channel_sums_[c] = static_cast<T>(shape_.n == 0 ? 0.0 : sums_[c]);
    }
  }

 private:
  Nchw shape_;
  Span<T> channel_sums_;
  Buffer<double> sums_;
};

}  // namespace convolite
