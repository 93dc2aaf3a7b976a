// Pooling kernels (contract: table.h). Offsets live in integer lanes while they are compared and in
// bytes in memory. Rows shorter than a vector are the rule late in a network, so whole vectors may
// be read and written past a row's end: what is written there is written again when its own row
// comes.

// Bytes in memory, one per lane in a register. GCC 12 converts 16 of them in one instruction but
// fewer one by one, hence the shuffles.
template <>
struct VectorOf<std::uint8_t> {
  typedef std::uint8_t type __attribute__((vector_size(CONVOLITE_VECTOR_BYTES)));
  typedef type integer;
};
typedef std::uint8_t SixteenBytes __attribute__((vector_size(16)));
using AllBytes = typename LaneSequence<CONVOLITE_VECTOR_BYTES>::type;

template <std::ptrdiff_t Count>
struct ByteChunk;
template <>
struct ByteChunk<2> {
  typedef std::uint16_t type;
  typedef std::uint16_t repeated __attribute__((vector_size(CONVOLITE_VECTOR_BYTES)));
};
template <>
struct ByteChunk<4> {
  typedef std::uint32_t type;
  typedef std::uint32_t repeated __attribute__((vector_size(CONVOLITE_VECTOR_BYTES)));
};
template <>
struct ByteChunk<8> {
  typedef std::uint64_t type;
  typedef std::uint64_t repeated __attribute__((vector_size(CONVOLITE_VECTOR_BYTES)));
};

// Every 16 bytes of `chunks` hold the same bytes, so no lane needs a byte of another 16.
template <class T, int... Byte>
CONVOLITE_INLINE VecMask<T> spread_bytes(Vec<std::uint8_t> chunks, LaneList<Byte...>) {
  constexpr int n = static_cast<int>(kLanes<T>), size = static_cast<int>(sizeof(T));
  const Vec<std::uint8_t> spread =
      shuffle<std::uint8_t, (Byte / 16 * 16 + Byte / size % n)...>(chunks, chunks);
  return reinterpret_cast<VecMask<T>>(spread) & 0xff;
}

template <class T>
CONVOLITE_INLINE VecMask<T> load_bytes(const std::uint8_t* pointer) {
  constexpr std::ptrdiff_t n = kLanes<T>;
  if constexpr (n == 16) {
    SixteenBytes bytes;
    __builtin_memcpy(&bytes, pointer, 16);
    return __builtin_convertvector(bytes, VecMask<T>);
  } else {
    typename ByteChunk<n>::type chunk;
    __builtin_memcpy(&chunk, pointer, n);
    const typename ByteChunk<n>::repeated chunks = chunk - typename ByteChunk<n>::repeated{};
    return spread_bytes<T>(reinterpret_cast<Vec<std::uint8_t>>(chunks), AllBytes{});
  }
}

template <class T, int... Byte>
CONVOLITE_INLINE Vec<std::uint8_t> low_bytes(VecMask<T> value, LaneList<Byte...>) {
  constexpr int size = static_cast<int>(sizeof(T));
  const Vec<std::uint8_t> bytes = reinterpret_cast<Vec<std::uint8_t>>(value);
  return shuffle<std::uint8_t, (Byte * size % CONVOLITE_VECTOR_BYTES)...>(bytes, bytes);
}

template <class T>
CONVOLITE_INLINE void store_bytes(std::uint8_t* pointer, VecMask<T> value) {
  constexpr std::ptrdiff_t n = kLanes<T>;
  if constexpr (n == 16) {
    const SixteenBytes bytes = __builtin_convertvector(value, SixteenBytes);
    __builtin_memcpy(pointer, &bytes, 16);
  } else {
    const Vec<std::uint8_t> bytes = low_bytes<T>(value, AllBytes{});
    __builtin_memcpy(pointer, &bytes, n);
  }
}

// One more candidate: the first of equal maxima stays, a NaN always wins.
template <class T>
CONVOLITE_INLINE void take_greater(Vec<T> value, VecMask<T> offset, Vec<T>& best,
                                   VecMask<T>& where) {
  const VecMask<T> better = (value > best) | (value != value);
  best = better ? value : best;
  where = better ? offset : where;
}

