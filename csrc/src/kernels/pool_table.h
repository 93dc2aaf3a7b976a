// The contract of the pooling kernels: a part of table.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace convolite {

// Pooling. Planes are consecutive. A kernel may read and write whole vectors past the end of a row
// as long as they stay inside the run of planes (or rows: `room`, `input_end`) that it was given.
template <class T>
struct MaxRowArguments {
  const T* const*
      rows;  // (kernel_h); null where a row is outside the image. From rows[i] on, whole
             // vectors are readable for every tap of every column; outside it is -inf
  std::ptrdiff_t kernel_h, kernel_w, dilation;
  std::ptrdiff_t columns;
  const std::uint8_t*
      first;              // (columns, whole pairs of vectors): the first tap of each that is inside
  int first_row_offset;   // offset of the first row's first tap that is inside
  T* output;              // (columns)
  std::uint8_t* offsets;  // (columns): row of the tap * kernel_w + its column
  std::ptrdiff_t room;    // elements that may be written from `output` and from `offsets` on
};

// Windows of `kernel` taps over a row that stands between zeros: window i starts at i * stride.
// Every row may be read in whole vectors, `kernel` elements to the left of it too.
template <class T>
struct AverageRowArguments {
  std::ptrdiff_t count, kernel;
  const T* divisor;  // (count)
  T row_divisor;
};

// Intervals of one axis: [begin[i], end[i]), not empty, i < count.
template <class T>
struct Segments {
  std::ptrdiff_t count;
  const std::ptrdiff_t* begin;
  const std::ptrdiff_t* end;
  const T* divisor;
};

template <class T>
struct PoolKernels {
  // 2x2 windows with stride 2: input (planes, h, w), the others (planes, h / 2, w / 2); h, w >= 2.
  void (*max_2x2)(std::ptrdiff_t planes, std::ptrdiff_t h, std::ptrdiff_t w, const T* input,
                  T* output, std::uint8_t* offsets);
  void (*max_2x2_backward)(std::ptrdiff_t planes, std::ptrdiff_t h, std::ptrdiff_t w,
                           const T* grad_output, const std::uint8_t* offsets, T* grad_input);
  void (*max_row[2])(const MaxRowArguments<T>&);  // horizontal stride 1, 2
  // sums[x] = input[x] + input[width + x] + ... over `rows` >= 1 rows; zero from width up to the
  // next whole vector.
  void (*add_rows)(std::ptrdiff_t rows, std::ptrdiff_t width, const T* input, const T* input_end,
                   T* sums);
  // output[i] = sum of window i of sums / (row_divisor * divisor[i]); stride 1, 2. `room` as above.
  void (*average_row[2])(const AverageRowArguments<T>&, const T* sums, T* output,
                         std::ptrdiff_t room);
  // The transpose: row[x] = sum of shares[i] over the windows with x, shares[i] = grad_output[i] /
  // (row_divisor * divisor[i]). Whole vectors of `row` are written.
  void (*spread_row[2])(const AverageRowArguments<T>&, const T* grad_output, T* shares, T* row);
  // The same pair of kernels for any intervals, which need no zeros around the row.
  // output[i] = sum of sums[x] over segment i / (row_divisor * divisor[i])
  void (*average_segments)(const Segments<T>&, T row_divisor, const T* sums, T* output);
  // shares[x] = sum over the segments i with x of grad_output[i] / (row_divisor * divisor[i])
  void (*spread_segments)(const Segments<T>&, T row_divisor, const T* grad_output,
                          std::ptrdiff_t width, T* shares);
  void (*add_row)(std::ptrdiff_t width, const T* addend, T* sums);  // sums += addend
};

}  // namespace convolite
