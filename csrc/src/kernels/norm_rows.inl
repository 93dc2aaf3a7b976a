// Batch normalisation kernels (contract: table.h). A mean is always subtracted first: that loses
// nothing when the values are close together and far from zero, where scale * x + shift would.

// body(i, count) at i = 0, lanes, ...; the last vector overlaps the one before instead of being
// short.
template <class T, class Body>
CONVOLITE_INLINE void for_each_vector(std::ptrdiff_t count, Body body) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  std::ptrdiff_t i = 0;
  for (; i + lanes <= count; i += lanes) body(i, lanes);
  if (i == count) return;
  if (count >= lanes) {
    body(count - lanes, lanes);
  } else {
    body(0, count);
  }
}

// One coefficient for all elements, or one for each.
template <class T, bool PerElement>
struct Coefficient {
  const T* from;
  Vec<T> all;

  CONVOLITE_INLINE explicit Coefficient(const T* pointer) : from(pointer), all{} {
    if constexpr (!PerElement) all = broadcast(*pointer);
  }
  CONVOLITE_INLINE Vec<T> at(std::ptrdiff_t i, std::ptrdiff_t count) const {
    if constexpr (PerElement) return load_up_to(from + i, count);
    return all;
  }
};

// The normalisation before its clamp, and the gradient behind the clamp. Forward and backward share
// `before_clamp`, so that they agree to the last bit on which elements the clamp cut off.
template <class T, bool PerElement, bool Clamped>
struct Normalisation {
  Coefficient<T, PerElement> mean, scale, shift;
  Vec<T> low, high;

  CONVOLITE_INLINE explicit Normalisation(const NormArguments<T>& arguments)
      : mean(arguments.mean),
        scale(arguments.scale),
        shift(arguments.shift),
        low(broadcast(arguments.low)),
        high(broadcast(arguments.high)) {}

  CONVOLITE_INLINE Vec<T> before_clamp(Vec<T> centred, std::ptrdiff_t i,
                                       std::ptrdiff_t count) const {
    return centred * scale.at(i, count) + shift.at(i, count);
  }
  CONVOLITE_INLINE Vec<T> pass_back(Vec<T> grad, Vec<T> centred, std::ptrdiff_t i,
                                    std::ptrdiff_t count) const {
    if constexpr (!Clamped) return grad;
    const Vec<T> value = before_clamp(centred, i, count);
    return ((value <= low) | (value >= high)) ? Vec<T>{} : grad;
  }
};

template <class T, bool PerElement>
void normalise(std::ptrdiff_t count, const T* input, const NormArguments<T>& arguments, T* output) {
  const Normalisation<T, PerElement, true> norm(arguments);
  for_each_vector<T>(
      count, [=](std::ptrdiff_t i, std::ptrdiff_t n) __attribute__((always_inline)) {
        const Vec<T> centred = load_up_to(input + i, n) - norm.mean.at(i, n);
        const Vec<T> value = norm.before_clamp(centred, i, n);
        store_up_to(output + i, at_most<T>(at_least<T>(value, norm.low), norm.high), n);
      });
}

template <class T, bool PerElement>
void normalise_residual(std::ptrdiff_t count, const T* input, const T* residual,
                        const NormArguments<T>& arguments, T* output) {
  const Normalisation<T, PerElement, true> norm(arguments);
  for_each_vector<T>(
      count, [=](std::ptrdiff_t i, std::ptrdiff_t n) __attribute__((always_inline)) {
        const Vec<T> centred = load_up_to(input + i, n) - norm.mean.at(i, n);
        const Vec<T> value = norm.before_clamp(centred, i, n) + load_up_to(residual + i, n);
        store_up_to(output + i, at_most<T>(at_least<T>(value, norm.low), norm.high), n);
      });
}

template <class T, bool PerElement, bool Training, bool Clamped>
CONVOLITE_INLINE void gradient_run(std::ptrdiff_t count, const T* grad_output, const T* input,
                                   const NormArguments<T>& arguments, T* grad_input) {
  const Normalisation<T, PerElement, Clamped> norm(arguments);
  const Coefficient<T, PerElement> factor(arguments.factor);
  const Coefficient<T, PerElement> slope(Training ? arguments.slope : arguments.factor);
  const Coefficient<T, PerElement> constant(Training ? arguments.constant : arguments.factor);
  for_each_vector<T>(
      count, [=](std::ptrdiff_t i, std::ptrdiff_t n) __attribute__((always_inline)) {
        const Vec<T> centred = load_up_to(input + i, n) - norm.mean.at(i, n);
        const Vec<T> grad = norm.pass_back(load_up_to(grad_output + i, n), centred, i, n);
        Vec<T> result = grad * factor.at(i, n);
        if (Training) result += centred * slope.at(i, n) + constant.at(i, n);
        store_up_to(grad_input + i, result, n);
      });
}

template <class T>
CONVOLITE_INLINE bool is_clamped(const NormArguments<T>& arguments) {
  return arguments.low == arguments.low || arguments.high == arguments.high;  // a bound is not NaN
}

template <class T, bool Training, bool PerElement>
void gradient(std::ptrdiff_t count, const T* grad_output, const T* input,
              const NormArguments<T>& arguments, T* grad_input) {
  if (is_clamped(arguments)) {
    gradient_run<T, PerElement, Training, true>(count, grad_output, input, arguments, grad_input);
  } else {
    gradient_run<T, PerElement, Training, false>(count, grad_output, input, arguments, grad_input);
  }
}

// Two sums at once: terms(i) gives a pair of vectors. In T over short blocks, in double over
// blocks. count >= lanes: the last vector overlaps the one before, and its lanes that were counted
// are masked.
template <class T>
struct VecPair {
  Vec<T> first, second;
};

