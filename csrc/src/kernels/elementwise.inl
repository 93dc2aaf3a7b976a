// One result for each element of one or two operands. Bound by memory traffic, except power and its
// slopes. The last, partial vector goes through the same vector code, so it rounds like all others.

template <class T, class Operation>
CONVOLITE_INLINE void map(const T* a, std::ptrdiff_t count, T* output, Operation operation) {
  std::ptrdiff_t i = 0;
  for (; i + kLanes<T> <= count; i += kLanes<T>) store(output + i, operation(load(a + i)));
  if (i < count) {
    store_partial(output + i, operation(load_partial(a + i, count - i)), count - i);
  }
}

template <class T, class Operation>
CONVOLITE_INLINE void map(const T* a, const T* b, std::ptrdiff_t count, T* output,
                          Operation operation) {
  std::ptrdiff_t i = 0;
  for (; i + kLanes<T> <= count; i += kLanes<T>) {
    store(output + i, operation(load(a + i), load(b + i)));
  }
  if (i < count) {
    const std::ptrdiff_t left = count - i;
    store_partial(output + i, operation(load_partial(a + i, left), load_partial(b + i, left)),
                  left);
  }
}

template <class T>
struct Negative {
  CONVOLITE_INLINE Vec<T> operator()(Vec<T> a) const { return -a; }
};
template <class T>
struct Exponential {
  CONVOLITE_INLINE Vec<T> operator()(Vec<T> a) const { return exponential(a); }
};
template <class T>
struct Logarithm {
  CONVOLITE_INLINE Vec<T> operator()(Vec<T> a) const { return logarithm(a); }
};
template <class T>
struct SquareRoot {
  CONVOLITE_INLINE Vec<T> operator()(Vec<T> a) const { return square_root(a); }
};
template <class T>
struct Absolute {
  CONVOLITE_INLINE Vec<T> operator()(Vec<T> a) const { return absolute<T>(a); }
};
template <class T>
struct Sign {  // zeros and NaN stay what they are
  CONVOLITE_INLINE Vec<T> operator()(Vec<T> a) const {
    return a > T(0) ? broadcast(T(1)) : (a < T(0) ? broadcast(T(-1)) : a);
  }
};
template <class T>
struct Reciprocal {
  CONVOLITE_INLINE Vec<T> operator()(Vec<T> a) const { return T(1) / a; }
};

template <class T>
struct Add {
  CONVOLITE_INLINE Vec<T> operator()(Vec<T> a, Vec<T> b) const { return a + b; }
};
template <class T>
struct Subtract {
  CONVOLITE_INLINE Vec<T> operator()(Vec<T> a, Vec<T> b) const { return a - b; }
};
template <class T>
struct Multiply {
  CONVOLITE_INLINE Vec<T> operator()(Vec<T> a, Vec<T> b) const { return a * b; }
};
template <class T>
struct Divide {
  CONVOLITE_INLINE Vec<T> operator()(Vec<T> a, Vec<T> b) const { return a / b; }
};
template <class T>
struct Power {
  CONVOLITE_INLINE Vec<T> operator()(Vec<T> a, Vec<T> b) const { return power(a, b); }
};
template <class T>
struct Larger {  // NaN if either is
  CONVOLITE_INLINE Vec<T> operator()(Vec<T> a, Vec<T> b) const {
    return ((a >= b) | (a != a)) ? a : b;
  }
};
template <class T>
struct Smaller {  // NaN if either is
  CONVOLITE_INLINE Vec<T> operator()(Vec<T> a, Vec<T> b) const {
    return ((a <= b) | (a != a)) ? a : b;
  }
};
template <class T>
struct Equal {  // 1 or 0
  CONVOLITE_INLINE Vec<T> operator()(Vec<T> a, Vec<T> b) const {
    return a == b ? broadcast(T(1)) : broadcast(T(0));
  }
};
template <class T>
struct PowerSlope {  // d power(a, b) / da; 0 where b is, also at 0 and infinity
  CONVOLITE_INLINE Vec<T> operator()(Vec<T> a, Vec<T> b) const {
    return b == T(0) ? b : b * power(a, b - T(1));
  }
};
template <class T>
struct ExponentSlope {  // d power(a, exponent) / d exponent, of a and that power; 0 at powers of 0
  CONVOLITE_INLINE Vec<T> operator()(Vec<T> a, Vec<T> power) const {
    return power * (a == T(0) ? a : logarithm(a));
  }
};

template <class T, class Operation>
void unary_kernel(const T* a, std::ptrdiff_t count, T* output) {
  map(a, count, output, Operation());
}

template <class T, class Operation>
void binary_kernel(const BinaryArguments<T>& arguments) {
  const T* a = arguments.a;
  const T* b = arguments.b;
  T* output = arguments.output;
  const std::ptrdiff_t columns = arguments.columns;
  for (std::ptrdiff_t i = 0; i < arguments.rows; ++i) {
    if (arguments.a_is_row && arguments.b_is_row) {
      map(a, b, columns, output, Operation());
    } else if (arguments.a_is_row) {
      const Vec<T> every = broadcast(*b);
      map(
          a, columns, output, [every](Vec<T> x) __attribute__((always_inline)) {
            return Operation()(x, every);
          });
    } else {
      const Vec<T> every = broadcast(*a);
      map(
          b, columns, output, [every](Vec<T> x) __attribute__((always_inline)) {
            return Operation()(every, x);
          });
    }
    a += arguments.a_stride;
    b += arguments.b_stride;
    output += columns;
  }
}

template <class T>
constexpr ElementwiseKernels<T> elementwise_kernels() {
  ElementwiseKernels<T> kernels{};
  kernels.negative = unary_kernel<T, Negative<T>>;
  kernels.exp = unary_kernel<T, Exponential<T>>;
  kernels.log = unary_kernel<T, Logarithm<T>>;
  kernels.sqrt = unary_kernel<T, SquareRoot<T>>;
  kernels.abs = unary_kernel<T, Absolute<T>>;
  kernels.sign = unary_kernel<T, Sign<T>>;
  kernels.reciprocal = unary_kernel<T, Reciprocal<T>>;
  kernels.add = binary_kernel<T, Add<T>>;
  kernels.subtract = binary_kernel<T, Subtract<T>>;
  kernels.multiply = binary_kernel<T, Multiply<T>>;
  kernels.divide = binary_kernel<T, Divide<T>>;
  kernels.power = binary_kernel<T, Power<T>>;
  kernels.maximum = binary_kernel<T, Larger<T>>;
  kernels.minimum = binary_kernel<T, Smaller<T>>;
  kernels.equal = binary_kernel<T, Equal<T>>;
  kernels.power_slope = binary_kernel<T, PowerSlope<T>>;
  kernels.exponent_slope = binary_kernel<T, ExponentSlope<T>>;
  return kernels;
}
