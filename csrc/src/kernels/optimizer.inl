// Optimizer updates in place, one pass over parameter, gradient and state. PyTorch's rules. SGD is
// bound by memory traffic, even in the third cache; Adam and RMSprop there by the divider, which
// takes 9 cycles for the root and the quotient of 8 floats (Zen 3), by traffic beyond.

// Rules without momentum, with it, and with Nesterov's look ahead; `First`: the velocity starts as
// the gradient and is not read.
template <class T, bool Momentum, bool Nesterov, bool First>
void sgd_span(const SgdArguments<T>& arguments, const T* gradient, std::ptrdiff_t count,
              T* parameter, T* velocity) {
  const Vec<T> rate = broadcast(arguments.lr), momentum = broadcast(arguments.momentum);
  const Vec<T> fresh = broadcast(arguments.fresh), decay = broadcast(arguments.weight_decay);
  for (std::ptrdiff_t i = 0; i < count; i += kLanes<T>) {
    const Vec<T> at = load_up_to(parameter + i, count - i);
    Vec<T> step = load_up_to(gradient + i, count - i) + decay * at;
    if constexpr (Momentum) {
      Vec<T> speed = step;
      if constexpr (!First) speed = momentum * load_up_to(velocity + i, count - i) + fresh * step;
      store_up_to<T>(velocity + i, speed, count - i);
      step = Nesterov ? step + momentum * speed : speed;
    }
    store_up_to<T>(parameter + i, at - rate * step, count - i);
  }
}

template <class T, bool Decoupled>
void adam_span(const AdamArguments<T>& arguments, const T* gradient, std::ptrdiff_t count,
               T* parameter, T* exp_avg, T* exp_avg_sq) {
  const Vec<T> fresh1 = broadcast(arguments.fresh1), fresh2 = broadcast(arguments.fresh2);
  const Vec<T> beta2 = broadcast(arguments.beta2), eps = broadcast(arguments.eps);
  const Vec<T> decay = broadcast(arguments.weight_decay), step = broadcast(arguments.step_size);
  for (std::ptrdiff_t i = 0; i < count; i += kLanes<T>) {
    Vec<T> at = load_up_to(parameter + i, count - i);
    Vec<T> grad = load_up_to(gradient + i, count - i);
    if constexpr (Decoupled) {
      at *= decay;
    } else {
      grad += decay * at;
    }
    const Vec<T> old = load_up_to(exp_avg + i, count - i);
    const Vec<T> mean = old + fresh1 * (grad - old);
    const Vec<T> square = beta2 * load_up_to(exp_avg_sq + i, count - i) + fresh2 * grad * grad;
    store_up_to<T>(exp_avg + i, mean, count - i);
    store_up_to<T>(exp_avg_sq + i, square, count - i);
    store_up_to<T>(parameter + i, at - step * mean / (square_root(square) + eps), count - i);
  }
}

template <class T, bool Centered, bool Momentum>
void rmsprop_span(const RmspropArguments<T>& arguments, const T* gradient, std::ptrdiff_t count,
                  T* parameter, T* square_avg, T* grad_avg, T* momentum_buffer) {
  const Vec<T> rate = broadcast(arguments.lr), momentum = broadcast(arguments.momentum);
  const Vec<T> alpha = broadcast(arguments.alpha), fresh = broadcast(arguments.fresh);
  const Vec<T> eps = broadcast(arguments.eps), decay = broadcast(arguments.weight_decay);
  for (std::ptrdiff_t i = 0; i < count; i += kLanes<T>) {
    const Vec<T> at = load_up_to(parameter + i, count - i);
    const Vec<T> grad = load_up_to(gradient + i, count - i) + decay * at;
    const Vec<T> square = alpha * load_up_to(square_avg + i, count - i) + fresh * grad * grad;
    store_up_to<T>(square_avg + i, square, count - i);
    Vec<T> variance = square;
    if constexpr (Centered) {
      const Vec<T> old = load_up_to(grad_avg + i, count - i);
      const Vec<T> mean = old + fresh * (grad - old);
      store_up_to<T>(grad_avg + i, mean, count - i);
      variance -= mean * mean;
    }
    Vec<T> step = grad / (square_root(variance) + eps);
    if constexpr (Momentum) {
      step += momentum * load_up_to(momentum_buffer + i, count - i);
      store_up_to<T>(momentum_buffer + i, step, count - i);
    }
    store_up_to<T>(parameter + i, at - rate * step, count - i);
  }
}

template <class T>
constexpr OptimizerKernels<T> optimizer_kernels() {
  return {sgd_span<T, false, false, false>,
          sgd_span<T, true, false, false>,
          sgd_span<T, true, false, true>,
          sgd_span<T, true, true, false>,
          sgd_span<T, true, true, true>,
          adam_span<T, false>,
          adam_span<T, true>,
          rmsprop_span<T, false, false>,
          rmsprop_span<T, false, true>,
          rmsprop_span<T, true, false>,
          rmsprop_span<T, true, true>};
}
