// Depthwise convolution on bands of padded planes (contract: table.h). Each result is a sum of few
// products, so loads decide: a block of rows keeps its sums in registers while every vector of the
// band is loaded once for all rows of the block that it belongs to.

// The columns of an image row past its last whole vectors, in up to Vectors more. All rows of a
// call share the masks.
template <class T, int Vectors>
struct RowTail {
  std::ptrdiff_t begin, count;
  VecMask<T> mask[Vectors];

  explicit RowTail(std::ptrdiff_t columns) : begin(columns / step * step), count(columns - begin) {
    CONVOLITE_UNROLL for (int v = 0; v < Vectors; ++v) {
      mask[v] = first_lanes<T>(count - v * kLanes<T>);
    }
  }

  // `open`: whole vectors may be read.
  template <int V>
  CONVOLITE_INLINE Vec<T> part(const T* row, bool open) const {
    const T* from = row + begin + V * kLanes<T>;
    if (open) return keep_lanes<T>(load(from), mask[V]);
    const std::ptrdiff_t left = count - V * kLanes<T>;
    return left <= 0 ? Vec<T>{} : load_partial(from, left < kLanes<T> ? left : kLanes<T>);
  }

 private:
  static constexpr std::ptrdiff_t step = Vectors * kLanes<T>;
};

template <class T>
struct CopyRow {
  static constexpr int vectors = 1;
  std::ptrdiff_t place;
  RowTail<T, 1> tail;

  CONVOLITE_INLINE void operator()(const T* source, bool open, T* row) const {
    T* const to = row + place;
    for (std::ptrdiff_t x = 0; x < tail.begin; x += kLanes<T>) store(to + x, load(source + x));
    if (tail.count > 0) store(to + tail.begin, tail.template part<0>(source, open));
  }
};

template <class T>
struct SplitRow {
  static constexpr int vectors = 2;
  std::ptrdiff_t even, odd;
  RowTail<T, 2> tail;

  CONVOLITE_INLINE void operator()(const T* source, bool open, T* row) const {
    for (std::ptrdiff_t x = 0; x < tail.begin; x += 2 * kLanes<T>) {
      split(load(source + x), load(source + x + kLanes<T>), row + x / 2);
    }
    if (tail.count > 0) {
      split(tail.template part<0>(source, open), tail.template part<1>(source, open),
            row + tail.begin / 2);
    }
  }

 private:
  CONVOLITE_INLINE void split(Vec<T> low, Vec<T> high, T* row) const {
    store(row + even, in_order<T>(evens<T>(low, high)));
    store(row + odd, in_order<T>(odds<T>(low, high)));
  }
};

// Any step.
template <class T>
struct DealRow {
  static constexpr int vectors = 0;
  const DepthwiseBandArguments<T>& a;

  CONVOLITE_INLINE void operator()(const T* source, bool, T* row) const {
    for (std::ptrdiff_t x = 0; x < a.columns; ++x) {
      const std::ptrdiff_t q = a.left + x;
      row[q % a.step * a.phase_stride + q / a.step] = source[x];
    }
  }
};

template <class T>
CONVOLITE_INLINE void zero_rows(const DepthwiseBandArguments<T>& a, T* row, std::ptrdiff_t rows) {
  for (std::ptrdiff_t b = 0; b < a.step; ++b, row += a.phase_stride) {
    for (std::ptrdiff_t x = 0; x < rows * a.pitch; x += kLanes<T>) store(row + x, Vec<T>{});
  }
}

template <class T, class Copy>
CONVOLITE_INLINE void fill_planes(const DepthwiseBandArguments<T>& a, const Copy& copy) {
  for (std::ptrdiff_t plane = 0; plane < a.planes; ++plane) {
    T* row = a.band + plane * a.band_stride;
    const T* source = a.source + plane * a.source_stride;
    const T* const last = source + (a.rows - 1) * a.source_pitch;
    const bool open = a.source_end - last >= a.columns + Copy::vectors * kLanes<T>;
    zero_rows(a, row, a.above);
    row += a.above * a.pitch;
    for (std::ptrdiff_t y = 0; y < a.rows; ++y, row += a.pitch, source += a.source_pitch) {
      copy(source, open, row);
    }
    zero_rows(a, row, a.below + 1);
  }
}

