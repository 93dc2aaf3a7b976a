// Whole numbers of blocks, for non-negative sizes and positive blocks.
#pragma once

#include <convolite/types.h>

namespace convolite {

constexpr Index ceil_divide(Index size, Index block) {
  return (size + block - 1) / block;
}

constexpr Index round_up(Index size, Index block) {
  return ceil_divide(size, block) * block;
}

}  // namespace convolite