template <class T>
CONVOLITE_INLINE void max_2x2_scalar(const T* top, const T* bottom, T* output,
                                     std::uint8_t* offset) {
  const T values[4] = {top[0], top[1], bottom[0], bottom[1]};
  int where = 0;
  for (int i = 1; i < 4; ++i) {
    if (values[i] > values[where] || values[i] != values[i]) where = i;
  }
  *output = values[where];
  *offset = static_cast<std::uint8_t>(where);
}

template <class T>
CONVOLITE_INLINE void max_2x2_vector(const T* top, const T* bottom, T* output,
                                     std::uint8_t* offsets) {
  const Vec<T> top_low = load(top), top_high = load(top + kLanes<T>);
  const Vec<T> bottom_low = load(bottom), bottom_high = load(bottom + kLanes<T>);
  const VecMask<T> zero = VecMask<T>{};
  Vec<T> best = evens<T>(top_low, top_high);
  VecMask<T> where = zero;
  take_greater<T>(odds<T>(top_low, top_high), zero + 1, best, where);
  take_greater<T>(evens<T>(bottom_low, bottom_high), zero + 2, best, where);
  take_greater<T>(odds<T>(bottom_low, bottom_high), zero + 3, best, where);
  store(output, best);
  store_bytes<T>(offsets, where);
}

// Bound by memory: 1.5 cycles of arithmetic for each output against 21 bytes of traffic (float).
template <class T>
void max_2x2(std::ptrdiff_t planes, std::ptrdiff_t h, std::ptrdiff_t w, const T* input, T* output,
             std::uint8_t* offsets) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  const std::ptrdiff_t output_h = h / 2, output_w = w / 2;
  const T* const input_end = input + planes * h * w;
  const T* const output_end = output + planes * output_h * output_w;
  for (std::ptrdiff_t plane = 0; plane < planes; ++plane) {
    for (std::ptrdiff_t row = 0; row < output_h; ++row) {
      const T* const top = input + (plane * h + 2 * row) * w;
      const T* const bottom = top + w;
      std::ptrdiff_t column = 0;
      while (column < output_w && bottom + 2 * (column + lanes) <= input_end &&
             output + column + lanes <= output_end) {
        max_2x2_vector(top + 2 * column, bottom + 2 * column, output + column, offsets + column);
        column += lanes;
      }
      for (; column < output_w; ++column) {
        max_2x2_scalar(top + 2 * column, bottom + 2 * column, output + column, offsets + column);
      }
      output += output_w;
      offsets += output_w;
    }
  }
}

// Where the lane's offset is First or First + 1 its gradient goes to the even or the odd pixel.
template <class T, int First>
CONVOLITE_INLINE void store_routed(Vec<T> grad, VecMask<T> where, T* grad_input) {
  const Vec<T> even = where == First ? grad : Vec<T>{};
  const Vec<T> odd = where == First + 1 ? grad : Vec<T>{};
  store(grad_input, interleave_low<T>(even, odd));
  store(grad_input + kLanes<T>, interleave_high<T>(even, odd));
}

// Bound by memory, as forward: each pixel of grad_input is stored once, zeros included. Columns run
// backwards, so that what the last vector of `top` writes into `bottom` is overwritten by the
// first.
template <class T>
void max_2x2_backward(std::ptrdiff_t planes, std::ptrdiff_t h, std::ptrdiff_t w,
                      const T* grad_output, const std::uint8_t* offsets, T* grad_input) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  const std::ptrdiff_t output_h = h / 2, output_w = w / 2;
  const T* const output_end = grad_output + planes * output_h * output_w;
  const T* const input_end = grad_input + planes * h * w;
  for (std::ptrdiff_t plane = 0; plane < planes; ++plane) {
    for (std::ptrdiff_t row = 0; row < output_h; ++row) {
      T* const top = grad_input + 2 * row * w;
      T* const bottom = top + w;
      if (w % 2 != 0) top[w - 1] = bottom[w - 1] = T(0);
      for (std::ptrdiff_t column = (output_w - 1) / lanes * lanes; column >= 0; column -= lanes) {
        const std::ptrdiff_t left = output_w - column, count = left < lanes ? left : lanes;
        if (bottom + 2 * (column + lanes) <= input_end &&
            grad_output + column + lanes <= output_end) {
          const Vec<T> grad = first_lanes<T>(count) ? load(grad_output + column) : Vec<T>{};
          const VecMask<T> where = load_bytes<T>(offsets + column);
          store_routed<T, 0>(grad, where, top + 2 * column);
          store_routed<T, 2>(grad, where, bottom + 2 * column);
        } else {
          for (std::ptrdiff_t i = column; i < column + count; ++i) {
            for (int side = 0; side < 2; ++side) {
              top[2 * i + side] = offsets[i] == side ? grad_output[i] : T(0);
              bottom[2 * i + side] = offsets[i] == side + 2 ? grad_output[i] : T(0);
            }
          }
        }
      }
      grad_output += output_w;
      offsets += output_w;
    }
    if (h % 2 != 0) {
      for (std::ptrdiff_t i = (h - 1) * w; i < h * w; ++i) grad_input[i] = T(0);
    }
    grad_input += h * w;
  }
}

