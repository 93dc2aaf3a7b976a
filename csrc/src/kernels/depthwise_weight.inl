// The gradient of depthwise filters on bands of padded planes (contract: table.h). All sums stay in
// registers over the planes of a call.

// Lanes past the row's end are zero in both factors: zero times an infinity would be NaN.
template <class T, bool Whole>
struct RowEnd {
  VecMask<T> mask;
  std::ptrdiff_t count;
  const T* grad_end;

  CONVOLITE_INLINE Vec<T> grad(const T* from) const {
    if (Whole) return load(from);
    return grad_end - from >= kLanes<T> ? keep_lanes<T>(load(from), mask)
                                        : load_partial(from, count);
  }
  CONVOLITE_INLINE Vec<T> source(const T* from) const {
    return Whole ? load(from) : keep_lanes<T>(load(from), mask);
  }
};

// Up to nine taps anywhere. Bound by loads: one for each product.
template <class T, int Taps>
struct WeightTaps {
  static constexpr int taps = Taps, rows = 1;
  const std::ptrdiff_t* offsets;

  explicit WeightTaps(const DepthwiseWeightArguments<T>& a) : offsets(a.offsets) {}

  template <int Rows, bool Whole>
  CONVOLITE_INLINE void add(const T* source, const Vec<T> (&grad)[Rows],
                            const RowEnd<T, Whole>& end, Vec<T> (&sum)[Taps]) const {
    CONVOLITE_UNROLL for (int t = 0; t < Taps; ++t) {
      sum[t] += grad[0] * end.source(source + offsets[t]);
    }
  }
};

// 3x3 taps without vertical dilation: a vector of the band is loaded once for four rows of grad.
// The whole gradient reaches 22 % of the multiply-add peak on one thread for 56x56 pixels, bound by
// the traffic of the images, and 13 % for 7x7, where rows end before a vector does and the last
// sums are taken often (Zen 3, AVX2, csrc/benchmarks/bench_conv2d, 2026-11).
template <class T, int Step>
struct WeightSquare {
  static constexpr int taps = 9, rows = 4;
  std::ptrdiff_t column[3];
  std::ptrdiff_t pitch;

  explicit WeightSquare(const DepthwiseWeightArguments<T>& a)
      : column{a.offsets[0], a.offsets[1], a.offsets[2]}, pitch(a.source_stride / Step) {}

  template <int Rows, bool Whole>
  CONVOLITE_INLINE void add(const T* source, const Vec<T> (&grad)[Rows],
                            const RowEnd<T, Whole>& end, Vec<T> (&sum)[9]) const {
    CONVOLITE_UNROLL for (int i = 0; i < (Rows - 1) * Step + 3; ++i, source += pitch) {
      CONVOLITE_UNROLL for (int s = 0; s < 3; ++s) {
        const Vec<T> value = end.source(source + column[s]);
        CONVOLITE_UNROLL for (int r = 0; r < Rows; ++r) {
          const int tap_row = i - r * Step;
          if (tap_row >= 0 && tap_row < 3) sum[tap_row * 3 + s] += grad[r] * value;
        }
      }
    }
  }
};

template <class T, int Rows, class Window>
CONVOLITE_INLINE void sum_rows_of_window(const DepthwiseWeightArguments<T>& a, const Window& window,
                                         const T* source, const T* grad_rows,
                                         Vec<T> (&sum)[Window::taps]) {
  const RowEnd<T, true> whole{};
  Vec<T> grad[Rows];
  std::ptrdiff_t x = 0;
  for (; x + kLanes<T> <= a.columns; x += kLanes<T>) {
    CONVOLITE_UNROLL for (int r = 0; r < Rows; ++r) grad[r] = load(grad_rows + r * a.columns + x);
    window.template add<Rows>(source + x, grad, whole, sum);
  }
  if (x == a.columns) return;
  const RowEnd<T, false> end{first_lanes<T>(a.columns - x), a.columns - x, a.grad_end};
  CONVOLITE_UNROLL for (int r = 0; r < Rows; ++r) grad[r] = end.grad(grad_rows + r * a.columns + x);
  window.template add<Rows>(source + x, grad, end, sum);
}

template <class T, class Window>
void weight_sums(const DepthwiseWeightArguments<T>& a) {
  const Window window(a);
  Vec<T> sum[Window::taps];
  CONVOLITE_UNROLL for (int t = 0; t < Window::taps; ++t) sum[t] = Vec<T>{};
  for (std::ptrdiff_t plane = 0; plane < a.planes; ++plane) {
    const T* source = a.source + plane * a.source_plane_stride;
    const T* grad = a.grad + plane * a.grad_plane_stride;
    std::ptrdiff_t y = 0;
    for (; y + Window::rows <= a.rows; y += Window::rows) {
      sum_rows_of_window<T, Window::rows>(a, window, source, grad, sum);
      source += Window::rows * a.source_stride;
      grad += Window::rows * a.columns;
    }
    for (; y < a.rows; ++y, source += a.source_stride, grad += a.columns) {
      sum_rows_of_window<T, 1>(a, window, source, grad, sum);
    }
  }
  CONVOLITE_UNROLL for (int t = 0; t < Window::taps; ++t) a.sums[t] += sum_lanes<T>(sum[t]);
}

template <class T, int Taps>
constexpr void fill_weight_taps(DepthwiseKernels<T>& kernels) {
  if constexpr (Taps <= kMostWeightTaps) {
    kernels.weight_taps[Taps - 1] = weight_sums<T, WeightTaps<T, Taps>>;
    fill_weight_taps<T, Taps + 1>(kernels);
  }
}

template <class T>
constexpr DepthwiseKernels<T> depthwise_kernels() {
  DepthwiseKernels<T> kernels{};
  kernels.fill_band = fill_band<T>;
  kernels.one_phase = convolve<T, TapList<T>>;
  kernels.square_3[0] = convolve<T, SquareWindow<T, 3, 1>>;
  kernels.square_3[1] = convolve<T, SquareWindow<T, 3, 2>>;
  kernels.square_5[0] = convolve<T, SquareWindow<T, 5, 1>>;
  kernels.square_5[1] = convolve<T, SquareWindow<T, 5, 2>>;
  kernels.two_column_phases = convolve_two_column_phases<T>;
  kernels.any_phases = convolve_any_phases<T>;
  fill_weight_taps<T, 1>(kernels);
  kernels.weight_square_3[0] = weight_sums<T, WeightSquare<T, 1>>;
  kernels.weight_square_3[1] = weight_sums<T, WeightSquare<T, 2>>;
  return kernels;
}
