// The gradient of a bias: sums over planes of an image, of a gradient as it is or of what passes an
// activation, which is stored on the way. A block is summed in T in 32 interleaved partial sums,
// whatever the vectors' width, blocks in double: the same bits for every instruction set. Bound by
// memory traffic.

constexpr std::ptrdiff_t kBiasBlock = 4096;  // elements
constexpr int kPartialSums = 32;

// Partial sum i and i + 16, of these i and i + 8, and so on.
template <class T>
CONVOLITE_INLINE T sum_pairwise(Vec<T>* sums) {
  constexpr int lanes = static_cast<int>(kLanes<T>);
  CONVOLITE_UNROLL for (int half = kPartialSums / lanes / 2; half > 0; half /= 2) {
    CONVOLITE_UNROLL for (int v = 0; v < half; ++v) sums[v] += sums[v + half];
  }
  T partial[lanes];
  store(partial, sums[0]);
  CONVOLITE_UNROLL for (int half = lanes / 2; half > 0; half /= 2) {
    CONVOLITE_UNROLL for (int i = 0; i < half; ++i) partial[i] += partial[i + half];
  }
  return partial[0];
}

// sums[p] of plane p, elements [p * count, (p + 1) * count) of a run. take(i, room) gives a vector
// from element i on, of which `room` are inside the run: what belongs to the next plane is taken
// twice, and masked the first time.
template <class T, class Take>
CONVOLITE_INLINE void bias_sums(std::ptrdiff_t planes, std::ptrdiff_t count, double* sums,
                                Take take) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  constexpr int vectors = kPartialSums / static_cast<int>(lanes);
  const std::ptrdiff_t size = planes * count;
  std::ptrdiff_t i = 0;
  for (std::ptrdiff_t plane = 0; plane < planes; ++plane) {
    const std::ptrdiff_t plane_end = i + count;
    double total = 0;
    while (i < plane_end) {
      const std::ptrdiff_t end = plane_end - i < kBiasBlock ? plane_end : i + kBiasBlock;
      Vec<T> partial[vectors] = {};
      for (; i + kPartialSums <= end; i += kPartialSums) {
        CONVOLITE_UNROLL for (int v = 0; v < vectors; ++v) partial[v] += take(i + v * lanes, lanes);
      }
      CONVOLITE_UNROLL for (int v = 0; v < vectors; ++v) {
        const std::ptrdiff_t at = i + v * lanes, left = end - at;
        if (left <= 0) break;
        const Vec<T> taken = take(at, size - at);
        partial[v] += left < lanes ? keep_lanes<T>(taken, first_lanes<T>(left)) : taken;
      }
      i = end;
      total += static_cast<double>(sum_pairwise<T>(partial));
    }
    sums[plane] = total;
  }
}

template <class T>
void sum_planes(const T* grad, std::ptrdiff_t planes, std::ptrdiff_t count, double* sums) {
  bias_sums<T>(
      planes, count,
      sums, [=](std::ptrdiff_t i, std::ptrdiff_t room) __attribute__((always_inline)) {
        return load_up_to(grad + i, room);
      });
}

// Passing twice is passing once, also in place.
template <class T, class Function>
void pass_and_sum(const T* grad, const T* output, std::ptrdiff_t planes, std::ptrdiff_t count,
                  T* passed, double* sums) {
  bias_sums<T>(
      planes, count,
      sums, [=](std::ptrdiff_t i, std::ptrdiff_t room) __attribute__((always_inline)) {
        const Vec<T> gate =
            Function::backward(load_up_to(grad + i, room), load_up_to(output + i, room), Vec<T>{});
        store_up_to(passed + i, gate, room);
        return gate;
      });
}

template <class T, class Function>
void sum_passed(const T* grad, const T* output, std::ptrdiff_t planes, std::ptrdiff_t count,
                double* sums) {
  bias_sums<T>(
      planes, count,
      sums, [=](std::ptrdiff_t i, std::ptrdiff_t room) __attribute__((always_inline)) {
        return Function::backward(load_up_to(grad + i, room), load_up_to(output + i, room),
                                  Vec<T>{});
      });
}

template <class T, class Function>
constexpr PassKernel<T> pass_kernel() {
  return {pass_and_sum<T, Function>, sum_passed<T, Function>};
}

template <class T>
constexpr BiasKernels<T> bias_kernels() {
  return {sum_planes<T>, pass_kernel<T, Relu<T>>(), pass_kernel<T, Relu6<T>>()};
}
