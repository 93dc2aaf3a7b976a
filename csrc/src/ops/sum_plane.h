// The sum of one plane of an image, with the same bits for every instruction set.
#pragma once

#include <convolite/types.h>

#include <algorithm>

namespace convolite {

constexpr Index kSumBlock = 4096;  // summed in T, so that the compiler may use vectors

// The sum of up to kSumBlock elements in eight interleaved partial sums, whatever the vector width.
template <class T>
T sum_block(const T* block, Index size) {
  T partial[8] = {};
  Index i = 0;
  for (; i + 8 <= size; i += 8) {
    for (int j = 0; j < 8; ++j) partial[j] += block[i + j];
  }
  for (; i < size; ++i) partial[i % 8] += block[i];
  return ((partial[0] + partial[1]) + (partial[2] + partial[3])) +
         ((partial[4] + partial[5]) + (partial[6] + partial[7]));
}

template <class T>
double sum_plane(const T* plane, Index size) {
  double sum = 0;
  for (Index i = 0; i < size; i += kSumBlock) {
    sum += sum_block(plane + i, std::min(kSumBlock, size - i));
  }
  return sum;
}

}  // namespace convolite
