// 3x3 depthwise convolution from rows where they lie (contract: depthwise_rows_table.h). A block of
// result rows keeps its sums in registers; each vector of the source is loaded once for all of
// them, with its two neighbours. At the plane's sides a neighbour is the vector itself, moved by
// one lane, so that nothing outside of a row is read.
//
// Bound by the traffic of the images beyond the second cache, else by loads: 3 for each 9
// multiply-adds of a row that 3 result rows share.

template <class T, int... Lane>
CONVOLITE_INLINE Vec<T> shift_up(Vec<T> value, LaneList<Lane...>) {
  return shuffle<T, (Lane + static_cast<int>(kLanes<T>) - 1)...>(Vec<T>{}, value);
}
template <class T, int... Lane>
CONVOLITE_INLINE Vec<T> shift_down(Vec<T> value, LaneList<Lane...>) {
  return shuffle<T, (Lane + 1)...>(value, Vec<T>{});
}
// Lane i of `value` in lane i + 1, or in lane i - 1; the lane that is left is zero.
template <class T>
CONVOLITE_INLINE Vec<T> shift_up(Vec<T> value) {
  return shift_up<T>(value, Lanes<T>{});
}
template <class T>
CONVOLITE_INLINE Vec<T> shift_down(Vec<T> value) {
  return shift_down<T>(value, Lanes<T>{});
}

// What the three columns of the filter meet for a vector of results from column x on.
template <class T>
struct Neighbours {
  Vec<T> column[3];
};

// Which sides of the plane a vector of results touches.
template <bool Left, bool Right>
struct Sides {};

template <class T, int Step>
struct RowReader;

template <class T>
struct RowReader<T, 1> {
  template <bool Left, bool Right>
  static CONVOLITE_INLINE Neighbours<T> read(const T* row, std::ptrdiff_t x, Sides<Left, Right>) {
    const Vec<T> value = load(row + x);
    return {{Left ? shift_up<T>(value) : load(row + x - 1), value,
             Right ? shift_down<T>(value) : load(row + x + 1)}};
  }
};

template <class T>
struct RowReader<T, 2> {
  template <bool Left, bool Right>
  static CONVOLITE_INLINE Neighbours<T> read(const T* row, std::ptrdiff_t x, Sides<Left, Right>) {
    constexpr std::ptrdiff_t lanes = kLanes<T>;
    const T* const from = row + 2 * x;
    const Vec<T> low = load(from), high = load(from + lanes);
    const Vec<T> even = in_order<T>(evens<T>(low, high)), odd = in_order<T>(odds<T>(low, high));
    const Vec<T> before =
        Left ? shift_up<T>(odd) : in_order<T>(odds<T>(load(from - 2), load(from + lanes - 2)));
    return {{before, even, odd}};
  }
};

// Results of Rows rows from y on and of a vector of columns, for a filter in registers.
template <class T, int Rows, int Step>
struct RowBlock {
  const T* row[(Rows - 1) * Step + 3];

  template <class Arguments>
  CONVOLITE_INLINE RowBlock(const Arguments& a, std::ptrdiff_t y) {
    CONVOLITE_UNROLL for (int i = 0; i < (Rows - 1) * Step + 3; ++i) {
      const std::ptrdiff_t at = y * Step + i - 1;
      row[i] = at < 0 || at >= a.height ? a.zeros : a.source + at * a.width;
    }
  }

  // body(row of results, tap, value) for each product of the columns around x.
  template <class Sides, class Body>
  CONVOLITE_INLINE void for_each_product(std::ptrdiff_t x, Sides sides, Body body) const {
    CONVOLITE_UNROLL for (int i = 0; i < (Rows - 1) * Step + 3; ++i) {
      const Neighbours<T> value = RowReader<T, Step>::read(row[i], x, sides);
      CONVOLITE_UNROLL for (int r = 0; r < Rows; ++r) {
        const int tap_row = i - r * Step;
        if (tap_row < 0 || tap_row > 2) continue;
        CONVOLITE_UNROLL for (int s = 0; s < 3; ++s) body(r, 3 * tap_row + s, value.column[s]);
      }
    }
  }
};

// body(x, sides, repeated) for each vector of a row of results; the last one begins earlier, and
// its first `repeated` results belong to the one before too.
template <class T, class Body>
CONVOLITE_INLINE void for_each_row_vector(std::ptrdiff_t columns, Body body) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  if (columns == lanes) return body(0, Sides<true, true>{}, 0);
  const std::ptrdiff_t last = columns - lanes;
  body(0, Sides<true, false>{}, 0);
  std::ptrdiff_t x = lanes;
  for (; x < last; x += lanes) body(x, Sides<false, false>{}, 0);
  body(last, Sides<false, true>{}, x - last);
}

