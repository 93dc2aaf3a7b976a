// Arrays put one after the other along an axis, and cut apart again. Elements are just bytes here.
#pragma once

#include <convolite/types.h>

#include <vector>

namespace convolite {

struct ConcatenateShape {
  std::vector<Index> output;   // lengths of the result's axes
  Index outer = 1;             // places of the axes outside the common one
  std::vector<Index> lengths;  // of each input along the axis, times the places inside it

  // The only validator of shapes: fails without any, for an axis out of range, and unless all have
  // the same lengths but along the axis, which together must fit in 64 bits. Negative axes count
  // from the end.
  static ConcatenateShape infer(const std::vector<std::vector<Index>>& inputs, Index axis);
};

void concatenate(const ConcatenateShape&, Index element_bytes,
                 const std::vector<Span<const unsigned char>>& inputs, Span<unsigned char> output);

// The gradient: each input gets its part, but for those without memory.
void split(const ConcatenateShape&, Index element_bytes, Span<const unsigned char> whole,
           const std::vector<Span<unsigned char>>& parts);

}  // namespace convolite
