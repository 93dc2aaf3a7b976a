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
  const VecMask<T> keep = ~(value > best) & (value == value);
  best = keep ? best : value;
  where = keep ? where : offset;
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
  store(output, in_order<T>(best));
  store_bytes<T>(offsets, in_order_mask<T>(where));
}

// Bound by arithmetic in cache, by memory out of it: 33 GB/s (read and written) on one core of a
// Zen 3 with AVX2, where a copy runs at 60 GB/s in the L3 cache and 17 GB/s beyond (bench_pool2d,
// sample1).
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
      // Columns in whole vectors; past the row's end only if what they touch is still in the run.
      const std::ptrdiff_t within = output_w / lanes * lanes;
      const std::ptrdiff_t beyond = (output_w + lanes - 1) / lanes * lanes;
      const bool room = bottom + 2 * beyond <= input_end && output + beyond <= output_end;
      const std::ptrdiff_t vectors_end = room ? beyond : within;
      std::ptrdiff_t column = 0;
      for (; column < vectors_end; column += lanes) {
        max_2x2_vector(top + 2 * column, bottom + 2 * column, output + column, offsets + column);
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

// Bound by memory: each pixel of grad_input is stored once, zeros included, at 53 GB/s where a copy
// runs at 60 (as above). Columns run backwards, so that what the last vector of `top` writes into
// `bottom` is overwritten by the first.
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
      const std::ptrdiff_t within = output_w / lanes * lanes;
      const std::ptrdiff_t beyond = (output_w + lanes - 1) / lanes * lanes;
      const bool room = bottom + 2 * beyond <= input_end && grad_output + beyond <= output_end;
      const std::ptrdiff_t vectors_end = room ? beyond : within;
      for (std::ptrdiff_t column = vectors_end; column < output_w; ++column) {
        const T grad = grad_output[column];
        for (int side = 0; side < 2; ++side) {
          top[2 * column + side] = offsets[column] == side ? grad : T(0);
          bottom[2 * column + side] = offsets[column] == side + 2 ? grad : T(0);
        }
      }
      for (std::ptrdiff_t column = vectors_end - lanes; column >= 0; column -= lanes) {
        const std::ptrdiff_t count = output_w - column;
        const VecMask<T> valid = first_lanes<T>(count < lanes ? count : lanes);
        const Vec<T> grad = block_order<T>(valid ? load(grad_output + column) : Vec<T>{});
        const VecMask<T> where = block_order_mask<T>(load_bytes<T>(offsets + column));
        store_routed<T, 0>(grad, where, top + 2 * column);
        store_routed<T, 2>(grad, where, bottom + 2 * column);
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

// Stores the row's last vector whole where there is room behind it.
template <class T>
CONVOLITE_INLINE void store_in_room(T* pointer, Vec<T> value, std::ptrdiff_t count,
                                    std::ptrdiff_t room) {
  if (room >= kLanes<T>) {
    store(pointer, value);
  } else {
    store_partial(pointer, value, count);
  }
}

// Every Stride-th element from `pointer` on; with stride 2 in block order.
template <class T, int Stride>
CONVOLITE_INLINE Vec<T> load_strided(const T* pointer) {
  if constexpr (Stride == 1) return load(pointer);
  return evens<T>(load(pointer), load(pointer + kLanes<T>));
}

// One row of output for any window, two vectors at a time: each compares in a chain over all taps,
// and one chain alone would wait for itself. Bound by arithmetic: eight instructions for each tap
// and vector.
template <class T, int Stride>
void max_row(const MaxRowArguments<T>& arguments) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  constexpr int vectors = 2;
  for (std::ptrdiff_t column = 0; column < arguments.columns; column += vectors * lanes) {
    Vec<T> best[vectors];
    VecMask<T> where[vectors];
    CONVOLITE_UNROLL for (int v = 0; v < vectors; ++v) {
      best[v] = broadcast(static_cast<T>(-__builtin_inf()));
      where[v] = load_bytes<T>(arguments.first + column + v * lanes) + arguments.first_row_offset;
      if (Stride == 2) where[v] = block_order_mask<T>(where[v]);
    }
    for (std::ptrdiff_t i = 0; i < arguments.kernel_h; ++i) {
      if (arguments.rows[i] == nullptr) continue;
      const T* tap = arguments.rows[i] + column * Stride;
      VecMask<T> offset = VecMask<T>{} + static_cast<int>(i * arguments.kernel_w);
      for (std::ptrdiff_t j = 0; j < arguments.kernel_w; ++j) {
        CONVOLITE_UNROLL for (int v = 0; v < vectors; ++v) {
          const Vec<T> value = load_strided<T, Stride>(tap + v * lanes * Stride);
          take_greater<T>(value, offset, best[v], where[v]);
        }
        tap += arguments.dilation;
        offset += 1;
      }
    }
    CONVOLITE_UNROLL for (int v = 0; v < vectors; ++v) {
      if (Stride == 2) best[v] = in_order<T>(best[v]);
      if (Stride == 2) where[v] = in_order_mask<T>(where[v]);
      const std::ptrdiff_t begin = column + v * lanes, count = arguments.columns - begin;
      if (count <= 0) break;
      store_in_room(arguments.output + begin, best[v], count, arguments.room - begin);
      std::uint8_t bytes[lanes];
      if (arguments.room - begin >= lanes) {
        store_bytes<T>(arguments.offsets + begin, where[v]);
        continue;
      }
      store_bytes<T>(bytes, where[v]);
      for (std::ptrdiff_t j = 0; j < count; ++j) arguments.offsets[begin + j] = bytes[j];
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
    if (column + lanes > width) sum = first_lanes<T>(width - column) ? sum : Vec<T>{};
    store(sums + column, sum);
  }
  if (column < width) store(sums + width / lanes * lanes, Vec<T>{});
  for (; column < width; ++column) {
    T sum = input[column];
    for (const T* row = input + width; row <= last; row += width) sum += row[column];
    sums[column] = sum;
  }
}

template <class T, int Stride>
void average_row(const AverageRowArguments<T>& arguments, const T* sums, T* output,
                 std::ptrdiff_t room) {
  const Vec<T> row_divisor = broadcast(arguments.row_divisor);
  for (std::ptrdiff_t i = 0; i < arguments.count; i += kLanes<T>) {
    Vec<T> sum = load_strided<T, Stride>(sums + i * Stride);
    for (std::ptrdiff_t j = 1; j < arguments.kernel; ++j) {
      sum += load_strided<T, Stride>(sums + i * Stride + j);
    }
    if (Stride == 2) sum = in_order<T>(sum);
    const Vec<T> divisor = row_divisor * load(arguments.divisor + i);
    store_in_room(output + i, sum / divisor, arguments.count - i, room - i);
  }
}

template <class T>
CONVOLITE_INLINE void divide_row(const AverageRowArguments<T>& arguments, const T* grad_output,
                                 T* shares) {
  for (std::ptrdiff_t i = 0; i < arguments.count; ++i) {
    shares[i] = grad_output[i] / (arguments.row_divisor * arguments.divisor[i]);
  }
}

// Pixel x of the padded row belongs to the windows i with 0 <= x - i * Stride < kernel.
template <class T>
void spread_row_1(const AverageRowArguments<T>& arguments, const T* grad_output, T* shares,
                  T* row) {
  divide_row(arguments, grad_output, shares);
  const std::ptrdiff_t width = arguments.count + arguments.kernel - 1;
  for (std::ptrdiff_t x = 0; x < width; x += kLanes<T>) {
    Vec<T> sum = load(shares + x);
    for (std::ptrdiff_t j = 1; j < arguments.kernel; ++j) sum += load(shares + x - j);
    store(row + x, sum);
  }
}

template <class T>
void spread_row_2(const AverageRowArguments<T>& arguments, const T* grad_output, T* shares,
                  T* row) {
  divide_row(arguments, grad_output, shares);
  const std::ptrdiff_t pairs = arguments.count + (arguments.kernel - 1) / 2;
  for (std::ptrdiff_t x = 0; x < pairs; x += kLanes<T>) {
    Vec<T> even = load(shares + x), odd = Vec<T>{};
    for (std::ptrdiff_t j = 1; j < arguments.kernel; j += 2) {
      odd += load(shares + x - j / 2);
      if (j + 1 < arguments.kernel) even += load(shares + x - (j + 1) / 2);
    }
    even = block_order<T>(even);
    odd = block_order<T>(odd);
    store(row + 2 * x, interleave_low<T>(even, odd));
    store(row + 2 * x + kLanes<T>, interleave_high<T>(even, odd));
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
  return {max_2x2<T>,
          max_2x2_backward<T>,
          {max_row<T, 1>, max_row<T, 2>},
          add_rows<T>,
          {average_row<T, 1>, average_row<T, 2>},
          {spread_row_1<T>, spread_row_2<T>},
          average_segments<T>,
          spread_segments<T>,
          add_row<T>};
}
