// The padded rows that max pooling reads when windows are small: no kernel needs to know of edges.
#pragma once

#include <convolite/pool2d.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "runtime/isa.h"

namespace convolite::pool2d {

// The rows that the current windows cover, copied between columns of padding: row y is in slot
// y % slots, because a window never needs two rows that are `slots` apart; slots is a power of two.
template <class T>
class RowRing {
 public:
  // Sizes of the padded copies; `roomy` is false if padding would dwarf the image.
  struct Layout {
    Index slots, pitch;
    bool roomy;
  };

  static Layout layout(const Pool2dShape& shape) {
    const PoolWindow& window = shape.window;
    const Index lanes = kernels<T>().lanes;
    const Index span_h = window.dilation.h * (window.kernel.h - 1) + 1;
    const Index span_w = window.dilation.w * (window.kernel.w - 1) + 1;
    // Whole pairs of vectors of columns are computed, and each reads up to four for each tap.
    const Index read = (shape.output.w - 1) * window.stride.w + span_w + 6 * lanes;
    const Index pitch = std::max(window.padding.left + shape.input.w, read);
    Index slots = 1;
    while (slots < std::min(span_h, shape.input.h)) slots *= 2;
    return {slots, pitch, pitch <= 4 * (shape.input.w + 64)};
  }

  RowRing(const Pool2dShape& shape, const Layout& layout, T* memory)
      : shape_(shape), layout_(layout), memory_(memory), rows_(shape.window.kernel.h) {
    std::fill(memory, memory + layout.slots * layout.pitch, -std::numeric_limits<T>::infinity());
  }

  void start_plane(const T* input) {
    input_ = input;
    next_ = 0;
  }

  // The kernel's rows at output row `row`, null where they are outside the image.
  const T* const* rows_at(Index row) {
    const PoolWindow& window = shape_.window;
    for (Index i = 0; i < window.kernel.h; ++i) {
      const Index y = row * window.stride.h - window.padding.top + i * window.dilation.h;
      const bool inside = y >= 0 && y < shape_.input.h;
      rows_[static_cast<std::size_t>(i)] = inside ? slot(y) : nullptr;
      for (; inside && next_ <= y; ++next_) copy(next_);
    }
    return rows_.data();
  }

 private:
  T* slot(Index y) const { return memory_ + (y & (layout_.slots - 1)) * layout_.pitch; }

  void copy(Index y) const {
    const T* row = input_ + y * shape_.input.w;
    std::copy(row, row + shape_.input.w, slot(y) + shape_.window.padding.left);
  }

  const Pool2dShape& shape_;
  Layout layout_;
  T* memory_;                   // (slots, pitch), -infinity around the rows
  std::vector<const T*> rows_;  // (kernel.h)
  const T* input_ = nullptr;    // (h, w)
  Index next_ = 0;              // rows below it have been copied
};

}  // namespace convolite::pool2d
