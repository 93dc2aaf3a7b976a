// The transforms of Winograd's F(4x4, 3x3) (contract: table.h) with the points 0, +-a, +-b and
// infinity, a = 1/sqrt(2), b = sqrt(2): about half the rounding error of the usual 0, +-1, +-2.
// With B, G and A the matrices of Lavin & Gray 2016, section 4, for these points,
//   forward          output = A^T ((G weight G^T) * (B^T input B)) A
//   weight gradient  grad_weight = G^T ((B^T input B) * (A grad_output A^T)) G
// Lanes are channels; each transform runs first down the columns, then along the rows.

template <class T>
struct Winograd {
  static constexpr T a = static_cast<T>(0.70710678118654752440);
  static constexpr T b = static_cast<T>(1.41421356237309504880);
  static constexpr T third = static_cast<T>(1.0 / 3), sixth = static_cast<T>(1.0 / 6);
  using V = Vec<T>;

  struct Input {  // B^T: 6 -> 6
    static constexpr int from = 6, to = 6;
    CONVOLITE_INLINE static void apply(const V* d, V* v) {
      const V even_a = d[4] - T(2) * d[2], odd_a = a * d[3] - b * d[1];
      const V even_b = d[4] - T(0.5) * d[2], odd_b = b * d[3] - a * d[1];
      v[0] = d[0] - T(2.5) * d[2] + d[4];
      v[1] = even_a + odd_a;
      v[2] = even_a - odd_a;
      v[3] = even_b + odd_b;
      v[4] = even_b - odd_b;
      v[5] = d[1] - T(2.5) * d[3] + d[5];
    }
  };

  struct Weight {  // G: 3 -> 6
    static constexpr int from = 3, to = 6;
    CONVOLITE_INLINE static void apply(const V* g, V* u) {
      const V even_a = -(T(2) * third) * (g[0] + T(0.5) * g[2]), odd_a = -(T(2) * third * a) * g[1];
      const V even_b = sixth * (g[0] + T(2) * g[2]), odd_b = (sixth * b) * g[1];
      u[0] = g[0];
      u[1] = even_a + odd_a;
      u[2] = even_a - odd_a;
      u[3] = even_b + odd_b;
      u[4] = even_b - odd_b;
      u[5] = g[2];
    }
  };

  struct Output {  // A^T: 6 -> 4
    static constexpr int from = 6, to = 4;
    CONVOLITE_INLINE static void apply(const V* m, V* y) {
      const V even_a = m[1] + m[2], odd_a = m[1] - m[2];
      const V even_b = m[3] + m[4], odd_b = m[3] - m[4];
      y[0] = m[0] + even_a + even_b;
      y[1] = a * odd_a + b * odd_b;
      y[2] = T(0.5) * even_a + T(2) * even_b;
      y[3] = (T(0.5) * a) * odd_a + (T(2) * b) * odd_b + m[5];
    }
  };

  struct GradOutput {  // A: 4 -> 6
    static constexpr int from = 4, to = 6;
    CONVOLITE_INLINE static void apply(const V* g, V* d) {
      const V even_a = g[0] + T(0.5) * g[2], odd_a = a * (g[1] + T(0.5) * g[3]);
      const V even_b = g[0] + T(2) * g[2], odd_b = b * (g[1] + T(2) * g[3]);
      d[0] = g[0];
      d[1] = even_a + odd_a;
      d[2] = even_a - odd_a;
      d[3] = even_b + odd_b;
      d[4] = even_b - odd_b;
      d[5] = g[3];
    }
  };

  struct GradWeight {  // G^T: 6 -> 3
    static constexpr int from = 6, to = 3;
    CONVOLITE_INLINE static void apply(const V* u, V* w) {
      const V even_a = u[1] + u[2], odd_a = u[1] - u[2];
      const V even_b = u[3] + u[4], odd_b = u[3] - u[4];
      w[0] = u[0] - (T(2) * third) * even_a + sixth * even_b;
      w[1] = (sixth * b) * odd_b - (T(2) * third * a) * odd_a;
      w[2] = third * (even_b - even_a) + u[5];
    }
  };

