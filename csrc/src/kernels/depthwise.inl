// Depthwise convolution on bands of padded planes (contract: table.h). Each result is a sum of few
// products, so loads decide: a block of rows keeps its sums in registers while every vector of the
// band is loaded once for all rows of the block that it belongs to.

template <class T>
CONVOLITE_INLINE void zero_run(T* to, std::ptrdiff_t count) {
  for (std::ptrdiff_t x = 0; x < count; x += kLanes<T>) store(to + x, Vec<T>{});
}

// One image row to its phases. The vectors past its end are wiped by the zeros behind it.
template <class T>
CONVOLITE_INLINE void copy_row(const T* source, const T* source_end, std::ptrdiff_t columns,
                               T* to) {
  for (std::ptrdiff_t x = 0; x < columns; x += kLanes<T>) {
    const T* from = source + x;
    store(to + x, source_end - from >= kLanes<T> ? load(from) : load_partial(from, columns - x));
  }
}

template <class T>
CONVOLITE_INLINE void split_row(const T* source, const T* source_end, std::ptrdiff_t columns,
                                T* even, T* odd) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  std::ptrdiff_t x = 0;
  for (; x < columns && source_end - (source + x) >= 2 * lanes; x += 2 * lanes) {
    const Vec<T> low = load(source + x), high = load(source + x + lanes);
    store(even + x / 2, in_order<T>(evens<T>(low, high)));
    store(odd + x / 2, in_order<T>(odds<T>(low, high)));
  }
  for (; x < columns; ++x) (x % 2 == 0 ? even : odd)[x / 2] = source[x];
}

// Bound by stores into the first cache.
template <class T>
void fill_band(const DepthwiseBandArguments<T>& a) {
  const auto phase = [&](std::ptrdiff_t x) {  // place of image column x in the first row
    return (a.left + x) % a.step * a.phase_stride + (a.left + x) / a.step;
  };
  const auto count = [&](std::ptrdiff_t x) {  // image columns x, x + step, ...
    return x < a.columns ? (a.columns - x + a.step - 1) / a.step : 0;
  };
  const std::ptrdiff_t first = phase(0), second = a.step == 2 ? phase(1) : 0;
  const std::ptrdiff_t end = a.above + a.rows + a.below;
  for (std::ptrdiff_t plane = 0; plane < a.planes; ++plane) {
    T* row = a.band + plane * a.band_stride;
    const T* source = a.source + plane * a.source_stride;
    for (std::ptrdiff_t y = 0; y < end; ++y, row += a.pitch) {
      if (y < a.above || y >= a.above + a.rows) {
        for (std::ptrdiff_t b = 0; b < a.step; ++b) zero_run(row + b * a.phase_stride, a.pitch);
        continue;
      }
      if (a.step == 1) {
        copy_row(source, a.source_end, a.columns, row + first);
        zero_run(row + first + a.columns, a.pitch - a.columns);
      } else if (a.step == 2) {
        split_row(source, a.source_end, a.columns, row + first, row + second);
        zero_run(row + first + count(0), a.pitch - count(0));
        zero_run(row + second + count(1), a.pitch - count(1));
      } else {
        for (std::ptrdiff_t b = 0; b < a.step; ++b) {
          T* to = row + phase(b);
          for (std::ptrdiff_t x = b; x < a.columns; x += a.step) *to++ = source[x];
          zero_run(to, a.pitch - count(b));
        }
      }
      source += a.source_pitch;
    }
  }
}

// Any taps. Bound by loads: one for each product.
template <class T>
struct TapList {
  const DepthwiseArguments<T>& a;

  explicit TapList(const DepthwiseArguments<T>& arguments) : a(arguments) {}

  template <int Rows>
  CONVOLITE_INLINE void add(const T* source, Vec<T> (&sum)[Rows]) const {
    for (std::ptrdiff_t t = 0; t < a.taps; ++t) {
      const Vec<T> weight = broadcast(a.weight[a.weights[t]]);
      const T* from = source + a.offsets[t];
      CONVOLITE_UNROLL for (int r = 0; r < Rows; ++r) {
        sum[r] += weight * load(from + r * a.source_stride);
      }
    }
  }
};

