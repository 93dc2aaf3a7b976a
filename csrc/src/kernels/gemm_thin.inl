// Products with few rows of A or little depth (contract: table.h). Bound by memory: B or C passes
// once.

// Rows and columns whose sums stay in registers together: 3 x 4 of 16; 8 x 3 of 32, or 4 x 4 where
// rows are few, which reads B in longer runs.
#if CONVOLITE_VECTOR_BYTES == 64
constexpr int kThinRows = 8;
#else
constexpr int kThinRows = 3;
#endif
constexpr int kThinFewRows = kThinRows > 4 ? 4 : kThinRows;
constexpr int kThinColumns = 4;
constexpr int kThinColumnsOfMany = kThinRows > 4 ? 3 : 4;  // where there are more than 4 rows

// Row i of A and the following, column j of B and the following; behind the last column of B the
// last one is read again.
template <class T, int Rows, int Columns>
CONVOLITE_INLINE void dot_tile(const ThinArguments<T>& product, std::ptrdiff_t i,
                               std::ptrdiff_t j) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  const T* a = product.a + i * product.a_row_stride;
  const T* column[Columns];
  Vec<T> sum[Rows][Columns];
  CONVOLITE_UNROLL for (int n = 0; n < Columns; ++n) {
    const std::ptrdiff_t last = product.columns - 1;
    column[n] = product.b + (j + n < last ? j + n : last) * product.b_stride;
    CONVOLITE_UNROLL for (int m = 0; m < Rows; ++m) sum[m][n] = Vec<T>{};
  }
  const auto step = [&](std::ptrdiff_t k, auto load_lanes) __attribute__((always_inline)) {
    Vec<T> row[Rows];
    CONVOLITE_UNROLL for (int m = 0; m < Rows; ++m) row[m] =
        load_lanes(a + m * product.a_row_stride + k);
    CONVOLITE_UNROLL for (int n = 0; n < Columns; ++n) {
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
  CONVOLITE_UNROLL for (int n = 0; n < Columns; ++n) {
    if (j + n >= product.columns) return;
    CONVOLITE_UNROLL for (int m = 0; m < Rows; ++m) {
      product.c[(i + m) * product.c_stride + j + n] = static_cast<T>(sum_lanes<T>(sum[m][n]));
    }
  }
}

// All rows, `Rows` of them together, and the rest.
template <class T, int Rows, int Columns>
CONVOLITE_INLINE void dot_rows(const ThinArguments<T>& product, std::ptrdiff_t i,
                               std::ptrdiff_t j) {
  if constexpr (Rows > 0) {
    for (; i + Rows <= product.rows; i += Rows) dot_tile<T, Rows, Columns>(product, i, j);
    dot_rows<T, Rows - 1, Columns>(product, i, j);
  }
}

template <class T>
void thin_by_columns(const ThinArguments<T>& product) {
  if (product.rows <= 4) {
    for (std::ptrdiff_t j = 0; j < product.columns; j += kThinColumns) {
      dot_rows<T, kThinFewRows, kThinColumns>(product, 0, j);
    }
    return;
  }
  for (std::ptrdiff_t j = 0; j < product.columns; j += kThinColumnsOfMany) {
    dot_rows<T, kThinRows, kThinColumnsOfMany>(product, 0, j);
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
  const auto add = [&](std::ptrdiff_t j, std::ptrdiff_t count, auto previous)
      __attribute__((always_inline)) {
    Vec<T> sum[Rows];
    CONVOLITE_UNROLL for (int m = 0; m < Rows; ++m) {
      sum[m] = Vec<T>{};
    }
    CONVOLITE_UNROLL for (int t = 0; t < Terms; ++t) {
      const Vec<T> row = load_up_to(b + t * b_stride + j, count);
      CONVOLITE_UNROLL for (int m = 0; m < Rows; ++m) sum[m] += factor[m][t] * row;
    }
    CONVOLITE_UNROLL for (int m = 0; m < Rows; ++m) {
      store_up_to(c + m * c_stride + j, k == 0 ? sum[m] : sum[m] + previous(m), count);
    }
  };
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  const std::ptrdiff_t columns = product.columns;
  if (columns < lanes) {
    return add(
        0, columns, [&](int m) __attribute__((always_inline)) {
          return load_up_to<T>(c + m * c_stride, columns);
        });
  }
  // The last vector overlaps the one before it. What it adds to was read before that was written,
  // so both give the lanes that they share the same value.
  Vec<T> last[Rows];
  CONVOLITE_UNROLL for (int m = 0; m < Rows; ++m) {
    last[m] = k == 0 ? Vec<T>{} : load<T>(c + m * c_stride + columns - lanes);
  }
  std::ptrdiff_t j = 0;
  for (; j + lanes <= columns; j += lanes) {
    add(
        j,
        lanes, [&](int m) __attribute__((always_inline)) { return load<T>(c + m * c_stride + j); });
  }
  if (j < columns) {
    add(
        columns - lanes, lanes, [&](int m) __attribute__((always_inline)) { return last[m]; });
  }
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

// Measured with bench_gemm, 1 thread, 2026-11, against packed. Zen 5 by 512 bits, batch_8: by
// columns 1.1, by rows 1.3, depth of 8 2.2 times as fast; depth of 1 to 4, 1.3 to 1.4 times. By 256
// bits: depth of 8 1.9, depth of 1 to 4 2 times. There 8 rows by rows were slower (Zen 3).
constexpr int kThinMostRowsByColumns = 8;
constexpr int kThinMostRowsByRows = CONVOLITE_VECTOR_BYTES == 64 ? 8 : 4;
constexpr int kThinMostDepth = 8;

template <class T>
constexpr ThinKernels<T> thin_kernels() {
  return {kThinMostRowsByColumns, kThinMostRowsByRows, kThinMostDepth, thin_by_columns<T>,
          thin_by_rows<T>};
}