// Bound by stores into the first cache.
template <class T>
void fill_band(const DepthwiseBandArguments<T>& arguments) {
  const DepthwiseBandArguments<T> a = arguments;  // no store can change a copy
  const auto place = [&](std::ptrdiff_t x) {
    return (a.left + x) % a.step * a.phase_stride + (a.left + x) / a.step;
  };
  if (a.step == 1) {
    fill_planes(a, CopyRow<T>{a.left, RowTail<T, 1>(a.columns)});
  } else if (a.step == 2) {
    fill_planes(a, SplitRow<T>{place(0), place(1), RowTail<T, 2>(a.columns)});
  } else {
    fill_planes(a, DealRow<T>{a});
  }
}

// Any taps. Bound by loads: one for each product.
template <class T>
struct TapList {
  const DepthwiseTaps& taps;
  const T* weight;
  std::ptrdiff_t source_stride;

  TapList(const DepthwiseArguments<T>& a, const DepthwiseTaps& phase)
      : taps(phase), weight(a.weight), source_stride(a.source_stride) {}

  template <int Rows>
  CONVOLITE_INLINE void add(const T* source, Vec<T> (&sum)[Rows]) const {
    for (std::ptrdiff_t t = 0; t < taps.count; ++t) {
      const Vec<T> factor = broadcast(weight[taps.weights[t]]);
      const T* from = source + taps.offsets[t];
      CONVOLITE_UNROLL for (int r = 0; r < Rows; ++r) {
        sum[r] += factor * load(from + r * source_stride);
      }
    }
  }
};

// Size x Size taps without vertical dilation: (Rows - 1) * Step + Size rows of loads for Rows rows
// of results. The whole of a 3x3 convolution reaches 25 % of the multiply-add peak on one thread
// for 56x56 pixels, bound by the traffic of the images, and 15 % for 7x7, where starting a plane
// costs as much as its rows (Zen 3, AVX2, csrc/benchmarks/bench_conv2d, 2026-11).
template <class T, int Size, int Step>
struct SquareWindow {
  Vec<T> weight[Size * Size];
  std::ptrdiff_t column[Size];
  std::ptrdiff_t pitch;

  SquareWindow(const DepthwiseArguments<T>& a, const DepthwiseTaps& taps)
      : pitch(a.source_stride / Step) {
    CONVOLITE_UNROLL for (int t = 0; t < Size * Size; ++t) {
      weight[t] = broadcast(a.weight[taps.weights[t]]);
    }
    CONVOLITE_UNROLL for (int s = 0; s < Size; ++s) column[s] = taps.offsets[s];
  }

  template <int Rows>
  CONVOLITE_INLINE void add(const T* source, Vec<T> (&sum)[Rows]) const {
    CONVOLITE_UNROLL for (int i = 0; i < (Rows - 1) * Step + Size; ++i, source += pitch) {
      CONVOLITE_UNROLL for (int s = 0; s < Size; ++s) {
        const Vec<T> value = load(source + column[s]);
        CONVOLITE_UNROLL for (int r = 0; r < Rows; ++r) {
          const int tap_row = i - r * Step;
          if (tap_row >= 0 && tap_row < Size) sum[r] += weight[tap_row * Size + s] * value;
        }
      }
    }
  }
};

template <class T>
CONVOLITE_INLINE Vec<T> clamp_sum(const DepthwiseArguments<T>& a, Vec<T> sum) {
  return a.clamp ? at_most<T>(at_least<T>(sum, broadcast(a.low)), broadcast(a.high)) : sum;
}

// body(a, bias) for each plane. Works on a copy of the arguments, which no store can change.
template <class T, class Body>
CONVOLITE_INLINE void for_each_plane(DepthwiseArguments<T> a, Body body) {
  for (std::ptrdiff_t plane = 0; plane < a.planes; ++plane) {
    body(a, broadcast(a.bias == nullptr ? T(0) : a.bias[plane]));
    a.source += a.source_plane_stride;
    a.weight += a.filter_size;
    a.result += a.rows * a.columns;
    if (a.residual != nullptr) a.residual += a.rows * a.columns;
    a.room -= a.rows * a.columns;
  }
}

