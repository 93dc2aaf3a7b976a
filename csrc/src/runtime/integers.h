// Whole numbers of blocks, for non-negative sizes and positive blocks.
#pragma once

#include <convolite/types.h>

#include <algorithm>

namespace convolite {

constexpr Index ceil_divide(Index size, Index block) {
  return (size + block - 1) / block;
}

constexpr Index round_up(Index size, Index block) {
  return ceil_divide(size, block) * block;
}

// `size` cut into `count` parts that differ by at most one, the larger ones first. Divides once:
// inner loops may ask for their part.
class EvenParts {
 public:
  EvenParts() = default;
  EvenParts(Index size, Index count)
      : count_(count), least_(count == 0 ? 0 : size / count), larger_(size - least_ * count) {}

  Index count() const { return count_; }
  Index first(Index part) const { return part * least_ + std::min(part, larger_); }
  Index size(Index part) const { return least_ + (part < larger_ ? 1 : 0); }

 private:
  Index count_ = 0, least_ = 0, larger_ = 0;
};

}  // namespace convolite