// Size x Size taps without vertical dilation: (Rows - 1) * Step + Size rows of loads for Rows rows
// of results, so that arithmetic is the bound.
template <class T, int Size, int Step>
struct SquareWindow {
  Vec<T> weight[Size * Size];
  std::ptrdiff_t column[Size];
  std::ptrdiff_t pitch;

  explicit SquareWindow(const DepthwiseArguments<T>& a) : pitch(a.source_stride / Step) {
    CONVOLITE_UNROLL for (int t = 0; t < Size * Size; ++t) {
      weight[t] = broadcast(a.weight[a.weights[t]]);
    }
    CONVOLITE_UNROLL for (int s = 0; s < Size; ++s) column[s] = a.offsets[s];
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

template <class T, int Rows, class Window>
CONVOLITE_INLINE void convolve_rows(const DepthwiseArguments<T>& a, const Window& window,
                                    std::ptrdiff_t y) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  const Vec<T> low = broadcast(a.low), high = broadcast(a.high);
  const T* const source = a.source + y * a.source_stride;
  T* const result = a.result + y * a.result_stride;
  const std::ptrdiff_t room = a.room - y * a.result_stride;
  for (std::ptrdiff_t x = 0; x < a.columns; x += lanes) {
    const bool narrow = a.columns < lanes;
    const std::ptrdiff_t at = narrow || x + lanes <= a.columns ? x : a.columns - lanes;
    Vec<T> sum[Rows];
    CONVOLITE_UNROLL for (int r = 0; r < Rows; ++r) sum[r] = broadcast(a.bias);
    window.template add<Rows>(source + at, sum);
    CONVOLITE_UNROLL for (int r = 0; r < Rows; ++r) {
      if (a.clamp) sum[r] = at_most<T>(at_least<T>(sum[r], low), high);
      T* to = result + at + r * a.result_stride;
      if (narrow && room - r * a.result_stride < lanes) {
        store_partial(to, sum[r], a.columns);
      } else {
        store(to, sum[r]);
      }
    }
  }
}

template <class T, class Window>
void convolve(const DepthwiseArguments<T>& a) {
  const Window window(a);
  std::ptrdiff_t y = 0;
  for (; y + 4 <= a.rows; y += 4) convolve_rows<T, 4>(a, window, y);
  if (y + 2 <= a.rows) {
    convolve_rows<T, 2>(a, window, y);
    y += 2;
  }
  if (y < a.rows) convolve_rows<T, 1>(a, window, y);
}

// Two phases side by side, from whole vectors of each.
template <class T>
CONVOLITE_INLINE void merge_two(const T* even, const T* odd, std::ptrdiff_t columns, T* result,
                                std::ptrdiff_t room) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  for (std::ptrdiff_t x = 0; x < columns; x += 2 * lanes) {
    const Vec<T> a = block_order<T>(load(even + x / 2)), b = block_order<T>(load(odd + x / 2));
    const Vec<T> low = interleave_low<T>(a, b), high = interleave_high<T>(a, b);
    if (room - x >= 2 * lanes) {
      store(result + x, low);
      store(result + x + lanes, high);
    } else {
      store_up_to(result + x, low, columns - x);
      if (columns - x > lanes) store_up_to(result + x + lanes, high, columns - x - lanes);
    }
  }
}

// Bound by stores.
template <class T>
void merge_phases(const DepthwiseMergeArguments<T>& a) {
  T* result = a.result;
  for (std::ptrdiff_t y = 0; y < a.rows; ++y, result += a.columns) {
    const T* phase = a.phases + y % a.row_step * a.row_phase_stride + y / a.row_step * a.pitch;
    if (a.step == 2) {
      merge_two(phase, phase + a.phase_stride, a.columns, result, a.room - (result - a.result));
      continue;
    }
    for (std::ptrdiff_t b = 0; b < a.step; ++b, phase += a.phase_stride) {
      const T* from = phase;
      for (std::ptrdiff_t x = b; x < a.columns; x += a.step) result[x] = *from++;
    }
  }
}
