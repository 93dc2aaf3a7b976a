// Softmax and log-softmax, forward and backward, over contiguous rows or over many neighbouring
// columns at a time. The largest entry is subtracted first, so that no exp overflows; NaN or an
// infinite maximum makes the whole row NaN. Bound by exp, then by memory traffic.

// Writes exp(input - largest) and returns its sum.
template <class T>
CONVOLITE_INLINE double exponentials_of_row(const T* input, std::ptrdiff_t count, Vec<T> largest,
                                            T* output) {
  return blocked_sum<T>(
      count, [=](std::ptrdiff_t i) __attribute__((always_inline)) {
        store_up_to<T>(output + i, exponential(load_up_to(input + i, count - i) - largest),
                       count - i);
        return load_up_to(output + i, count - i);
      });
}

template <class T>
void softmax_row(const T* input, std::ptrdiff_t count, T* output) {
  const Vec<T> largest = broadcast(extremum_run<T, Larger<T>>(input, count));
  const double sum = exponentials_of_row(input, count, largest, output);
  const Vec<T> every = broadcast(static_cast<T>(sum));
  map(
      output, count,
      output, [every](Vec<T> x) __attribute__((always_inline)) { return x / every; });
}

template <class T>
void log_softmax_row(const T* input, std::ptrdiff_t count, T* output) {
  const Vec<T> largest = broadcast(extremum_run<T, Larger<T>>(input, count));
  const double sum = exponentials_of_row(input, count, largest, output);
  const Vec<T> log_sum = logarithm(broadcast(static_cast<T>(sum)));
  map(
      input, count,
      output, [=](Vec<T> x) __attribute__((always_inline)) { return x - largest - log_sum; });
}

template <class T>
void softmax_backward_row(const T* grad_output, const T* output, std::ptrdiff_t count,
                          T* grad_input) {
  const double sum = blocked_sum<T>(
      count, [=](std::ptrdiff_t i) __attribute__((always_inline)) {
        return load_up_to(grad_output + i, count - i) * load_up_to(output + i, count - i);
      });
  const Vec<T> every = broadcast(static_cast<T>(sum));
  map(
      grad_output, output, count,
      grad_input, [every](Vec<T> grad, Vec<T> y) __attribute__((always_inline)) {
        return y * (grad - every);
      });
}

template <class T>
void log_softmax_backward_row(const T* grad_output, const T* output, std::ptrdiff_t count,
                              T* grad_input) {
  const Vec<T> sum = broadcast(static_cast<T>(sum_run(grad_output, count)));
  map(
      grad_output, output, count,
      grad_input, [sum](Vec<T> grad, Vec<T> y) __attribute__((always_inline)) {
        return grad - exponential(y) * sum;
      });
}

// output = scale * exp(input)
template <class T>
void scaled_exp_row(const T* input, T scale, std::ptrdiff_t count, T* output) {
  const Vec<T> every = broadcast(scale);
  map(
      input, count,
      output, [every](Vec<T> x) __attribute__((always_inline)) { return every * exponential(x); });
}

// Columns: entry i of column j is at [i * stride + j]; up to kSoftmaxColumns columns in one call.

// Partial sums of this many rows are added up, so that rounding hardly grows with the length.
constexpr std::ptrdiff_t kSumRows = 32;

// sum[j] = sum over i of what row(i) writes to its result, `columns` values.
template <class T, class Row>
CONVOLITE_INLINE void sum_of_rows(std::ptrdiff_t length, std::ptrdiff_t columns, T* sum, Row row) {
  T partial[kSoftmaxColumns];
  for (std::ptrdiff_t j = 0; j < columns; ++j) sum[j] = 0;
  for (std::ptrdiff_t i = 0; i < length;) {
    const std::ptrdiff_t end = length - i < kSumRows ? length : i + kSumRows;
    for (std::ptrdiff_t j = 0; j < columns; ++j) partial[j] = 0;
    for (; i < end; ++i) map(partial, row(i), columns, partial, Add<T>());
    map(sum, partial, columns, sum, Add<T>());
  }
}

