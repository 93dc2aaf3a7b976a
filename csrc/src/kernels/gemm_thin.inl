// Products with few rows of A or little depth (contract: table.h). Bound by memory: B or C passes
// once.

// Rows and columns whose sums stay in registers together: 3 x 4 of 16; 8 x 3 of 32, or 4 x 4 where
// rows are few, which reads B in longer runs.
#if CONVOLITE_VECTOR_BYTES == 64
constexpr int kThinRows = 8;
#else
constexpr int kThinRows = 3;
#endif
template <int Rows>
constexpr int kThinColumns = Rows <= 4 ? 4 : 3;

// Row i of A and the following, column j of B and the following; behind the last column of B the
// last one is read again.
template <class T, int Rows>
CONVOLITE_INLINE void dot_tile(const ThinArguments<T>& product, std::ptrdiff_t i,
                               std::ptrdiff_t j) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  constexpr int columns = kThinColumns<Rows>;
  const T* a = product.a + i * product.a_row_stride;
  const T* column[columns];
  Vec<T> sum[Rows][columns];
  CONVOLITE_UNROLL for (int n = 0; n < columns; ++n) {
    const std::ptrdiff_t last = product.columns - 1;
    column[n] = product.b + (j + n < last ? j + n : last) * product.b_stride;
    CONVOLITE_UNROLL for (int m = 0; m < Rows; ++m) sum[m][n] = Vec<T>{};
  }
  const auto step = [&](std::ptrdiff_t k, auto load_lanes) __attribute__((always_inline)) {
    Vec<T> row[Rows];
    CONVOLITE_UNROLL for (int m = 0; m < Rows; ++m) row[m] =
        load_lanes(a + m * product.a_row_stride + k);
    CONVOLITE_UNROLL for (int n = 0; n < columns; ++n) {
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
  CONVOLITE_UNROLL for (int n = 0; n < columns; ++n) {
    if (j + n >= product.columns) return;
    CONVOLITE_UNROLL for (int m = 0; m < Rows; ++m) {
      product.c[(i + m) * product.c_stride + j + n] = static_cast<T>(sum_lanes<T>(sum[m][n]));
    }
  }
}

// Rows from i on, `left` of them.
template <class T, int Rows>
CONVOLITE_INLINE void dot_rows(const ThinArguments<T>& product, std::ptrdiff_t i,
                               std::ptrdiff_t left) {
  if constexpr (Rows > 0) {
    if (left < Rows) return dot_rows<T, Rows - 1>(product, i, left);
    for (std::ptrdiff_t j = 0; j < product.columns; j += kThinColumns<Rows>) {
      dot_tile<T, Rows>(product, i, j);
    }
  }
}

template <class T>
void thin_by_columns(const ThinArguments<T>& product) {
  for (std::ptrdiff_t i = 0; i < product.rows; i += kThinRows) {
    dot_rows<T, kThinRows>(product, i, product.rows - i);
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
      factor[m][t] =
          broadcast(product.a[(i + m) * product.a_row_stride + (k + t) * product.a_column_stride]);
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

// Factors of Rows x Terms stay in registers: 2 x 6 of 16, 3 x 8 of 32.
#if CONVOLITE_VECTOR_BYTES == 64
constexpr int kThinFactorRows = 3;
constexpr int kThinTerms = 8;
#else
constexpr int kThinFactorRows = 2;
constexpr int kThinTerms = 6;
#endif

template <class T, int Rows, int Terms>
CONVOLITE_INLINE void add_rows_to_rest(const ThinArguments<T>& product, std::ptrdiff_t i,
                                       std::ptrdiff_t k) {
  if constexpr (Rows > 0) {
    for (; i + Rows <= product.rows; i += Rows) add_rows<T, Rows, Terms>(product, i, k);
    add_rows_to_rest<T, Rows - 1, Terms>(product, i, k);
  }
}

// The `left` rows of B from k on, if they are not more than Terms.
template <class T, int Terms>
CONVOLITE_INLINE void add_last_terms(const ThinArguments<T>& product, std::ptrdiff_t k,
                                     std::ptrdiff_t left) {
  if constexpr (Terms > 0) {
    if (left < Terms) return add_last_terms<T, Terms - 1>(product, k, left);
    add_rows_to_rest<T, kThinFactorRows, Terms>(product, 0, k);
  }
}

template <class T>
void thin_by_rows(const ThinArguments<T>& product) {
  std::ptrdiff_t k = 0;
  if (product.rows == 1) {
    for (; k + 8 <= product.depth; k += 8) add_rows<T, 1, 8>(product, 0, k);
  }
  for (; k + kThinTerms <= product.depth; k += kThinTerms) {
    add_rows_to_rest<T, kThinFactorRows, kThinTerms>(product, 0, k);
  }
  add_last_terms<T, kThinTerms - 1>(product, k, product.depth - k);
}

// TUNE
#if CONVOLITE_VECTOR_BYTES == 64
constexpr int kThinMostRows = 8;
constexpr int kThinMostDepth = 8;
#else
constexpr int kThinMostRows = 4;
constexpr int kThinMostDepth = 8;
#endif

template <class T>
constexpr ThinKernels<T> thin_kernels() {
  return {8, kThinMostRows, kThinMostDepth, thin_by_columns<T>, thin_by_rows<T>};
}