template <class T>
CONVOLITE_INLINE void put_results(const DepthwiseRowsArguments<T>& a, Vec<T> sum,
                                  std::ptrdiff_t at) {
  if (a.residual != nullptr) sum += load(a.residual + at);
  if (a.clamp) sum = at_most<T>(at_least<T>(sum, broadcast(a.low)), broadcast(a.high));
  store(a.result + at, sum);
}

template <class T, int Rows, int Step>
CONVOLITE_INLINE void convolve_row_block(const DepthwiseRowsArguments<T>& a,
                                         const Vec<T> (&weight)[9], Vec<T> bias, std::ptrdiff_t y) {
  const RowBlock<T, Rows, Step> block(a, y);
  for_each_row_vector<T>(
      a.columns, [&](std::ptrdiff_t x, auto sides, std::ptrdiff_t) __attribute__((always_inline)) {
        Vec<T> sum[Rows];
        CONVOLITE_UNROLL for (int r = 0; r < Rows; ++r) sum[r] = bias;
        block.for_each_product(
            x, sides, [&](int r, int tap, Vec<T> value) __attribute__((always_inline)) {
              sum[r] += weight[tap] * value;
            });
        CONVOLITE_UNROLL for (int r = 0; r < Rows; ++r) {
          put_results(a, sum[r], (y + r) * a.columns + x);
        }
      });
}

template <class T, int Step>
void depthwise_rows(const DepthwiseRowsArguments<T>& arguments) {
  DepthwiseRowsArguments<T> a = arguments;  // no store can change a copy
  for (std::ptrdiff_t plane = 0; plane < a.planes; ++plane) {
    Vec<T> weight[9];
    CONVOLITE_UNROLL for (int t = 0; t < 9; ++t) weight[t] = broadcast(a.weight[9 * plane + t]);
    const Vec<T> bias = broadcast(a.bias == nullptr ? T(0) : a.bias[plane]);
    std::ptrdiff_t y = a.row_begin;
    for (; y + 4 <= a.row_end; y += 4) convolve_row_block<T, 4, Step>(a, weight, bias, y);
    for (; y + 2 <= a.row_end; y += 2) convolve_row_block<T, 2, Step>(a, weight, bias, y);
    if (y < a.row_end) convolve_row_block<T, 1, Step>(a, weight, bias, y);
    a.source += a.height * a.width;
    a.result += a.height_out * a.columns;
    if (a.residual != nullptr) a.residual += a.height_out * a.columns;
  }
}

// Beside nine sums, of 32 registers or 16.
constexpr int kSummedRows = CONVOLITE_VECTOR_BYTES == 64 ? 4 : 2;

// Lanes that another vector counts are zero in both factors: zero times an infinity would be NaN.
template <class T, int Rows, int Step>
CONVOLITE_INLINE void sum_row_block(const DepthwiseRowsWeightArguments<T>& a, std::ptrdiff_t y,
                                    Vec<T> (&sum)[9]) {
  const RowBlock<T, Rows, Step> block(a, y);
  for_each_row_vector<T>(
      a.columns, [&](std::ptrdiff_t x, auto sides,
                     std::ptrdiff_t repeated) __attribute__((always_inline)) {
        const VecMask<T> counted = ~first_lanes<T>(repeated);
        Vec<T> grad[Rows];
        CONVOLITE_UNROLL for (int r = 0; r < Rows; ++r) {
          grad[r] = keep_lanes<T>(load(a.grad + (y + r) * a.columns + x), counted);
        }
        block.for_each_product(
            x, sides, [&](int r, int tap, Vec<T> value) __attribute__((always_inline)) {
              sum[tap] += grad[r] * keep_lanes<T>(value, counted);
            });
      });
}

template <class T, int Step>
void depthwise_rows_weight(const DepthwiseRowsWeightArguments<T>& arguments) {
  DepthwiseRowsWeightArguments<T> a = arguments;
  Vec<T> sum[9];
  CONVOLITE_UNROLL for (int t = 0; t < 9; ++t) sum[t] = Vec<T>{};
  for (std::ptrdiff_t plane = 0; plane < a.planes; ++plane) {
    std::ptrdiff_t y = a.row_begin;
    for (; y + kSummedRows <= a.row_end; y += kSummedRows) {
      sum_row_block<T, kSummedRows, Step>(a, y, sum);
    }
    for (; y < a.row_end; ++y) sum_row_block<T, 1, Step>(a, y, sum);
    a.source += a.source_plane_stride;
    a.grad += a.grad_plane_stride;
  }
  CONVOLITE_UNROLL for (int t = 0; t < 9; ++t) a.sums[t] += sum_lanes<T>(sum[t]);
}

template <class T>
constexpr DepthwiseRowsKernels<T> depthwise_rows_kernels() {
  return {{depthwise_rows<T, 1>, depthwise_rows<T, 2>},
          {depthwise_rows_weight<T, 1>, depthwise_rows_weight<T, 2>}};
}