  // M value M^T, row by row: value(i) reads element i of from x from, put(i, result) takes element
  // i of to x to. A row is handed over as soon as it is known: all of them at once would not fit
  // into registers, and the detour over the stack costs as much as the arithmetic.
  template <class Matrix, class Value, class Put>
  CONVOLITE_INLINE static void both_sides(Value&& value, Put&& put) {
    constexpr int from = Matrix::from, to = Matrix::to;
    V half[to * from];
    CONVOLITE_UNROLL for (int column = 0; column < from; ++column) {
      V before[from], after[to];
      CONVOLITE_UNROLL for (int i = 0; i < from; ++i) before[i] = value(i * from + column);
      Matrix::apply(before, after);
      CONVOLITE_UNROLL for (int i = 0; i < to; ++i) half[i * from + column] = after[i];
    }
    CONVOLITE_UNROLL for (int row = 0; row < to; ++row) {
      V after[to];
      Matrix::apply(half + row * from, after);
      CONVOLITE_UNROLL for (int i = 0; i < to; ++i) put(row * to + i, after[i]);
    }
  }
};

template <class T, class Matrix>
void winograd_transform(const T* const* values, std::ptrdiff_t channels, T* planes,
                        std::ptrdiff_t plane_stride) {
  for (std::ptrdiff_t c = 0; c < channels; c += kLanes<T>) {
    Winograd<T>::template both_sides<Matrix>(
        [&](int i) { return load(values[i] + c); },
        [&](int i, Vec<T> result) { store(planes + i * plane_stride + c, result); });
  }
}

// Zero in every lane as long as all that was added is finite.
template <class T>
struct Finite {
  Vec<T> zero{};

  CONVOLITE_INLINE void add(Vec<T> value) { zero += value - value; }
  CONVOLITE_INLINE bool holds() const {
    bool all = true;
    CONVOLITE_UNROLL for (int lane = 0; lane < kLanes<T>; ++lane) all &= zero[lane] == 0;
    return all;
  }
};

template <class T>
bool winograd_output(const T* planes, std::ptrdiff_t plane_stride, std::ptrdiff_t channels,
                     const WinogradEpilogue<T>& epilogue, T* const* pixels) {
  const Vec<T> low = broadcast(epilogue.low), high = broadcast(epilogue.high);
  Finite<T> finite;
  for (std::ptrdiff_t c = 0; c < channels; c += kLanes<T>) {
    const Vec<T> bias = epilogue.bias == nullptr ? Vec<T>{} : load(epilogue.bias + c);
    Vec<T> corners{};  // all 36 are in one of the four
    Winograd<T>::template both_sides<typename Winograd<T>::Output>(
        [&](int i) { return load(planes + i * plane_stride + c); },
        [&](int i, Vec<T> result) {
          if (i == 0 || i == 3 || i == 12 || i == 15) corners += result;
          Vec<T> y = result + bias;
          if (epilogue.clamp) y = at_most<T>(at_least<T>(y, low), high);
          store(pixels[i] + c, y);
        });
    finite.add(corners);
  }
  return finite.holds();
}

template <class T>
bool winograd_grad_weight(const T* planes, std::ptrdiff_t plane_stride, std::ptrdiff_t channels,
                          T* taps, std::ptrdiff_t tap_stride) {
  Finite<T> finite;
  for (std::ptrdiff_t c = 0; c < channels; c += kLanes<T>) {
    Vec<T> corners{};  // as above
    Winograd<T>::template both_sides<typename Winograd<T>::GradWeight>(
        [&](int i) { return load(planes + i * plane_stride + c); },
        [&](int i, Vec<T> result) {
          if (i == 0 || i == 2 || i == 6 || i == 8) corners += result;
          store(taps + i * tap_stride + c, result);
        });
    finite.add(corners);
  }
  return finite.holds();
}

template <class T>
constexpr WinogradKernels<T> winograd_kernels() {
  return {winograd_transform<T, typename Winograd<T>::Input>,
          winograd_transform<T, typename Winograd<T>::Weight>,
          winograd_transform<T, typename Winograd<T>::GradOutput>, winograd_output<T>,
          winograd_grad_weight<T>};
}
