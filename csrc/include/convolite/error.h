// Errors of the library: std::invalid_argument with texts of the form
//   <op>: <argument> <fact>, but <rule> (<name> = <value>, ...)
#pragma once

#include <convolite/types.h>

#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace convolite {

inline std::ostream& operator<<(std::ostream& out, const HW& value) {
  return out << "(" << value.h << ", " << value.w << ")";
}
inline std::ostream& operator<<(std::ostream& out, const Padding& value) {
  return out << "((" << value.top << ", " << value.bottom << "), (" << value.left << ", "
             << value.right << "))";
}
inline std::ostream& operator<<(std::ostream& out, const Nchw& value) {
  return out << "(" << value.n << ", " << value.c << ", " << value.h << ", " << value.w << ")";
}

// fail("conv2d: ", "stride must be positive, got ", stride) throws std::invalid_argument.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw std::invalid_argument(text.str());
}

// Axis lengths as Python writes them: (2, 3), (4,), ().
inline std::string shape_text(const std::vector<Index>& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i ? ", " : "") + std::to_string(shape[i]);
  }
  return text + (shape.size() == 1 ? ",)" : ")");
}

// a * b for sizes; fails with the op's name when the product leaves 64 bits.
inline Index checked_product(const char* op, Index a, Index b) {
  Index product;
  if (__builtin_mul_overflow(a, b, &product)) fail(op, ": sizes overflow 64 bits");
  return product;
}

template <class... Rest>
Index checked_product(const char* op, Index a, Index b, Index c, Rest... rest) {
  return checked_product(op, checked_product(op, a, b), c, rest...);
}

}  // namespace convolite
