// The contract of the sums of shifted rows: a part of table.h.
#pragma once

#include <cstddef>

namespace convolite {

// Sums of shifted rows, lanes over their elements: taps add what stands at `offset` from a pixel's
// place, in the columns [begin, end). For y < rows and x < columns, with p = x % phases, i = x /
// phases and the taps t of phase p:
//   result[y * result_stride + x] = bias + sum over taps t with begin <= i < end of
//                                   source[y * source_stride + i + offset],
// added in the order of the taps and clamped then; to accumulate means to begin with the result
// instead of the bias. Whole vectors are read: source has room for columns + lanes elements before
// the first and behind the last that is added. Taps have 0 <= begin < end.
struct ShiftedTap {
  std::ptrdiff_t offset, begin, end;
};

struct ShiftedTaps {
  std::ptrdiff_t count;
  const ShiftedTap* taps;
  std::ptrdiff_t begin, end;  // where all taps are added
};

template <class T>
struct ShiftedSumArguments {
  const T* source;
  std::ptrdiff_t source_stride;
  const ShiftedTaps* taps;  // of each phase
  std::ptrdiff_t phases;
  std::ptrdiff_t rows, columns;
  T* result;
  std::ptrdiff_t result_stride;
  const T* residual;  // of one phase: added behind the taps, laid out as the result; or null
  T bias, low, high;
  bool clamp, accumulate;
};

template <class T>
struct ShiftedSumKernels {
  using Sum = void (*)(const ShiftedSumArguments<T>&);
  Sum one_phase, two_phases, any_phases;
};

}  // namespace convolite