template <class T, class Terms>
CONVOLITE_INLINE void sum_pairs(std::ptrdiff_t count, Terms terms, double* sums) {
  constexpr std::ptrdiff_t lanes = kLanes<T>, block = 4096;
  constexpr int chains = 4;  // two sums of four chains cover the latency of an addition
  for (std::ptrdiff_t i = 0; i < count;) {
    const std::ptrdiff_t end = count - i < block ? count : i + block;
    VecPair<T> total[chains] = {};
    const auto add = [&](VecPair<T> & chain, const VecPair<T>& pair)
        __attribute__((always_inline)) {
      chain.first += pair.first;
      chain.second += pair.second;
    };
    for (; i + chains * lanes <= end; i += chains * lanes) {
      CONVOLITE_UNROLL for (int k = 0; k < chains; ++k) add(total[k], terms(i + k * lanes));
    }
    for (; i + lanes <= end; i += lanes) add(total[0], terms(i));
    if (i < end) {
      VecPair<T> last = terms(count - lanes);
      const VecMask<T> counted = first_lanes<T>(lanes - (end - i));
      last.first = counted ? Vec<T>{} : last.first;
      last.second = counted ? Vec<T>{} : last.second;
      add(total[1], last);
      i = end;
    }
    sums[0] += sum_lanes<T>((total[0].first + total[1].first) + (total[2].first + total[3].first));
    sums[1] +=
        sum_lanes<T>((total[0].second + total[1].second) + (total[2].second + total[3].second));
  }
}

// The same for each of `columns` over `rows` rows, both sums overwritten: sums (2, columns). Rows
// are few, so that sums in T are good enough.
template <class T, class Terms>
CONVOLITE_INLINE void sum_column_pairs(std::ptrdiff_t rows, std::ptrdiff_t columns, Terms terms,
                                       double* sums) {
  for_each_vector<T>(
      columns, [=](std::ptrdiff_t i, std::ptrdiff_t n) __attribute__((always_inline)) {
        VecPair<T> total = {};
        for (std::ptrdiff_t row = 0; row < rows; ++row) {
          const VecPair<T> pair = terms(row, i, n);
          total.first += pair.first;
          total.second += pair.second;
        }
        CONVOLITE_UNROLL for (int lane = 0; lane < kLanes<T>; ++lane) {
          if (lane < n) {
            sums[i + lane] = static_cast<double>(total.first[lane]);
            sums[columns + i + lane] = static_cast<double>(total.second[lane]);
          }
        }
      });
}

template <class T>
void moments(std::ptrdiff_t count, const T* input, T centre, double* sums) {
  const Vec<T> middle = broadcast(centre);
  sum_pairs<T>(
      count,
      [=](std::ptrdiff_t i) __attribute__((always_inline)) {
        const Vec<T> centred = load(input + i) - middle;
        return VecPair<T>{centred, centred * centred};
      },
      sums);
}

template <class T>
void column_moments(std::ptrdiff_t rows, std::ptrdiff_t columns, std::ptrdiff_t stride,
                    const T* input, const T* centre, double* sums) {
  sum_column_pairs<T>(
      rows, columns,
      [=](std::ptrdiff_t row, std::ptrdiff_t i, std::ptrdiff_t n) __attribute__((always_inline)) {
        const Vec<T> centred = load_up_to(input + row * stride + i, n) - load_up_to(centre + i, n);
        return VecPair<T>{centred, centred * centred};
      },
      sums);
}

template <class T, bool Clamped>
CONVOLITE_INLINE void gradient_sums_run(std::ptrdiff_t count, const T* grad_output, const T* input,
                                        const NormArguments<T>& arguments, double* sums) {
  const Normalisation<T, false, Clamped> norm(arguments);
  sum_pairs<T>(
      count,
      [=](std::ptrdiff_t i) __attribute__((always_inline)) {
        const Vec<T> centred = load(input + i) - norm.mean.all;
        const Vec<T> grad = norm.pass_back(load(grad_output + i), centred, i, kLanes<T>);
        return VecPair<T>{grad, grad * centred};
      },
      sums);
}

template <class T>
void gradient_sums(std::ptrdiff_t count, const T* grad_output, const T* input,
                   const NormArguments<T>& arguments, double* sums) {
  if (is_clamped(arguments)) {
    gradient_sums_run<T, true>(count, grad_output, input, arguments, sums);
  } else {
    gradient_sums_run<T, false>(count, grad_output, input, arguments, sums);
  }
}

template <class T>
void column_gradient_sums(std::ptrdiff_t rows, std::ptrdiff_t columns, std::ptrdiff_t stride,
                          const T* grad_output, const T* input, const NormArguments<T>& arguments,
                          double* sums) {
  const Normalisation<T, true, true> norm(arguments);
  sum_column_pairs<T>(
      rows, columns,
      [=](std::ptrdiff_t row, std::ptrdiff_t i, std::ptrdiff_t n) __attribute__((always_inline)) {
        const std::ptrdiff_t at = row * stride + i;
        const Vec<T> centred = load_up_to(input + at, n) - norm.mean.at(i, n);
        const Vec<T> grad = norm.pass_back(load_up_to(grad_output + at, n), centred, i, n);
        return VecPair<T>{grad, grad * centred};
      },
      sums);
}

template <class T>
constexpr NormKernels<T> norm_kernels() {
  return {moments<T>,
          gradient_sums<T>,
          {normalise<T, false>, normalise<T, true>},
          {{gradient<T, false, false>, gradient<T, false, true>},
           {gradient<T, true, false>, gradient<T, true, true>}},
          {normalise_residual<T, false>, normalise_residual<T, true>},
          column_moments<T>,
          column_gradient_sums<T>};
}
