// Convolution with groups as lanes (contract: table.h). Neither taps nor strides nor phases need
// code of their own: every pixel is a whole vector.

template <class T>
CONVOLITE_INLINE void gather_block(const T* const* planes, const std::int32_t* place, T* lanes) {
  Vec<T> block[kLanes<T>];
  CONVOLITE_UNROLL for (int l = 0; l < kLanes<T>; ++l) block[l] = load(planes[l]);
  transpose_stages<T, 1>(block);
  CONVOLITE_UNROLL for (int l = 0; l < kLanes<T>; ++l) store(lanes + place[l], block[l]);
}

// Bound by memory, else by shuffles. The last block of pixels begins earlier than it would.
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
      CONVOLITE_UNROLL for (int l = 0; l < kLanes<T>; ++l) prefetch(at[l], a.next_plane, 1);
      gather_block(at, a.places + first, a.lanes);
    }
  }
}

// Taps in rows of `Columns` neighbours: a vector is loaded once for all taps that meet it.
template <class T, int Columns, int Step>
struct TapRows {
  static constexpr int results = 1, most_pixels = 8;  // so many sums hide the latency
  static constexpr std::ptrdiff_t step = Step * kLanes<T>;

  explicit TapRows(const GroupLaneArguments<T>&) {}

  template <int Pixels>
  CONVOLITE_INLINE void add(const GroupLaneArguments<T>& a, const T* source,
                            Vec<T> (&sum)[1][Pixels]) const {
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
          if (x >= s && (x - s) % Step == 0 && p < Pixels) sum[0][p] += weight[s] * value;
        }
      }
    }
  }
};

// Sums of one call: 24 leave room for operands among 32 registers, 12 among 16.
constexpr int kLaneSums = CONVOLITE_VECTOR_BYTES == 64 ? 24 : 12;

// Any taps and step. Several results share each load of the source, those of groups of many
// channels from L2.
template <class T, int Results>
struct TapVectors {
  static constexpr int results = Results, most_pixels = Results == 1 ? 8 : kLaneSums / Results;
  std::ptrdiff_t step;

  explicit TapVectors(const GroupLaneArguments<T>& a) : step(a.step) {}

  template <int Pixels>
  CONVOLITE_INLINE void add(const GroupLaneArguments<T>& a, const T* source,
                            Vec<T> (&sum)[Results][Pixels]) const {
    for (std::ptrdiff_t t = 0; t < a.taps.count; ++t) {
      const T* const from = source + a.taps.offsets[t];
      const T* const weights = a.weight + a.taps.weights[t];
      Vec<T> value[Pixels];
      CONVOLITE_UNROLL for (int p = 0; p < Pixels; ++p) value[p] = load(from + p * step);
      CONVOLITE_UNROLL for (int r = 0; r < Results; ++r) {
        const Vec<T> weight = load(weights + r * a.weight_stride);
        CONVOLITE_UNROLL for (int p = 0; p < Pixels; ++p) sum[r][p] += weight * value[p];
      }
    }
  }
};

template <class T, int Pixels, class Taps>
CONVOLITE_INLINE void convolve_pixels(const GroupLaneArguments<T>& a, const Taps& taps,
                                      const T* source, T* result) {
  Vec<T> sum[Taps::results][Pixels];
  CONVOLITE_UNROLL for (int r = 0; r < Taps::results; ++r) {
    if (a.accumulate) {
      CONVOLITE_UNROLL for (int p = 0; p < Pixels; ++p) {
        sum[r][p] = load(result + r * a.result_stride + p * a.result_step);
      }
    } else {
      const Vec<T> bias = a.bias == nullptr ? Vec<T>{} : load(a.bias + r * a.bias_stride);
      CONVOLITE_UNROLL for (int p = 0; p < Pixels; ++p) sum[r][p] = bias;
    }
  }
  taps.template add<Pixels>(a, source, sum);
  CONVOLITE_UNROLL for (int r = 0; r < Taps::results; ++r) {
    CONVOLITE_UNROLL for (int p = 0; p < Pixels; ++p) {
      Vec<T> value = sum[r][p];
      if (a.clamp) value = at_most<T>(at_least<T>(value, broadcast(a.low)), broadcast(a.high));
      store(result + r * a.result_stride + p * a.result_step, value);
    }
  }
}

template <class T, int Pixels, class Taps>
CONVOLITE_INLINE void convolve_up_to(std::ptrdiff_t pixels, const GroupLaneArguments<T>& a,
                                     const Taps& taps, const T* source, T* result) {
  if constexpr (Pixels > 1) {
    if (pixels < Pixels) return convolve_up_to<T, Pixels - 1>(pixels, a, taps, source, result);
  }
  convolve_pixels<T, Pixels>(a, taps, source, result);
}