// Writes exp(input - largest) and its sum.
template <class T>
CONVOLITE_INLINE void exponentials_of_columns(const SoftmaxColumns& shape, const T* input,
                                              const T* largest, T* output, T* sum) {
  sum_of_rows(shape.length, shape.columns, sum, [=](std::ptrdiff_t i) {
    T* row = output + i * shape.stride;
    map(
        input + i * shape.stride, largest, shape.columns, row,
        [](Vec<T> x, Vec<T> most) __attribute__((always_inline)) { return exponential(x - most); });
    return row;
  });
}

template <class T>
void softmax_columns(const SoftmaxColumns& shape, const T* input, T* output) {
  T largest[kSoftmaxColumns], sum[kSoftmaxColumns];
  combine_rows<T, Larger<T>>(input, shape.stride, shape.length, shape.columns, largest);
  exponentials_of_columns(shape, input, largest, output, sum);
  for (std::ptrdiff_t i = 0; i < shape.length; ++i) {
    T* row = output + i * shape.stride;
    map(row, sum, shape.columns, row, Divide<T>());
  }
}

template <class T>
void log_softmax_columns(const SoftmaxColumns& shape, const T* input, T* output) {
  T largest[kSoftmaxColumns], sum[kSoftmaxColumns];
  combine_rows<T, Larger<T>>(input, shape.stride, shape.length, shape.columns, largest);
  exponentials_of_columns(shape, input, largest, output, sum);
  map(sum, shape.columns, sum, Logarithm<T>());
  for (std::ptrdiff_t i = 0; i < shape.length; ++i) {
    T* row = output + i * shape.stride;
    map(input + i * shape.stride, largest, shape.columns, row, Subtract<T>());
    map(row, sum, shape.columns, row, Subtract<T>());
  }
}

template <class T>
void softmax_backward_columns(const SoftmaxColumns& shape, const T* grad_output, const T* output,
                              T* grad_input) {
  T sum[kSoftmaxColumns];
  sum_of_rows(shape.length, shape.columns, sum, [=](std::ptrdiff_t i) {
    const std::ptrdiff_t at = i * shape.stride;
    map(grad_output + at, output + at, shape.columns, grad_input + at, Multiply<T>());
    return grad_input + at;
  });
  for (std::ptrdiff_t i = 0; i < shape.length; ++i) {
    const std::ptrdiff_t at = i * shape.stride;
    map(grad_output + at, sum, shape.columns, grad_input + at, Subtract<T>());
    map(grad_input + at, output + at, shape.columns, grad_input + at, Multiply<T>());
  }
}

template <class T>
void scaled_exp_columns(const SoftmaxColumns& shape, const T* input, const T* scale, T* output) {
  for (std::ptrdiff_t i = 0; i < shape.length; ++i) {
    map(
        input + i * shape.stride, scale, shape.columns, output + i * shape.stride,
        [](Vec<T> x, Vec<T> factor)
            __attribute__((always_inline)) { return factor * exponential(x); });
  }
}

template <class T>
void log_softmax_backward_columns(const SoftmaxColumns& shape, const T* grad_output,
                                  const T* output, T* grad_input) {
  T sum[kSoftmaxColumns];
  sum_of_rows(shape.length, shape.columns, sum,
              [=](std::ptrdiff_t i) { return grad_output + i * shape.stride; });
  scaled_exp_columns(shape, output, sum, grad_input);
  for (std::ptrdiff_t i = 0; i < shape.length; ++i) {
    T* row = grad_input + i * shape.stride;
    map(grad_output + i * shape.stride, row, shape.columns, row, Subtract<T>());
  }
}

template <class T>
constexpr SoftmaxKernels<T> softmax_kernels() {
  return {softmax_row<T>,
          log_softmax_row<T>,
          softmax_backward_row<T>,
          log_softmax_backward_row<T>,
          scaled_exp_row<T>,
          softmax_columns<T>,
          log_softmax_columns<T>,
          softmax_backward_columns<T>,
          log_softmax_backward_columns<T>,
          scaled_exp_columns<T>};
}
