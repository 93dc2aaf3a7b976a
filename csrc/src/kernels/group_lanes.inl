// Convolution with groups as lanes (contract: table.h). Neither taps nor strides nor phases need
// code of their own: every pixel is a whole vector.

template <class T>
CONVOLITE_INLINE void gather_block(const T* const* planes, const std::int32_t* place, T* lanes) {
  Vec<T> block[kLanes<T>];
  CONVOLITE_UNROLL for (int l = 0; l < kLanes<T>; ++l) block[l] = load(planes[l]);
  transpose_stages<T, 1>(block);
  CONVOLITE_UNROLL for (int l = 0; l < kLanes<T>; ++l) store(lanes + place[l], block[l]);
}

// Bound by shuffles. The last block of pixels begins earlier than it would.
template <class T>
void gather_lanes(const LaneGatherArguments<T>& a) {
  const T* planes[kLanes<T>];
  for (std::ptrdiff_t l = 0; l < kLanes<T>; ++l) {
    planes[l] = a.source + (l < a.planes ? l : a.planes - 1) * a.plane_stride;
  }
  const bool narrow = a.pixels < kLanes<T>;
  const std::ptrdiff_t step = narrow ? 1 : kLanes<T>;
  for (std::ptrdiff_t i = 0; i < a.pixels; i += step) {
    const std::ptrdiff_t first = i + step <= a.pixels ? i : a.pixels - step;
    const T* at[kLanes<T>];
    CONVOLITE_UNROLL for (int l = 0; l < kLanes<T>; ++l) at[l] = planes[l] + first;
    if (narrow) {
      for (int l = 0; l < kLanes<T>; ++l) a.lanes[a.places[i] + l] = *at[l];
    } else {
      gather_block(at, a.places + first, a.lanes);
    }
  }
}

// Taps in rows of `Columns` neighbours: a vector is loaded once for all taps that meet it.
template <class T, int Columns, int Step>
struct TapRows {
  static constexpr std::ptrdiff_t step = Step * kLanes<T>;

  explicit TapRows(const GroupLaneArguments<T>&) {}

  template <int Pixels>
  CONVOLITE_INLINE void add(const GroupLaneArguments<T>& a, const T* source,
                            Vec<T> (&sum)[Pixels]) const {
    for (std::ptrdiff_t t = 0; t < a.taps.count; t += Columns) {
      Vec<T> weight[Columns];
      CONVOLITE_UNROLL for (int s = 0; s < Columns; ++s) {
        weight[s] = load(a.weight + a.taps.weights[t + s]);
      }
      const T* const from = source + a.taps.offsets[t];
      CONVOLITE_UNROLL for (int x = 0; x < (Pixels - 1) * Step + Columns; ++x) {
        const Vec<T> value = load(from + x * kLanes<T>);
        CONVOLITE_UNROLL for (int s = 0; s < Columns; ++s) {
          const int p = (x - s) / Step;
          if (x >= s && (x - s) % Step == 0 && p < Pixels) sum[p] += weight[s] * value;
        }
      }
    }
  }
};

// Any taps and step.
template <class T>
struct TapVectors {
  std::ptrdiff_t step;

  explicit TapVectors(const GroupLaneArguments<T>& a) : step(a.step) {}

  template <int Pixels>
  CONVOLITE_INLINE void add(const GroupLaneArguments<T>& a, const T* source,
                            Vec<T> (&sum)[Pixels]) const {
    for (std::ptrdiff_t t = 0; t < a.taps.count; ++t) {
      const Vec<T> weight = load(a.weight + a.taps.weights[t]);
      const T* const from = source + a.taps.offsets[t];
      CONVOLITE_UNROLL for (int p = 0; p < Pixels; ++p) sum[p] += weight * load(from + p * step);
    }
  }
};

// So many sums hide the latency of the multiply-adds and share each load of a weight.
constexpr int kLanePixels = 8;

template <class T, int Pixels, class Taps>
CONVOLITE_INLINE void convolve_pixels(const GroupLaneArguments<T>& a, const Taps& taps,
                                      const T* source, T* result) {
  const Vec<T> bias = a.bias == nullptr ? Vec<T>{} : load(a.bias);
  Vec<T> sum[Pixels];
  CONVOLITE_UNROLL for (int p = 0; p < Pixels; ++p) sum[p] = bias;
  taps.template add<Pixels>(a, source, sum);
  CONVOLITE_UNROLL for (int p = 0; p < Pixels; ++p) {
    if (a.clamp) sum[p] = at_most<T>(at_least<T>(sum[p], broadcast(a.low)), broadcast(a.high));
    store(result + p * a.result_step, sum[p]);
  }
}