// The pixels of a row are dealt out evenly. Works on a copy of the arguments, which no store can
// change.
template <class T, class Taps>
void convolve_lanes(const GroupLaneArguments<T>& arguments) {
  constexpr int most = Taps::most_pixels;
  const GroupLaneArguments<T> a = arguments;
  const Taps taps(a);
  const std::ptrdiff_t calls = (a.columns + most - 1) / most;
  const std::ptrdiff_t few = a.columns / calls, more = a.columns % calls;
  for (std::ptrdiff_t y = 0; y < a.rows; ++y) {
    const T* source = a.source + y * a.row_step;
    T* result = a.result + y * a.result_row_step;
    for (std::ptrdiff_t i = 0; i < calls; ++i) {
      const std::ptrdiff_t pixels = i < more ? few + 1 : few;
      convolve_up_to<T, most>(pixels, a, taps, source, result);
      source += pixels * taps.step;
      result += pixels * a.result_step;
    }
  }
}

// Bound by loads for one grad: one for each product and one for each pixel.
template <class T, int Grads, int Taps>
void sum_lane_weights(const GroupLaneWeightArguments<T>& a) {
  Vec<T> sum[Grads][Taps];
  std::ptrdiff_t offset[Taps];
  CONVOLITE_UNROLL for (int t = 0; t < Taps; ++t) {
    offset[t] = a.offsets[t];
    CONVOLITE_UNROLL for (int g = 0; g < Grads; ++g) {
      sum[g][t] = load(a.sums + g * a.sums_stride + t * kLanes<T>);
    }
  }
  const T* grad = a.grad;
  for (std::ptrdiff_t y = 0; y < a.rows; ++y) {
    const T* source = a.source + y * a.row_step;
    const T* const end = grad + a.columns * kLanes<T>;
    for (; grad != end; grad += kLanes<T>, source += a.step) {
      if constexpr (Grads == 1) {
        const Vec<T> factor = load(grad);
        CONVOLITE_UNROLL for (int t = 0; t < Taps; ++t) {
          sum[0][t] += factor * load(source + offset[t]);
        }
      } else {
        Vec<T> value[Taps];
        CONVOLITE_UNROLL for (int t = 0; t < Taps; ++t) value[t] = load(source + offset[t]);
        CONVOLITE_UNROLL for (int g = 0; g < Grads; ++g) {
          const Vec<T> factor = load(grad + g * a.grad_stride);
          CONVOLITE_UNROLL for (int t = 0; t < Taps; ++t) sum[g][t] += factor * value[t];
        }
      }
    }
  }
  CONVOLITE_UNROLL for (int g = 0; g < Grads; ++g) {
    CONVOLITE_UNROLL for (int t = 0; t < Taps; ++t) {
      store(a.sums + g * a.sums_stride + t * kLanes<T>, sum[g][t]);
    }
  }
}

template <class T, int Taps>
constexpr void fill_lane_weights(GroupLaneKernels<T>& kernels) {
  if constexpr (Taps <= kMostWeightTaps) {
    kernels.weight_taps[Taps - 1] = sum_lane_weights<T, 1, Taps>;
    fill_lane_weights<T, Taps + 1>(kernels);
  }
}

template <class T, int Taps>
constexpr void fill_lane_weights_together(GroupLaneKernels<T>& kernels) {
  if constexpr (Taps <= kLaneSums / kLanesTogether) {
    kernels.weight_taps_together[Taps - 1] = sum_lane_weights<T, kLanesTogether, Taps>;
    fill_lane_weights_together<T, Taps + 1>(kernels);
  }
}

template <class T>
constexpr GroupLaneKernels<T> group_lane_kernels() {
  GroupLaneKernels<T> kernels{};
  kernels.gather = gather_lanes<T>;
  kernels.any_taps = convolve_lanes<T, TapVectors<T, 1>>;
  kernels.any_taps_together = convolve_lanes<T, TapVectors<T, kLanesTogether>>;
  kernels.rows_of_2 = convolve_lanes<T, TapRows<T, 2, 1>>;
  kernels.rows_of_3[0] = convolve_lanes<T, TapRows<T, 3, 1>>;
  kernels.rows_of_3[1] = convolve_lanes<T, TapRows<T, 3, 2>>;
  kernels.rows_of_5[0] = convolve_lanes<T, TapRows<T, 5, 1>>;
  kernels.rows_of_5[1] = convolve_lanes<T, TapRows<T, 5, 2>>;
  fill_lane_weights<T, 1>(kernels);
  fill_lane_weights_together<T, 1>(kernels);
  kernels.most_taps_together = kLaneSums / kLanesTogether;
  return kernels;
}
