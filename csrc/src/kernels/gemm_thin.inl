// Products with few rows of A (contract: table.h). Bound by memory: B passes once.

// Rows and columns whose sums stay in registers together: 3 x 4 of 16.
constexpr int kThinRows = 3;
constexpr int kThinColumns = 4;

// Row i of A and the following, column j of B and the following; behind the last column of B the
// last one is read again.
template <class T, int Rows>
CONVOLITE_INLINE void dot_tile(const ThinArguments<T>& product, std::ptrdiff_t i,
                               std::ptrdiff_t j) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  const T* a = product.a + i * product.a_stride;
  const T* column[kThinColumns];
  Vec<T> sum[Rows][kThinColumns];
  CONVOLITE_UNROLL for (int n = 0; n < kThinColumns; ++n) {
    const std::ptrdiff_t last = product.columns - 1;
    column[n] = product.b + (j + n < last ? j + n : last) * product.b_stride;
    CONVOLITE_UNROLL for (int m = 0; m < Rows; ++m) sum[m][n] = Vec<T>{};
  }
  const auto step = [&](std::ptrdiff_t k, auto load_lanes) __attribute__((always_inline)) {
    Vec<T> row[Rows];
    CONVOLITE_UNROLL for (int m = 0; m < Rows; ++m) row[m] =
        load_lanes(a + m * product.a_stride + k);
    CONVOLITE_UNROLL for (int n = 0; n < kThinColumns; ++n) {
      const Vec<T> b = load_lanes(column[n] + k);
      CONVOLITE_UNROLL for (int m = 0; m < Rows; ++m) sum[m][n] += row[m] * b;
    }
  };
  std::ptrdiff_t k = 0;
  for (; k + lanes <= product.depth; k += lanes) {
    step(
        k, [](const T* from) __attribute__((always_inline)) { return load(from); });
  }
  if (const std::ptrdiff_t left = product.depth - k; left > 0) {
    step(
        k, [=](const T* from) __attribute__((always_inline)) { return load_partial(from, left); });
  }
  CONVOLITE_UNROLL for (int n = 0; n < kThinColumns; ++n) {
    if (j + n >= product.columns) return;
    CONVOLITE_UNROLL for (int m = 0; m < Rows; ++m) {
      product.c[(i + m) * product.c_stride + j + n] = static_cast<T>(sum_lanes<T>(sum[m][n]));
    }
  }
}

template <class T>
void thin_by_columns(const ThinArguments<T>& product) {
  for (std::ptrdiff_t j = 0; j < product.columns; j += kThinColumns) {
    std::ptrdiff_t i = 0;
    for (; i + kThinRows <= product.rows; i += kThinRows) dot_tile<T, kThinRows>(product, i, j);
    if (product.rows - i == 2) dot_tile<T, 2>(product, i, j);
    if (product.rows - i == 1) dot_tile<T, 1>(product, i, j);
  }
}

// Adds the sum of `Terms` rows of B from k on to `Rows` rows of C from i on; the first set what is
// there.
template <class T, int Rows, int Terms>
CONVOLITE_INLINE void add_rows(const ThinArguments<T>& product, std::ptrdiff_t i,
                               std::ptrdiff_t k) {
  Vec<T> factor[Rows][Terms];
  CONVOLITE_UNROLL for (int m = 0; m < Rows; ++m) {
    CONVOLITE_UNROLL for (int t = 0; t < Terms; ++t) {
      factor[m][t] = broadcast(product.a[(i + m) * product.a_stride + k + t]);
    }
  }
  const T* const b = product.b + k * product.b_stride;
  T* const c = product.c + i * product.c_stride;
  const std::ptrdiff_t b_stride = product.b_stride, c_stride = product.c_stride;
  const auto step = [&](std::ptrdiff_t j, std::ptrdiff_t count) __attribute__((always_inline)) {
    Vec<T> sum[Rows];
    CONVOLITE_UNROLL for (int m = 0; m < Rows; ++m) {
      sum[m] = Vec<T>{};
    }
    CONVOLITE_UNROLL for (int t = 0; t < Terms; ++t) {
      const Vec<T> row = load_up_to(b + t * b_stride + j, count);
      CONVOLITE_UNROLL for (int m = 0; m < Rows; ++m) sum[m] += factor[m][t] * row;
    }
    CONVOLITE_UNROLL for (int m = 0; m < Rows; ++m) {
      T* const place = c + m * c_stride + j;
      store_up_to(place, k == 0 ? sum[m] : sum[m] + load_up_to<T>(place, count), count);
    }
  };
  std::ptrdiff_t j = 0;
  for (; j + kLanes<T> <= product.columns; j += kLanes<T>) step(j, kLanes<T>);
  if (j < product.columns) step(j, product.columns - j);
}

template <class T, int Terms>
CONVOLITE_INLINE void add_rows_to_all(const ThinArguments<T>& product, std::ptrdiff_t k) {
  std::ptrdiff_t i = 0;
  for (; i + 2 <= product.rows; i += 2) add_rows<T, 2, Terms>(product, i, k);
  if (i < product.rows) add_rows<T, 1, Terms>(product, i, k);
}

// As many rows of B together as factors find room in registers: 2 x 6 of 16.
template <class T>
void thin_by_rows(const ThinArguments<T>& product) {
  std::ptrdiff_t k = 0;
  if (product.rows == 1) {
    for (; k + 8 <= product.depth; k += 8) add_rows<T, 1, 8>(product, 0, k);
  }
  for (; k + 6 <= product.depth; k += 6) add_rows_to_all<T, 6>(product, k);
  for (; k + 2 <= product.depth; k += 2) add_rows_to_all<T, 2>(product, k);
  if (k < product.depth) add_rows_to_all<T, 1>(product, k);
}

template <class T>
constexpr ThinKernels<T> thin_kernels() {
  return {thin_by_columns<T>, thin_by_rows<T>};
}