template <class T, class Taps>
CONVOLITE_INLINE void convolve_up_to(std::ptrdiff_t pixels, const GroupLaneArguments<T>& a,
                                     const Taps& taps, const T* source, T* result) {
  switch (pixels) {
    case 1:
      return convolve_pixels<T, 1>(a, taps, source, result);
    case 2:
      return convolve_pixels<T, 2>(a, taps, source, result);
    case 3:
      return convolve_pixels<T, 3>(a, taps, source, result);
    case 4:
      return convolve_pixels<T, 4>(a, taps, source, result);
    case 5:
      return convolve_pixels<T, 5>(a, taps, source, result);
    case 6:
      return convolve_pixels<T, 6>(a, taps, source, result);
    case 7:
      return convolve_pixels<T, 7>(a, taps, source, result);
    default:
      return convolve_pixels<T, kLanePixels>(a, taps, source, result);
  }
}

// The pixels of a row are dealt out evenly. Works on a copy of the arguments, which no store can
// change.
template <class T, class Taps>
void convolve_lanes(const GroupLaneArguments<T>& arguments) {
  const GroupLaneArguments<T> a = arguments;
  const Taps taps(a);
  const std::ptrdiff_t calls = (a.columns + kLanePixels - 1) / kLanePixels;
  const std::ptrdiff_t few = a.columns / calls, more = a.columns % calls;
  for (std::ptrdiff_t y = 0; y < a.rows; ++y) {
    const T* source = a.source + y * a.row_step;
    T* result = a.result + y * a.result_row_step;
    for (std::ptrdiff_t i = 0; i < calls; ++i) {
      const std::ptrdiff_t pixels = i < more ? few + 1 : few;
      convolve_up_to(pixels, a, taps, source, result);
      source += pixels * taps.step;
      result += pixels * a.result_step;
    }
  }
}

// Bound by loads: one for each product and one for each pixel.
template <class T, int Taps>
void sum_lane_weights(const GroupLaneWeightArguments<T>& a) {
  Vec<T> sum[Taps];
  std::ptrdiff_t offset[Taps];
  CONVOLITE_UNROLL for (int t = 0; t < Taps; ++t) {
    sum[t] = load(a.sums + t * kLanes<T>);
    offset[t] = a.offsets[t];
  }
  const T* grad = a.grad;
  for (std::ptrdiff_t y = 0; y < a.rows; ++y) {
    const T* source = a.source + y * a.row_step;
    const T* const end = grad + a.columns * kLanes<T>;
    for (; grad != end; grad += kLanes<T>, source += a.step) {
      const Vec<T> factor = load(grad);
      CONVOLITE_UNROLL for (int t = 0; t < Taps; ++t) sum[t] += factor * load(source + offset[t]);
    }
  }
  CONVOLITE_UNROLL for (int t = 0; t < Taps; ++t) store(a.sums + t * kLanes<T>, sum[t]);
}

template <class T, int Taps>
constexpr void fill_lane_weights(GroupLaneKernels<T>& kernels) {
  if constexpr (Taps <= kMostWeightTaps) {
    kernels.weight_taps[Taps - 1] = sum_lane_weights<T, Taps>;
    fill_lane_weights<T, Taps + 1>(kernels);
  }
}

template <class T>
constexpr GroupLaneKernels<T> group_lane_kernels() {
  GroupLaneKernels<T> kernels{};
  kernels.gather = gather_lanes<T>;
  kernels.any_taps = convolve_lanes<T, TapVectors<T>>;
  kernels.rows_of_2 = convolve_lanes<T, TapRows<T, 2, 1>>;
  kernels.rows_of_3[0] = convolve_lanes<T, TapRows<T, 3, 1>>;
  kernels.rows_of_3[1] = convolve_lanes<T, TapRows<T, 3, 2>>;
  kernels.rows_of_5[0] = convolve_lanes<T, TapRows<T, 5, 1>>;
  kernels.rows_of_5[1] = convolve_lanes<T, TapRows<T, 5, 2>>;
  fill_lane_weights<T, 1>(kernels);
  return kernels;
}