// A last vector that would cross the row's end begins earlier, so that all stores are exact; a row
// shorter than a vector has no such place.
template <class T, int Rows, class Window>
CONVOLITE_INLINE void convolve_rows(const DepthwiseArguments<T>& a, const Window& window,
                                    Vec<T> bias, std::ptrdiff_t y) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  const T* const source = a.source + y * a.source_stride;
  T* const result = a.result + y * a.columns;
  const T* const residual = a.residual == nullptr ? nullptr : a.residual + y * a.columns;
  const std::ptrdiff_t room = a.room - y * a.columns;
  const bool narrow = a.columns < lanes;
  for (std::ptrdiff_t x = 0; x < a.columns; x += lanes) {
    const std::ptrdiff_t at = narrow || x + lanes <= a.columns ? x : a.columns - lanes;
    Vec<T> sum[Rows];
    CONVOLITE_UNROLL for (int r = 0; r < Rows; ++r) sum[r] = bias;
    window.template add<Rows>(source + at, sum);
    CONVOLITE_UNROLL for (int r = 0; r < Rows; ++r) {
      const std::ptrdiff_t to = at + r * a.columns;
      const std::ptrdiff_t count = narrow && room - r * a.columns < lanes ? a.columns : lanes;
      if (residual != nullptr) sum[r] += load_up_to(residual + to, count);
      store_up_to(result + to, clamp_sum(a, sum[r]), count);
    }
  }
}

template <class T, class Window>
void convolve(const DepthwiseArguments<T>& arguments) {
  for_each_plane(
      arguments, [](const DepthwiseArguments<T>& a, Vec<T> bias) __attribute__((always_inline)) {
        const Window window(a, *a.phases);
        std::ptrdiff_t y = 0;
        for (; y + 4 <= a.rows; y += 4) convolve_rows<T, 4>(a, window, bias, y);
        if (a.rows - y == 3) convolve_rows<T, 3>(a, window, bias, y);
        if (a.rows - y == 2) convolve_rows<T, 2>(a, window, bias, y);
        if (a.rows - y == 1) convolve_rows<T, 1>(a, window, bias, y);
      });
}

template <class T>
CONVOLITE_INLINE Vec<T> sum_of_phase(const DepthwiseArguments<T>& a, const DepthwiseTaps& phase,
                                     Vec<T> bias, const T* source) {
  Vec<T> sum[1] = {bias};
  TapList<T>(a, phase).add(source, sum);
  return clamp_sum(a, sum[0]);
}

template <class T>
CONVOLITE_INLINE void store_two_phases(Vec<T> even, Vec<T> odd, std::ptrdiff_t columns,
                                       std::ptrdiff_t room, T* result) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  even = block_order<T>(even);
  odd = block_order<T>(odd);
  const Vec<T> low = interleave_low<T>(even, odd), high = interleave_high<T>(even, odd);
  if (room >= 2 * lanes) {
    store(result, low);
    store(result + lanes, high);
  } else {
    store_up_to(result, low, columns);
    if (columns > lanes) store_up_to(result + lanes, high, columns - lanes);
  }
}

// Bound by loads and stores: 9 of the first for 4 of the second in a 3x3 kernel's gradient.
template <class T>
void convolve_two_column_phases(const DepthwiseArguments<T>& arguments) {
  for_each_plane(
      arguments, [](const DepthwiseArguments<T>& a, Vec<T> bias) __attribute__((always_inline)) {
        for (std::ptrdiff_t y = 0; y < a.rows; ++y) {
          const T* const source = a.source + y / a.row_phases * a.source_stride;
          const DepthwiseTaps even = a.phases[y % a.row_phases * 2];
          const DepthwiseTaps odd = a.phases[y % a.row_phases * 2 + 1];
          const std::ptrdiff_t row = y * a.columns;
          for (std::ptrdiff_t x = 0; x < a.columns; x += 2 * kLanes<T>) {
            store_two_phases<T>(sum_of_phase(a, even, bias, source + x / 2),
                                sum_of_phase(a, odd, bias, source + x / 2), a.columns - x,
                                a.room - row - x, a.result + row + x);
          }
        }
      });
}

template <class T>
void convolve_any_phases(const DepthwiseArguments<T>& arguments) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  for_each_plane(arguments, [](const DepthwiseArguments<T>& a, Vec<T> bias) {
    for (std::ptrdiff_t y = 0; y < a.rows; ++y) {
      const T* const source = a.source + y / a.row_phases * a.source_stride;
      for (std::ptrdiff_t b = 0; b < a.column_phases; ++b) {
        const DepthwiseTaps& taps = a.phases[y % a.row_phases * a.column_phases + b];
        const std::ptrdiff_t count = (a.columns - b + a.column_phases - 1) / a.column_phases;
        T* const to = a.result + y * a.columns + b;
        for (std::ptrdiff_t x = 0; x < count; x += lanes) {
          T sums[lanes];
          store(sums, sum_of_phase(a, taps, bias, source + x));
          for (std::ptrdiff_t i = 0; i < lanes && x + i < count; ++i) {
            to[(x + i) * a.column_phases] = sums[i];
          }
        }
      }
    }
  });
}
