// Lists that live in the free blocks themselves, one for each class of sizes: putting a block into
// one cannot fail and costs no allocation.
#pragma once

#include <convolite/types.h>

#include <algorithm>
#include <cstddef>

#include "runtime/buffer.h"
#include "runtime/integers.h"

namespace convolite {

constexpr Index kLargestBuffer = Index{1} << 56;

// An element of a circular list; alone, a list's end or a block in no list.
struct Link {
  Link* before = this;
  Link* after = this;

  Link() = default;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  bool alone() const { return after == this; }
  void insert_before(Link& next) {
    before = next.before;
    after = &next;
    before->after = after->before = this;
  }
  void remove() {
    before->after = after;
    after->before = before;
    before = after = this;
  }
};

// The least class that holds `bytes`. Classes are one eighth of a power of two apart, so that a
// slightly different batch can reuse a small block and at most 1/8 of it is waste.
struct SizeClass {
  Index capacity;
  std::size_t number;

  explicit constexpr SizeClass(Index bytes) : capacity(0), number(0) {
    Index step = kAlignment;
    for (; step * 16 < bytes; step *= 2) number += 8;
    const Index steps = std::max<Index>(1, ceil_divide(bytes, step));
    capacity = steps * step;
    number += static_cast<std::size_t>(steps);
  }
};
constexpr std::size_t kSizeClasses = 512;
static_assert(SizeClass(kLargestBuffer + kAlignment).number + 8 <= kSizeClasses);

}  // namespace convolite
