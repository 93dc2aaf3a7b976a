// Activation functions and their gradients, element by element; the formulas are PyTorch's. Kinks:
// the derivative at 0 is 0 (relu), or the value to the left. Bound by memory traffic where no
// transcendental function is involved.

template <class T>
struct Relu {
  CONVOLITE_INLINE static Vec<T> forward(Vec<T> x, Vec<T>) { return x < T(0) ? Vec<T>{} : x; }
  CONVOLITE_INLINE static Vec<T> backward(Vec<T> grad, Vec<T> output, Vec<T>) {
    return output <= T(0) ? Vec<T>{} : grad;
  }
};

template <class T>
struct LeakyRelu {
  CONVOLITE_INLINE static Vec<T> forward(Vec<T> x, Vec<T> slope) {
    return x > T(0) ? x : x * slope;
  }
  CONVOLITE_INLINE static Vec<T> backward(Vec<T> grad, Vec<T> x, Vec<T> slope) {
    return x > T(0) ? grad : grad * slope;
  }
};

template <class T>
struct Relu6 {
  CONVOLITE_INLINE static Vec<T> forward(Vec<T> x, Vec<T>) {
    return at_most<T>(at_least<T>(x, Vec<T>{}), broadcast(T(6)));
  }
  CONVOLITE_INLINE static Vec<T> backward(Vec<T> grad, Vec<T> output, Vec<T>) {
    return ((output <= T(0)) | (output >= T(6))) ? Vec<T>{} : grad;
  }
};

template <class T>
struct Elu {
  CONVOLITE_INLINE static Vec<T> forward(Vec<T> x, Vec<T> alpha) {
    return x > T(0) ? x : alpha * exponential_minus_1(x);
  }
  CONVOLITE_INLINE static Vec<T> backward(Vec<T> grad, Vec<T> x, Vec<T> alpha) {
    return x > T(0) ? grad : grad * (alpha * exponential(x));
  }
};

template <class T>
struct Gelu {  // x Phi(x), Phi the normal distribution function
  CONVOLITE_INLINE static Vec<T> forward(Vec<T> x, Vec<T>) { return x * normal(x).distribution; }
  CONVOLITE_INLINE static Vec<T> backward(Vec<T> grad, Vec<T> x, Vec<T>) {
    const Normal<T> at_x = normal(x);
    return grad * (at_x.distribution + x * at_x.density);
  }
};

// x / 2 (1 + tanh u) with u = sqrt(2 / pi) (x + 0.044715 x^3); (1 + tanh u) / 2 = logistic(2 u),
// which does not cancel where tanh u is near -1.
template <class T>
struct GeluTanh {
  static constexpr T kScale = static_cast<T>(2 * 0.79788456080286535588);  // 2 sqrt(2 / pi)
  static constexpr T kCubic = static_cast<T>(0.044715);

  CONVOLITE_INLINE static Logistic<T> gate(Vec<T> x) {
    return logistic<T>(kScale * (x + kCubic * x * x * x));
  }
  CONVOLITE_INLINE static Vec<T> forward(Vec<T> x, Vec<T>) { return x * gate(x).value; }
  CONVOLITE_INLINE static Vec<T> backward(Vec<T> grad, Vec<T> x, Vec<T>) {
    // Beyond 30 the gate is 0 or 1 in either precision; the slope must not grow to infinity there.
    const Vec<T> near = at_most<T>(at_least<T>(x, broadcast(T(-30))), broadcast(T(30)));
    const Logistic<T> s = gate(near);
    const Vec<T> slope = kScale * (T(1) + 3 * kCubic * near * near);
    return grad * (s.value + x * s.value * s.rest * slope);
  }
};

template <class T>
struct Silu {  // x logistic(x)
  CONVOLITE_INLINE static Vec<T> forward(Vec<T> x, Vec<T>) { return x * logistic<T>(x).value; }
  CONVOLITE_INLINE static Vec<T> backward(Vec<T> grad, Vec<T> x, Vec<T>) {
    const Logistic<T> s = logistic<T>(x);
    return grad * s.value * (T(1) + x * s.rest);
  }
};

template <class T>
struct Hardsigmoid {  // relu6(x + 3) / 6
  CONVOLITE_INLINE static Vec<T> forward(Vec<T> x, Vec<T>) {
    return Relu6<T>::forward(x + T(3), Vec<T>{}) / T(6);
  }
  CONVOLITE_INLINE static Vec<T> backward(Vec<T> grad, Vec<T> x, Vec<T>) {
    return ((x > T(-3)) & (x < T(3))) ? grad / T(6) : Vec<T>{};
  }
};

template <class T>
struct Hardswish {  // x relu6(x + 3) / 6
  CONVOLITE_INLINE static Vec<T> forward(Vec<T> x, Vec<T>) {
    return x * (Relu6<T>::forward(x + T(3), Vec<T>{}) / T(6));
  }
  CONVOLITE_INLINE static Vec<T> backward(Vec<T> grad, Vec<T> x, Vec<T>) {
    const Vec<T> between = grad * (x / T(3) + T(0.5));
    return x <= T(-3) ? Vec<T>{} : (x >= T(3) ? grad : between);
  }
};

template <class T>
struct Sigmoid {
  CONVOLITE_INLINE static Vec<T> forward(Vec<T> x, Vec<T>) { return logistic<T>(x).value; }
  CONVOLITE_INLINE static Vec<T> backward(Vec<T> grad, Vec<T> output, Vec<T>) {
    return grad * (T(1) - output) * output;
  }
};

template <class T>
struct Tanh {
  CONVOLITE_INLINE static Vec<T> forward(Vec<T> x, Vec<T>) { return hyperbolic_tangent(x); }
  CONVOLITE_INLINE static Vec<T> backward(Vec<T> grad, Vec<T> output, Vec<T>) {
    return grad * (T(1) - output * output);
  }
};

template <class T, class Function>
void activate(const T* input, std::ptrdiff_t count, T parameter, T* output) {
  const Vec<T> every = broadcast(parameter);
  map(
      input, count, output, [every](Vec<T> x) __attribute__((always_inline)) {
        return Function::forward(x, every);
      });
}

template <class T, class Function>
void activate_backward(const T* grad_output, const T* saved, std::ptrdiff_t count, T parameter,
                       T* grad_input) {
  const Vec<T> every = broadcast(parameter);
  map(
      grad_output, saved, count,
      grad_input, [every](Vec<T> grad, Vec<T> at) __attribute__((always_inline)) {
        return Function::backward(grad, at, every);
      });
}

template <class T, class Function>
constexpr ActivationKernel<T> activation_kernel() {
  return {activate<T, Function>, activate_backward<T, Function>};
}

template <class T>
constexpr ActivationKernels<T> activation_kernels() {
  ActivationKernels<T> kernels{};
  kernels.relu = activation_kernel<T, Relu<T>>();
  kernels.leaky_relu = activation_kernel<T, LeakyRelu<T>>();
  kernels.relu6 = activation_kernel<T, Relu6<T>>();
  kernels.elu = activation_kernel<T, Elu<T>>();
  kernels.gelu = activation_kernel<T, Gelu<T>>();
  kernels.gelu_tanh = activation_kernel<T, GeluTanh<T>>();
  kernels.silu = activation_kernel<T, Silu<T>>();
  kernels.hardswish = activation_kernel<T, Hardswish<T>>();
  kernels.hardsigmoid = activation_kernel<T, Hardsigmoid<T>>();
  kernels.sigmoid = activation_kernel<T, Sigmoid<T>>();
  kernels.tanh = activation_kernel<T, Tanh<T>>();
  return kernels;
}
