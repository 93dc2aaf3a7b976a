// Transposed to channels as lanes first: the 9 taps of many channels are then vectors. Bound by
// memory traffic.
#include "ops/conv2d/winograd_weights.h"

#include <algorithm>

namespace convolite::winograd {
namespace {

constexpr Index kBlock = 8;  // input channels transposed at once

}  // namespace

WeightTransform::WeightTransform(const KernelTable<float>& table, const Conv2dShape& shape,
                                 Pass pass, const float* weight, const float* scale)
    : table_(table),
      channels_(shape.input.c),
      size_(shape.weight_size()),
      pass_(pass),
      weight_(weight),
      filters_(table, weight, shape.input.c * 9, scale) {}

Index WeightTransform::block_size() const {
  return kBlock * 9 * table_.lanes * table_.gemm.vectors;
}

Index WeightTransform::scratch_size() const {
  return block_size() + filters_.scratch_size(block_size());
}

void WeightTransform::run(const PanelLayout& panels, Index panel, Index begin, Index end,
                          float* scratch, float* planes, Index stride) const {
  if (pass_ == Pass::forward) {
    run_forward(panels, panel, begin, end, scratch, planes, stride);
  } else {
    run_backward(panels, panel, begin, end, scratch, planes, stride);
  }
}

// by_tap: [c of the block, tap][oc].
void WeightTransform::run_forward(const PanelLayout& panels, Index panel, Index begin, Index end,
                                  float* by_tap, float* planes, Index stride) const {
  const Index width = panels.width(panel);
  std::fill_n(by_tap, kBlock * 9 * width, 0.0f);
  for (Index c = begin; c < end; c += kBlock) {
    const Index block = std::min(kBlock, end - c);
    const auto rows = filters_.rows(panels.first_column(panel), panels.used(panel), c * 9,
                                    block * 9, by_tap + block_size());
    table_.gemm.transpose(panels.used(panel), block * 9, rows.data, rows.stride, by_tap, width);
    for (Index i = 0; i < block; ++i) {
      const float* taps[9];
      for (Index tap = 0; tap < 9; ++tap) taps[tap] = by_tap + (i * 9 + tap) * width;
      table_.winograd.weight(taps, width, planes + (c + i) * width, stride);
    }
  }
}

// by_tap: [tap][c] of one output channel. Nine columns are transposed one by one where a vector has
// more: as many as it has are read then, also of the filters behind, as long as there are some.
void WeightTransform::run_backward(const PanelLayout& panels, Index panel, Index begin, Index end,
                                   float* by_tap, float* planes, Index stride) const {
  const Index width = panels.width(panel), used = panels.used(panel);
  const Index read = std::max<Index>(9, table_.lanes);
  std::fill_n(by_tap, read * width, 0.0f);
  const float* taps[9];
  for (Index tap = 0; tap < 9; ++tap) taps[tap] = by_tap + (8 - tap) * width;
  for (Index o = begin; o < end; ++o) {
    const Index first = (o * channels_ + panels.first_column(panel)) * 9;
    const Index columns = first + (used - 1) * 9 + read <= size_ ? read : 9;
    table_.gemm.transpose(used, columns, weight_ + first, 9, by_tap, width);
    table_.winograd.weight(taps, width, planes + o * width, stride);
  }
}

}  // namespace convolite::winograd
