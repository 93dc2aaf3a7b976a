// A border of one value around the last axes of an array, whose elements are just bytes here. The
// gradient is the same with the opposite widths and a border of zeros.
#pragma once

#include <convolite/types.h>

#include <vector>

namespace convolite {

struct PadShape {
  // An axis that gets no border counts as one with the axis outside of it. A negative width cuts
  // away.
  struct Axis {
    Index input, output, before;
  };
  std::vector<Index> output;  // lengths of the result's axes
  std::vector<Axis> axes;     // outermost first; at least one
  Index size = 1;             // elements of the output

  // The only validator. widths are pairs (before, after), beginning with the last axis. Fails on
  // half a pair, on more pairs than axes, on a cut larger than its axis, and on widths of 2^60 or
  // so many elements.
  static PadShape infer(const std::vector<Index>& input, const std::vector<Index>& widths);
};

// Copies input into output with `border`, one element, around it.
void pad(const PadShape&, Index element_bytes, Span<const unsigned char> input,
         Span<const unsigned char> border, Span<unsigned char> output);

}  // namespace convolite
