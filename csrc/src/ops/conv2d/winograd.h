// Winograd's F(4x4, 3x3) for 3x3 kernels with stride 1 (Lavin & Gray 2016): 36 multiplications for
// 16 results of 9 taps, a quarter of the direct count. Tiles are transformed with channels as
// lanes, so that the 36 products of transformed tiles and weights are matrix products on the one
// micro-kernel. The transforms spread NaN and infinity over a tile: an image with a result that is
// not finite is computed anew by the direct method (the gradient of the filters as a whole).
#pragma once

#include <convolite/conv2d.h>

namespace convolite {

// Null where these functions run the problem, else the reason why they do not.
const char* winograd_declines(const Conv2dShape&, Pass);
// The order of the loops; null for the gradient of the filters, which has no choice of two.
const char* winograd_form(const Conv2dShape&, Pass);

void winograd_forward(const Conv2dShape&, const float* input, const float* weight,
                      const Conv2dEpilogue<float>&, float* output);
void winograd_backward_input(const Conv2dShape&, const float* grad_output, const float* weight,
                             float* grad_input);
void winograd_backward_weight(const Conv2dShape&, const float* grad_output, const float* input,
                              float* grad_weight);

}  // namespace convolite
