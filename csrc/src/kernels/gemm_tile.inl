// The epilogue. Most tiles are whole and need none: at depth 24 they run at 92 GFLOP/s, through the
// general form at 73 (Zen 3, one core, 2026-11).
template <class T, int Rows, int Vectors>
CONVOLITE_INLINE void finish_tile(const GemmTileArguments<T>& arguments,
                                  Vec<T> (&sum)[Rows][Vectors]) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  T* const c = arguments.c;
  const std::int32_t* const c_rows = arguments.c_rows;
  const std::ptrdiff_t columns = arguments.columns;
  const bool accumulate = arguments.accumulate, clamp = arguments.clamp;
  const T *const bias = arguments.bias, *const row_bias = arguments.row_bias;
  if (columns >= Vectors * lanes && bias == nullptr && row_bias == nullptr && !clamp) {
    CONVOLITE_UNROLL for (int m = 0; m < Rows; ++m) {
      T* const row = c + c_rows[m];
      CONVOLITE_UNROLL for (int v = 0; v < Vectors; ++v) {
        store(row + v * lanes, accumulate ? sum[m][v] + load(row + v * lanes) : sum[m][v]);
      }
    }
    return;
  }
  const Vec<T> low = broadcast(arguments.low), high = broadcast(arguments.high);
  CONVOLITE_UNROLL for (int v = 0; v < Vectors; ++v) {
    const std::ptrdiff_t count = columns - v * lanes;
    if (count <= 0) return;
    const Vec<T> added = bias == nullptr ? Vec<T>{} : load_up_to(bias + v * lanes, count);
    CONVOLITE_UNROLL for (int m = 0; m < Rows; ++m) {
      T* const place = c + c_rows[m] + v * lanes;
      Vec<T> value = sum[m][v];
      if (accumulate) value += load_up_to<T>(place, count);
      value += added;
      if (row_bias != nullptr) value += broadcast(row_bias[m]);
      if (clamp) value = at_most<T>(at_least<T>(value, low), high);
      store_up_to(place, value, count);
    }
  }
}

// The epilogue with scales or a residual, of sums that stand in memory. Apart: compiled into the
// micro-kernel it would cost its registers, and a sixth of the speed (Zen 5, 2026-11).
template <class T>
__attribute__((noinline)) void finish_scaled_tile(const GemmTileArguments<T>& arguments, int rows,
                                                  std::ptrdiff_t width, const T* sums) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  const Vec<T> low = broadcast(arguments.low), high = broadcast(arguments.high);
  const T *const bias = arguments.bias, *const residual = arguments.residual;
  for (int m = 0; m < rows; ++m) {
    const T scale = arguments.row_scale == nullptr ? T(1) : arguments.row_scale[m];
    const T row_bias = arguments.row_bias == nullptr ? T(0) : arguments.row_bias[m];
    for (std::ptrdiff_t j = 0; j < arguments.columns && j < width; j += lanes) {
      const std::ptrdiff_t at = arguments.c_rows[m] + j, count = arguments.columns - j;
      Vec<T> value = load(sums + m * width + j);
      if (arguments.accumulate) value += load_up_to<T>(arguments.c + at, count);
      value *= broadcast(scale);
      if (bias != nullptr) value += load_up_to(bias + j, count);
      value += broadcast(row_bias);
      if (residual != nullptr) value += load_up_to(residual + at, count);
      if (arguments.clamp) value = at_most<T>(at_least<T>(value, low), high);
      store_up_to(arguments.c + at, value, count);
    }
  }
}

// The micro-kernel (contract: table.h). Rows x Vectors accumulators stay in registers for the whole
// reduction; Rows broadcasts from A meet Vectors loads from B. C is on its way to the first cache
// meanwhile: 256x256x2304 runs 3 to 8 % faster (Zen 3, 2026-11).
template <class T, int Rows, int Vectors>
void gemm_tile(const GemmTileArguments<T>& arguments) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  Vec<T> sum[Rows][Vectors];
  const T* row[Rows];
  CONVOLITE_UNROLL for (int m = 0; m < Rows; ++m) {
    row[m] = arguments.a + arguments.a_rows[m];
    prefetch(arguments.c + arguments.c_rows[m], 0, Vectors * lanes);
    CONVOLITE_UNROLL for (int v = 0; v < Vectors; ++v) sum[m][v] = Vec<T>{};
  }

  const std::int32_t* a_cols = arguments.a_cols;
  const std::int32_t* const a_cols_end = a_cols + arguments.depth;
  for (const T* b = arguments.b; a_cols != a_cols_end; ++a_cols, b += Vectors * lanes) {
    Vec<T> b_row[Vectors];
    CONVOLITE_UNROLL for (int v = 0; v < Vectors; ++v) b_row[v] = load(b + v * lanes);
    const std::ptrdiff_t column = *a_cols;
    CONVOLITE_UNROLL for (int m = 0; m < Rows; ++m) {
      const Vec<T> a = broadcast(row[m][column]);
      CONVOLITE_UNROLL for (int v = 0; v < Vectors; ++v) sum[m][v] += a * b_row[v];
    }
  }

  if (arguments.row_scale == nullptr && arguments.residual == nullptr) {
    finish_tile<T, Rows, Vectors>(arguments, sum);
    return;
  }
  T sums[Rows * Vectors * lanes];
  CONVOLITE_UNROLL for (int m = 0; m < Rows; ++m) {
    CONVOLITE_UNROLL for (int v = 0; v < Vectors; ++v) {
      store(sums + (m * Vectors + v) * lanes, sum[m][v]);
    }
  }
  finish_scaled_tile<T>(arguments, Rows, Vectors * lanes, sums);
}

