// Plain types that every public header uses: sizes, spans, enumerations. No behaviour beyond
// arithmetic.
#pragma once

#include <cstdint>
#include <limits>

namespace convolite {

using Index = std::int64_t;

// A pointer with its number of elements; never owns.
template <class T>
struct Span {
  T* data = nullptr;
  Index size = 0;

  Span() = default;
  Span(T* pointer, Index count) : data(pointer), size(count) {}
  template <class U>
  Span(const Span<U>& other) : data(other.data), size(other.size) {}  // Span<T> -> Span<const T>
  T& operator[](Index i) const { return data[i]; }
};

struct HW {
  Index h = 0, w = 0;
};

struct Padding {
  Index top = 0, bottom = 0, left = 0, right = 0;
};

// Image batches: n images, c channels, h rows, w columns, stored in that order.
struct Nchw {
  Index n = 0, c = 0, h = 0, w = 0;

  Index size() const { return n * c * h * w; }
  Index pixels() const { return h * w; }
};

// Applied to a result while it is still in registers. NaN passes through each of them.
enum class Activation { none, relu, relu6 };

}  // namespace convolite
