// The gradient of a bias: sums over planes of an image, of a gradient as it is or of what passes an
// activation, which is stored on the way. A block is summed in T in 32 interleaved partial sums,
// whatever the vectors' width, blocks in double: the same bits for every instruction set. Bound by
// memory traffic.

constexpr std::ptrdiff_t kBiasBlock = 4096;  // elements
constexpr int kPartialSums = 32;

template <class T>
CONVOLITE_INLINE T sum_pairwise(const T* values) {
  T sums[kPartialSums / 2];
  for (int i = 0; i < kPartialSums / 2; ++i) sums[i] = values[i] + values[i + kPartialSums / 2];
  CONVOLITE_UNROLL for (int half = kPartialSums / 4; half > 0; half /= 2) {
    CONVOLITE_UNROLL for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return sums[0];
}

// Sum of the vectors take(i, lanes used) at i = 0, lanes, 2 lanes, ... < count; lanes that are not
// used must be zero.
template <class T, class Take>
CONVOLITE_INLINE double bias_sum(std::ptrdiff_t count, Take take) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  constexpr int vectors = kPartialSums / static_cast<int>(lanes);
  double total = 0;
  for (std::ptrdiff_t i = 0; i < count;) {
    const std::ptrdiff_t end = count - i < kBiasBlock ? count : i + kBiasBlock;
    Vec<T> sums[vectors] = {};
    for (; i + kPartialSums <= end; i += kPartialSums) {
      CONVOLITE_UNROLL for (int v = 0; v < vectors; ++v) sums[v] += take(i + v * lanes, lanes);
    }
    CONVOLITE_UNROLL for (int v = 0; v < vectors; ++v) {
      const std::ptrdiff_t left = end - i - v * lanes;
      if (left > 0) sums[v] += take(i + v * lanes, left < lanes ? left : lanes);
    }
    i = end;
    T partial[kPartialSums];
    CONVOLITE_UNROLL for (int v = 0; v < vectors; ++v) store(partial + v * lanes, sums[v]);
    total += static_cast<double>(sum_pairwise(partial));
  }
  return total;
}

template <class T>
double sum_plane(const T* grad, std::ptrdiff_t count) {
  return bias_sum<T>(
      count, [=](std::ptrdiff_t i, std::ptrdiff_t used)
                 __attribute__((always_inline)) { return load_up_to(grad + i, used); });
}

template <class T, class Function>
double pass_and_sum(const T* grad, const T* output, std::ptrdiff_t count, T* passed) {
  return bias_sum<T>(
      count, [=](std::ptrdiff_t i, std::ptrdiff_t used) __attribute__((always_inline)) {
        const Vec<T> gate =
            Function::backward(load_up_to(grad + i, used), load_up_to(output + i, used), Vec<T>{});
        store_up_to(passed + i, gate, used);
        return gate;
      });
}

template <class T, class Function>
double sum_passed(const T* grad, const T* output, std::ptrdiff_t count) {
  return bias_sum<T>(
      count, [=](std::ptrdiff_t i, std::ptrdiff_t used) __attribute__((always_inline)) {
        return Function::backward(load_up_to(grad + i, used), load_up_to(output + i, used),
                                  Vec<T>{});
      });
}

template <class T, class Function>
constexpr PassKernel<T> pass_kernel() {
  return {pass_and_sum<T, Function>, sum_passed<T, Function>};
}

template <class T>
constexpr BiasKernels<T> bias_kernels() {
  return {sum_plane<T>, pass_kernel<T, Relu<T>>(), pass_kernel<T, Relu6<T>>()};
}
