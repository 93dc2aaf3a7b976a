// Elementary functions on vectors. float: range reduction and polynomials (minimax fits,
// coefficients rounded to float), right for infinities, NaN and denormals; every stated error is
// checked by tests/ops/test_elementwise.py and test_activation.py. double: the C library, lane by
// lane.

typedef std::uint32_t UnsignedLanes __attribute__((vector_size(CONVOLITE_VECTOR_BYTES)));

template <class T>
constexpr T kInfinity = static_cast<T>(__builtin_inf());
template <class T>
constexpr T kNotANumber = static_cast<T>(__builtin_nan(""));

template <class T>
CONVOLITE_INLINE VecMask<T> sign_bits(Vec<T> x) {
  return (VecMask<T>)x & (VecMask<T>)broadcast(-T(0));
}
template <class T>
CONVOLITE_INLINE Vec<T> absolute(Vec<T> x) {
  return (Vec<T>)((VecMask<T>)x & ~(VecMask<T>)broadcast(-T(0)));
}

template <class T, class Function>
CONVOLITE_INLINE Vec<T> each_lane(Vec<T> x, Function function) {
  Vec<T> result{};
  CONVOLITE_UNROLL for (int i = 0; i < kLanes<T>; ++i) result[i] = function(x[i]);
  return result;
}

CONVOLITE_INLINE Vec<float> square_root(Vec<float> x) {
  return each_lane<float>(x, [](float lane) { return __builtin_sqrtf(lane); });
}
CONVOLITE_INLINE Vec<double> square_root(Vec<double> x) {
  return each_lane<double>(x, [](double lane) { return __builtin_sqrt(lane); });
}

// Horner's rule, the highest coefficient first.
CONVOLITE_INLINE Vec<float> polynomial(Vec<float>, Vec<float> sum) {
  return sum;
}
template <class... Rest>
CONVOLITE_INLINE Vec<float> polynomial(Vec<float> x, Vec<float> sum, float next, Rest... rest) {
  return polynomial(x, sum * x + next, rest...);
}

// 2^n for -126 <= n <= 127; other n give some float.
CONVOLITE_INLINE Vec<float> power_of_two(VecMask<float> n) {
  return (Vec<float>)((UnsignedLanes)(n + 127) << 23);
}

// x = n ln 2 + r with |r| <= ln 2 / 2, for |x| < 2^15; and e^r - 1, to 2^-28 of e^r.
struct ReducedExponential {
  VecMask<float> n;
  Vec<float> e_r_minus_1;
};

// `low` is a correction, added to x where rounding no longer harms it.
CONVOLITE_INLINE ReducedExponential reduce_exponential(Vec<float> x, Vec<float> low) {
  const Vec<float> to_integer =
      broadcast(0x1.8p23f);  // added and subtracted, it rounds to an integer
  const Vec<float> shifted = x * 0x1.715476p+0f + to_integer;
  const Vec<float> n = shifted - to_integer;
  const Vec<float> r = x - n * 0.693359375f - n * -2.12194440e-4f + low;  // ln 2; n * high is exact
  const Vec<float> series = polynomial(r, broadcast(0.00138209993f), 0.00836867094f, 0.0416682623f,
                                       0.166665211f, 0.49999994f);
  return {(VecMask<float>)shifted - (VecMask<float>)to_integer, r + r * r * series};
}

CONVOLITE_INLINE Vec<float> exponential_of_sum(Vec<float> x, Vec<float> low) {
  const Vec<float> bounded =
      at_most<float>(at_least<float>(x, broadcast(-104.0f)), broadcast(89.0f));
  const ReducedExponential e = reduce_exponential(bounded, low);
  const VecMask<float> half = e.n >> 1;  // two factors: 2^n alone may be no normal number
  return (e.e_r_minus_1 + 1.0f) * power_of_two(half) * power_of_two(e.n - half);
}

// e^x, within 1 unit in the last place.
CONVOLITE_INLINE Vec<float> exponential(Vec<float> x) {
  return exponential_of_sum(x, Vec<float>{});
}
CONVOLITE_INLINE Vec<double> exponential(Vec<double> x) {
  return each_lane<double>(x, [](double lane) { return __builtin_exp(lane); });
}

// e^x - 1 for x <= 88, within 2 units in the last place.
CONVOLITE_INLINE Vec<float> exponential_minus_1(Vec<float> x) {
  const Vec<float> bounded =
      at_most<float>(at_least<float>(x, broadcast(-87.0f)), broadcast(88.0f));
  const ReducedExponential e = reduce_exponential(bounded, Vec<float>{});
  const Vec<float> scale = power_of_two(e.n);
  return e.e_r_minus_1 * scale + (scale - 1.0f);
}
CONVOLITE_INLINE Vec<double> exponential_minus_1(Vec<double> x) {
  return each_lane<double>(x, [](double lane) { return __builtin_expm1(lane); });
}

