// Dropout: elements whose noise falls below a probability become 0, the others grow by 1 / (1 - p).
#pragma once

#include <convolite/types.h>

namespace convolite {

struct DropoutShape {
  Index draws = 0;   // random numbers, one for each part of the input
  Index length = 1;  // elements of a part, all kept or blanked together

  // The only validator: fails unless `draws` parts of one length make `size` elements.
  static DropoutShape infer(Index size, Index draws);

  Index size() const { return draws * length; }
};

// noise (draws) -> output like input, kept (draws): 1 where noise >= probability. What is blanked
// is 0 even where the input is infinite or NaN; the rest is multiplied by `scale`.
template <class T>
void dropout_forward(const DropoutShape&, T scale, float probability, Span<const T> input,
                     Span<const float> noise, Span<T> output, Span<unsigned char> kept);

// Blanks and scales the same elements.
template <class T>
void dropout_backward(const DropoutShape&, T scale, Span<const T> grad_output,
                      Span<const unsigned char> kept, Span<T> grad_input);

}  // namespace convolite