// Transposes blocks of lanes x lanes in registers by log2(lanes) stages: stage s exchanges, between
// rows i and i + s, the lanes whose index has bit s. At the edges blocks overlap; sides shorter
// than a vector go element by element. Bound by memory traffic.
template <class T, int... I>
struct TransposeLanes {
  template <int Stage>
  static CONVOLITE_INLINE void exchange(Vec<T>& low, Vec<T>& high) {
    constexpr int n = static_cast<int>(kLanes<T>);
    const Vec<T> a = low, b = high;
    low = shuffle<T, ((I & Stage) ? n + (I - Stage) : I)...>(a, b);
    high = shuffle<T, ((I & Stage) ? n + I : I + Stage)...>(a, b);
  }
};

template <class T>
struct TransposeBlock;
#if CONVOLITE_VECTOR_BYTES == 16
template <>
struct TransposeBlock<float> : TransposeLanes<float, 0, 1, 2, 3> {};
template <>
struct TransposeBlock<double> : TransposeLanes<double, 0, 1> {};
#elif CONVOLITE_VECTOR_BYTES == 32
template <>
struct TransposeBlock<float> : TransposeLanes<float, 0, 1, 2, 3, 4, 5, 6, 7> {};
template <>
struct TransposeBlock<double> : TransposeLanes<double, 0, 1, 2, 3> {};
#else
template <>
struct TransposeBlock<float>
    : TransposeLanes<float, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15> {};
template <>
struct TransposeBlock<double> : TransposeLanes<double, 0, 1, 2, 3, 4, 5, 6, 7> {};
#endif

template <class T, int Stage>
CONVOLITE_INLINE void transpose_stages(Vec<T>* rows) {
  if constexpr (Stage < kLanes<T>) {
    CONVOLITE_UNROLL for (int i = 0; i < kLanes<T>; ++i) {
      if (!(i & Stage)) {
        TransposeBlock<T>::template exchange<Stage>(rows[i], rows[i + Stage]);
      }
    }
    transpose_stages<T, 2 * Stage>(rows);
  }
}

// finish(sums, at): what is stored at output + at. What is read some blocks later is on its way
// meanwhile: planes of large images come from memory (a step of resnet18 is 2 to 3 % shorter; Zen
// 5, one thread, 2026-11).
template <class T, class Finish>
CONVOLITE_INLINE void transpose_block(const T* input, std::ptrdiff_t input_stride, T* output,
                                      std::ptrdiff_t at, std::ptrdiff_t output_stride,
                                      const Finish& finish) {
  Vec<T> block[kLanes<T>];
  CONVOLITE_UNROLL for (int l = 0; l < kLanes<T>; ++l) {
    prefetch(input, l * input_stride + 4 * kLanes<T>);
    block[l] = load(input + l * input_stride);
  }
  transpose_stages<T, 1>(block);
  CONVOLITE_UNROLL for (int l = 0; l < kLanes<T>; ++l) {
    store(output + at + l * output_stride, finish.all(block[l], at + l * output_stride));
  }
}

template <class T, class Finish>
CONVOLITE_INLINE void transpose_with(std::ptrdiff_t rows, std::ptrdiff_t columns, const T* input,
                                     std::ptrdiff_t input_stride, T* output,
                                     std::ptrdiff_t output_stride, const Finish& finish) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  if (rows < lanes || columns < lanes) {
    for (std::ptrdiff_t i = 0; i < rows; ++i) {
      for (std::ptrdiff_t j = 0; j < columns; ++j) {
        const std::ptrdiff_t at = j * output_stride + i;
        output[at] = finish.one(input[i * input_stride + j], at);
      }
    }
    return;
  }
  for (std::ptrdiff_t row = 0; row < rows; row += lanes) {
    const std::ptrdiff_t i = row + lanes <= rows ? row : rows - lanes;
    for (std::ptrdiff_t column = 0; column < columns; column += lanes) {
      const std::ptrdiff_t j = column + lanes <= columns ? column : columns - lanes;
      transpose_block(input + i * input_stride + j, input_stride, output, j * output_stride + i,
                      output_stride, finish);
    }
  }
}