// ln x, within 1 unit in the last place; -infinity at 0, NaN below.
CONVOLITE_INLINE Vec<float> logarithm(Vec<float> x) {
  constexpr std::uint32_t root_half = 0x3f3504f3;  // the bits of sqrt(1/2)
  const VecMask<float> denormal = x < 0x1p-126f;
  const Vec<float> scaled = denormal ? x * 0x1p23f : x;
  const VecMask<float> bits = (VecMask<float>)((UnsignedLanes)scaled - root_half);
  const VecMask<float> exponent = (bits >> 23) - (denormal & 23);
  const Vec<float> n = __builtin_convertvector(exponent, Vec<float>);
  const Vec<float> f = (Vec<float>)((UnsignedLanes)(bits & 0x7fffff) + root_half) - 1.0f;
  const Vec<float> square = f * f;
  const Vec<float> series =
      polynomial(f, broadcast(0.0674955621f), -0.116701923f, 0.118834704f, -0.124062076f,
                 0.142203629f, -0.166679904f, 0.200020716f, -0.250000089f, 0.333333135f);
  const Vec<float> tail = f * square * series + n * -2.12194440e-4f - 0.5f * square;
  const Vec<float> regular = n * 0.693359375f + (f + tail);
  const Vec<float> below =
      x == 0.0f ? broadcast(-kInfinity<float>) : (x < 0.0f ? broadcast(kNotANumber<float>) : x);
  return ((x > 0.0f) & (x < kInfinity<float>)) ? regular : below;
}
CONVOLITE_INLINE Vec<double> logarithm(Vec<double> x) {
  return each_lane<double>(x, [](double lane) { return __builtin_log(lane); });
}

// tanh x, within 2 units in the last place.
CONVOLITE_INLINE Vec<float> hyperbolic_tangent(Vec<float> x) {
  const Vec<float> size = absolute<float>(x);
  const Vec<float> square = x * x;
  const Vec<float> series = polynomial(square, broadcast(-0.00569734583f), 0.0206317231f,
                                       -0.0537372679f, 0.133314103f, -0.333332807f);
  const Vec<float> small = x + x * square * series;
  const Vec<float> large = 1.0f - 2.0f / (exponential(size + size) + 1.0f);
  const Vec<float> signed_large = (Vec<float>)((VecMask<float>)large | sign_bits<float>(x));
  return size < 0.625f ? small : signed_large;
}
CONVOLITE_INLINE Vec<double> hyperbolic_tangent(Vec<double> x) {
  return each_lane<double>(x, [](double lane) { return __builtin_tanh(lane); });
}

// value = 1 / (1 + e^-x) and rest = 1 - value, both within 3 units in the last place (4 where they
// are denormal): e^-|x| cannot overflow, and nothing cancels.
template <class T>
struct Logistic {
  Vec<T> value, rest;
};

template <class T>
CONVOLITE_INLINE Logistic<T> logistic(Vec<T> x) {
  const Vec<T> small = exponential(-absolute<T>(x));
  const Vec<T> near_1 = T(1) / (T(1) + small), near_0 = small / (T(1) + small);
  return {x >= T(0) ? near_1 : near_0, x >= T(0) ? near_0 : near_1};
}

// Distribution function (the integral of the density up to x) and density of the normal
// distribution.
template <class T>
struct Normal {
  Vec<T> distribution, density;
};

constexpr double kNormalDensityAtZero = 0.39894228040143267794;  // 1 / sqrt(2 pi)

// distribution: within 4 units in the last place, also far to the left, where it equals
// e^(-y^2/2) * mills(y), y = |x|. mills(y) * (1 + y) is a polynomial in (y - 3) / (y + 3).
CONVOLITE_INLINE Normal<float> normal(Vec<float> x) {
  const Vec<float> y = at_most<float>(absolute<float>(x), broadcast(15.0f));
  const Vec<float> high = (Vec<float>)((VecMask<float>)y & ~0xfff);  // high * high is exact
  const Vec<float> low = -0.5f * (y - high) * (y + high);
  const Vec<float> bell = exponential_of_sum(-0.5f * high * high, low);
  const Vec<float> mills =
      polynomial((y - 3.0f) / (y + 3.0f), broadcast(-6.19356579e-05f), -0.000442783028f,
                 -0.00026203919f, 0.00299246795f, 0.00112661615f, -0.0227290802f, 0.0451686122f,
                 -0.0164320935f, -0.0965269357f, 0.486055791f) /
      (1.0f + y);
  const Vec<float> left = bell * mills;
  return {x < 0.0f ? left : 1.0f - left, bell * static_cast<float>(kNormalDensityAtZero)};
}
CONVOLITE_INLINE Normal<double> normal(Vec<double> x) {
  const Vec<double> complement = each_lane<double>(
      x, [](double lane) { return __builtin_erfc(lane * -0.70710678118654752440); });
  return {0.5 * complement, exponential(-0.5 * x * x) * kNormalDensityAtZero};
}

// base^exponent by the C library.
CONVOLITE_INLINE Vec<float> power(Vec<float> base, Vec<float> exponent) {
  Vec<float> result{};
  CONVOLITE_UNROLL for (int i = 0; i < kLanes<float>; ++i) {
    result[i] = __builtin_powf(base[i], exponent[i]);
  }
  return result;
}
CONVOLITE_INLINE Vec<double> power(Vec<double> base, Vec<double> exponent) {
  Vec<double> result{};
  CONVOLITE_UNROLL for (int i = 0; i < kLanes<double>; ++i) {
    result[i] = __builtin_pow(base[i], exponent[i]);
  }
  return result;
}
