// The weights of a Winograd convolution, transformed panel by panel of result channels.
#pragma once

#include <convolite/conv2d.h>

#include "gemm/panels.h"
#include "ops/conv2d/epilogue.h"

namespace convolite::winograd {

class WeightTransform {
 public:
  // weight (oc, c, 3, 3), scale (oc) or null, of forward alone. Result channels are oc in forward,
  // c in backward_input, where the taps are turned round.
  WeightTransform(const KernelTable<float>& table, const Conv2dShape& shape, Pass pass,
                  const float* weight, const float* scale);

  Index scratch_size() const;
  // Source channels [begin, end) of one panel: planes[plane][source channel][result channel],
  // planes `stride` apart.
  void run(const PanelLayout& panels, Index panel, Index begin, Index end, float* scratch,
           float* planes, Index stride) const;

 private:
  Index block_size() const;
  void run_forward(const PanelLayout& panels, Index panel, Index begin, Index end, float* by_tap,
                   float* planes, Index stride) const;
  void run_backward(const PanelLayout& panels, Index panel, Index begin, Index end, float* by_tap,
                    float* planes, Index stride) const;

  const KernelTable<float>& table_;
  Index channels_;  // of the input
  Index size_;      // of the weight
  Pass pass_;
  const float* weight_;
  ScaledFilters<float> filters_;
};

}  // namespace convolite::winograd
