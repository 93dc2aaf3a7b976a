// How pooling cuts its work.
#pragma once

#include <convolite/types.h>

#include <algorithm>

namespace convolite::pool2d {

// Input pixels of one task: 64 KB of floats, which leaves room for the output in L2.
constexpr Index kTaskPixels = 1 << 14;

inline Index planes_per_task(const Nchw& input) {
  return std::max<Index>(1, kTaskPixels / input.pixels());
}

}  // namespace convolite::pool2d