template <class T>
struct AsItIs {
  CONVOLITE_INLINE static Vec<T> all(Vec<T> value, std::ptrdiff_t) { return value; }
  CONVOLITE_INLINE static T one(T value, std::ptrdiff_t) { return value; }
};

template <class T>
void transpose(std::ptrdiff_t rows, std::ptrdiff_t columns, const T* input,
               std::ptrdiff_t input_stride, T* output, std::ptrdiff_t output_stride) {
  transpose_with<T>(rows, columns, input, input_stride, output, output_stride, AsItIs<T>{});
}

template <class T, bool Clamped>
struct AddResidual {
  const T* residual;
  T low, high;

  CONVOLITE_INLINE Vec<T> all(Vec<T> value, std::ptrdiff_t at) const {
    value += load(residual + at);
    return Clamped ? at_most<T>(at_least<T>(value, broadcast(low)), broadcast(high)) : value;
  }
  CONVOLITE_INLINE T one(T value, std::ptrdiff_t at) const {
    value += residual[at];
    if constexpr (!Clamped) return value;
    const T raised = value < low ? low : value;
    return raised > high ? high : raised;
  }
};

template <class T>
void add_transposed(const AddTransposedArguments<T>& a) {
  const auto run = [&a](const auto& finish) __attribute__((always_inline)) {
    transpose_with<T>(a.rows, a.columns, a.input, a.input_stride, a.output, a.output_stride,
                      finish);
  };
  if (a.clamp) {
    run(AddResidual<T, true>{a.residual, a.low, a.high});
  } else {
    run(AddResidual<T, false>{a.residual, a.low, a.high});
  }
}

// Tile shapes: 8 x 3 accumulators leave room for operands among 32 registers, 6 x 2 among 16.
#if CONVOLITE_VECTOR_BYTES == 64
constexpr int kTileRows = 8;
constexpr int kTileVectors = 3;
#else
constexpr int kTileRows = 6;
constexpr int kTileVectors = 2;
#endif

// Both forms of pack also ask for the place `rows` rows further down, which is packed next: where
// rows are short and far apart, the processor does not guess it (256x256x2304 runs 5 % faster; Zen
// 3, 2026-11).
template <class T, int Vectors>
CONVOLITE_INLINE void pack_whole(std::ptrdiff_t rows, const T* input, std::ptrdiff_t input_stride,
                                 T* output) {
  constexpr std::ptrdiff_t width = Vectors * kLanes<T>;
  for (std::ptrdiff_t i = 0; i < rows; ++i, input += input_stride, output += width) {
    prefetch(input, rows * input_stride, width);
    CONVOLITE_UNROLL for (int v = 0; v < Vectors; ++v) {
      store(output + v * kLanes<T>, load(input + v * kLanes<T>));
    }
  }
}

template <class T>
void pack(std::ptrdiff_t rows, std::ptrdiff_t used, std::ptrdiff_t width, const T* input,
          std::ptrdiff_t input_stride, T* output) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  if (used == width && width == kTileVectors * lanes) {
    return pack_whole<T, kTileVectors>(rows, input, input_stride, output);
  }
  for (std::ptrdiff_t i = 0; i < rows; ++i, input += input_stride, output += width) {
    prefetch(input, rows * input_stride, used);
    std::ptrdiff_t j = 0;
    for (; j + lanes <= used; j += lanes) store(output + j, load(input + j));
    for (; j < width; j += lanes) {
      store(output + j, j < used ? load_partial(input + j, used - j) : Vec<T>{});
    }
  }
}

template <class T, int Vectors>
constexpr void fill_tiles(GemmKernels<T>& kernels) {
  if constexpr (Vectors <= kTileVectors) {
    typename GemmKernels<T>::Tile* column = kernels.tile[Vectors - 1];
    column[0] = gemm_tile<T, 1, Vectors>;
    column[1] = gemm_tile<T, 2, Vectors>;
    column[2] = gemm_tile<T, 3, Vectors>;
    column[3] = gemm_tile<T, 4, Vectors>;
    column[4] = gemm_tile<T, 5, Vectors>;
    column[5] = gemm_tile<T, 6, Vectors>;
    if constexpr (kTileRows > 6) {
      column[6] = gemm_tile<T, 7, Vectors>;
      column[7] = gemm_tile<T, 8, Vectors>;
    }
    fill_tiles<T, Vectors + 1>(kernels);
  }
}

template <class T>
constexpr GemmKernels<T> gemm_kernels() {
  GemmKernels<T> kernels{};
  kernels.rows = kTileRows;
  kernels.vectors = kTileVectors;
  kernels.transpose = transpose<T>;
  kernels.add_transposed = add_transposed<T>;
  kernels.pack = pack<T>;
  fill_tiles<T, 1>(kernels);
  return kernels;
}
