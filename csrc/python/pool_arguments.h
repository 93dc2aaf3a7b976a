// What the bindings of pooling and of batch norm with pooling have in common.
#pragma once

#include <convolite/pool2d.h>

#include "arrays.h"

namespace convolite::python {

inline PoolWindow window_of(const Pair& kernel, const Pair& stride, const Quadruple& padding,
                            const Pair& dilation, bool ceil_mode) {
  return {to_hw(kernel),
          to_hw(stride),
          {padding[0], padding[1], padding[2], padding[3]},
          to_hw(dilation),
          ceil_mode};
}

inline Nchw nchw(const Quadruple& shape) {
  return {shape[0], shape[1], shape[2], shape[3]};
}

template <class T>
Nchw nchw(const char* op, const Input<T>& input) {
  check_ndim(op, "input", input, 4, "(n, c, h, w)");
  return {input.shape(0), input.shape(1), input.shape(2), input.shape(3)};
}

inline Shape array_shape(const Nchw& input) {
  return {input.n, input.c, input.h, input.w};
}
inline Shape array_shape(const Nchw& input, const HW& output) {
  return {input.n, input.c, output.h, output.w};
}

// Calls body with a zero of the offsets' element type.
template <class Body>
auto with_offset_type(const Pool2dShape& shape, Body&& body) {
  if (shape.byte_offsets()) return body(std::uint8_t{});
  return body(std::int32_t{});
}

}  // namespace convolite::python