// One row of output for any window. The best value and its offset stay in registers over all taps;
// six instructions for each tap and vector make this bound by arithmetic from 3x3 windows on.
template <class T, int Stride>
void max_row(const MaxRowArguments<T>& arguments) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  for (std::ptrdiff_t column = 0; column < arguments.columns; column += lanes) {
    Vec<T> best = broadcast(static_cast<T>(-__builtin_inf()));
    VecMask<T> where = load_bytes<T>(arguments.first + column) + arguments.first_row_offset;
    for (std::ptrdiff_t i = 0; i < arguments.kernel_h; ++i) {
      if (arguments.rows[i] == nullptr) continue;
      const T* tap = arguments.rows[i] + column * Stride;
      VecMask<T> offset = VecMask<T>{} + static_cast<int>(i * arguments.kernel_w);
      for (std::ptrdiff_t j = 0; j < arguments.kernel_w; ++j) {
        const Vec<T> value = Stride == 1 ? load(tap) : evens<T>(load(tap), load(tap + lanes));
        take_greater<T>(value, offset, best, where);
        tap += arguments.dilation;
        offset += 1;
      }
    }
    if (column + lanes <= arguments.room) {
      store(arguments.output + column, best);
      store_bytes<T>(arguments.offsets + column, where);
    } else {
      const std::ptrdiff_t count = arguments.columns - column;
      std::uint8_t bytes[lanes];
      store_bytes<T>(bytes, where);
      store_partial(arguments.output + column, best, count);
      for (std::ptrdiff_t j = 0; j < count; ++j) arguments.offsets[column + j] = bytes[j];
    }
  }
}

template <class T>
void add_rows(std::ptrdiff_t rows, std::ptrdiff_t width, const T* input, const T* input_end,
              T* sums) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  const T* const last = input + (rows - 1) * width;
  std::ptrdiff_t column = 0;
  for (; column < width && last + column + lanes <= input_end; column += lanes) {
    Vec<T> sum = load(input + column);
    for (const T* row = input + width; row <= last; row += width) sum += load(row + column);
    store(sums + column, sum);
  }
  for (; column < width; ++column) {
    T sum = input[column];
    for (const T* row = input + width; row <= last; row += width) sum += row[column];
    sums[column] = sum;
  }
}

template <class T>
void average_segments(const Segments<T>& segments, T row_divisor, const T* sums, T* output) {
  for (std::ptrdiff_t i = 0; i < segments.count; ++i) {
    T sum = T(0);
    for (std::ptrdiff_t x = segments.begin[i]; x < segments.end[i]; ++x) sum += sums[x];
    output[i] = sum / (row_divisor * segments.divisor[i]);
  }
}

template <class T>
void spread_segments(const Segments<T>& segments, T row_divisor, const T* grad_output,
                     std::ptrdiff_t width, T* shares) {
  for (std::ptrdiff_t x = 0; x < width; ++x) shares[x] = T(0);
  for (std::ptrdiff_t i = 0; i < segments.count; ++i) {
    const T share = grad_output[i] / (row_divisor * segments.divisor[i]);
    for (std::ptrdiff_t x = segments.begin[i]; x < segments.end[i]; ++x) shares[x] += share;
  }
}

template <class T>
void add_row(std::ptrdiff_t width, const T* addend, T* sums) {
  std::ptrdiff_t x = 0;
  for (; x + kLanes<T> <= width; x += kLanes<T>) store(sums + x, load(sums + x) + load(addend + x));
  for (; x < width; ++x) sums[x] += addend[x];
}

template <class T>
constexpr PoolKernels<T> pool_kernels() {
  return {max_2x2<T>,  max_2x2_backward<T>, {max_row<T, 1>, max_row<T, 2>},
          add_rows<T>, average_segments<T>, spread_segments<T>,
          add_row<T>};
}
