// How ops along a class axis are cut into tasks; shared by softmax and cross_entropy.
#pragma once

#include <convolite/softmax.h>

#include <algorithm>

#include "kernels/table.h"
#include "runtime/integers.h"
#include "runtime/threads.h"

namespace convolite {

constexpr Index kSoftmaxBlock = 1 << 12;  // elements of one task
constexpr Index kSoftmaxWork = 4;         // an exponential costs about four plain operations

// Calls row(i) for each i < outer if the axis is contiguous; else columns(i, j, part) for parts of
// at most kSoftmaxColumns neighbouring columns j, j + 1, ... of slice i. Never both.
template <class Row, class Columns>
void for_each_softmax(const SoftmaxShape& shape, Row&& row, Columns&& columns) {
  if (shape.size() == 0) return;
  const Index work = kSoftmaxWork * shape.size();
  if (shape.inner == 1) {
    parallel_blocks(shape.outer, std::max<Index>(1, kSoftmaxBlock / shape.length), work,
                    [&](Index begin, Index end, int) {
                      for (Index i = begin; i < end; ++i) row(i);
                    });
    return;
  }
  const Index width = std::min<Index>(kSoftmaxColumns, shape.inner);
  const Index parts = ceil_divide(shape.inner, width);
  const Index block = std::max<Index>(1, kSoftmaxBlock / width / shape.length);
  parallel_blocks(shape.outer * parts, block, work, [&](Index begin, Index end, int) {
    for (Index part = begin; part < end; ++part) {
      const Index j = part % parts * width;
      columns(part / parts, j,
              SoftmaxColumns{shape.length, shape.inner, std::min(width, shape.inner - j)});
    }
  });
}

}  // namespace convolite
