// Sums and extrema of contiguous runs, and of equally long rows added up column by column. A float
// sum runs in T over a short block and in double over the blocks: rounding does not grow with the
// length. Bound by memory traffic.

constexpr std::ptrdiff_t kSumBlock = 1024;  // elements

template <class T>
CONVOLITE_INLINE double sum_lanes(Vec<T> x) {
  double total = 0;
  CONVOLITE_UNROLL for (int i = 0; i < kLanes<T>; ++i) total += static_cast<double>(x[i]);
  return total;
}

// Sum of the vectors term(i) at i = 0, lanes, 2 lanes, ... < count, whose lanes past count must be
// zero.
template <class T, class Term>
CONVOLITE_INLINE double blocked_sum(std::ptrdiff_t count, Term term) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  double total = 0;
  for (std::ptrdiff_t i = 0; i < count;) {
    const std::ptrdiff_t end = count - i < kSumBlock ? count : i + kSumBlock;
    Vec<T> even{}, odd{};
    for (; i + 2 * lanes <= end; i += 2 * lanes) {
      even += term(i);
      odd += term(i + lanes);
    }
    for (; i < end; i += lanes) even += term(i);
    total += sum_lanes<T>(even + odd);
  }
  return total;
}

template <class T>
double sum_run(const T* input, std::ptrdiff_t count) {
  return blocked_sum<T>(
      count, [=](std::ptrdiff_t i) __attribute__((always_inline)) {
        return i + kLanes<T> <= count ? load(input + i) : load_partial(input + i, count - i);
      });
}

// The extremum that Operation picks from two; NaN wins. count >= 1.
template <class T, class Operation>
T extremum_run(const T* input, std::ptrdiff_t count) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  Vec<T> best = broadcast(input[0]);
  std::ptrdiff_t i = 0;
  for (; i + lanes <= count; i += lanes) best = Operation()(best, load(input + i));
  for (; i < count; ++i) best = Operation()(best, broadcast(input[i]));
  CONVOLITE_UNROLL for (int l = 1; l < lanes; ++l) best = Operation()(best, broadcast(best[l]));
  return best[0];
}

// output[j] = Operation over i of input[i * stride + j]; four rows at a time, so that the output is
// read and written once for four inputs. rows >= 1.
template <class T, class Operation>
void combine_rows(const T* input, std::ptrdiff_t stride, std::ptrdiff_t rows,
                  std::ptrdiff_t columns, T* output) {
  const Operation combine;
  for (std::ptrdiff_t j = 0; j < columns; ++j) output[j] = input[j];
  std::ptrdiff_t i = 1;
  for (; i + 4 <= rows; i += 4) {
    const T* row = input + i * stride;
    std::ptrdiff_t j = 0;
    for (; j + kLanes<T> <= columns; j += kLanes<T>) {
      const Vec<T> upper = combine(load(row + j), load(row + stride + j));
      const Vec<T> lower = combine(load(row + 2 * stride + j), load(row + 3 * stride + j));
      store(output + j, combine(load(output + j), combine(upper, lower)));
    }
    if (j < columns) {
      const std::ptrdiff_t left = columns - j;
      const Vec<T> upper =
          combine(load_partial(row + j, left), load_partial(row + stride + j, left));
      const Vec<T> lower = combine(load_partial(row + 2 * stride + j, left),
                                   load_partial(row + 3 * stride + j, left));
      const Vec<T> sum = combine(load_partial(output + j, left), combine(upper, lower));
      store_partial(output + j, sum, left);
    }
  }
  for (; i < rows; ++i) map(output, input + i * stride, columns, output, combine);
}

template <class T>
constexpr ReduceKernels<T> reduce_kernels() {
  return {sum_run<T>,
          extremum_run<T, Larger<T>>,
          extremum_run<T, Smaller<T>>,
          combine_rows<T, Add<T>>,
          combine_rows<T, Larger<T>>,
          combine_rows<T, Smaller<T>>};
}
