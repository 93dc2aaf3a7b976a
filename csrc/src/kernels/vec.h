// The vector vocabulary: the only words in which kernels speak of SIMD. Built on the vector types
// that GCC and Clang offer for every architecture, so there is always a correct translation.
// Include only inside the level's anonymous namespace (see kernels.cpp).

#define CONVOLITE_INLINE inline __attribute__((always_inline))
#ifdef __clang__
#define CONVOLITE_UNROLL _Pragma("unroll")
#else
#define CONVOLITE_UNROLL _Pragma("GCC unroll 64")
#endif

template <class T>
struct VectorOf;

template <>
struct VectorOf<float> {
  typedef float type __attribute__((vector_size(CONVOLITE_VECTOR_BYTES)));
  typedef float unaligned
      __attribute__((vector_size(CONVOLITE_VECTOR_BYTES), aligned(4), may_alias));
  typedef std::int32_t integer __attribute__((vector_size(CONVOLITE_VECTOR_BYTES)));
};

template <>
struct VectorOf<double> {
  typedef double type __attribute__((vector_size(CONVOLITE_VECTOR_BYTES)));
  typedef double unaligned
      __attribute__((vector_size(CONVOLITE_VECTOR_BYTES), aligned(8), may_alias));
  typedef std::int64_t integer __attribute__((vector_size(CONVOLITE_VECTOR_BYTES)));
};

template <class T>
using Vec = typename VectorOf<T>::type;
template <class T>
using VecMask = typename VectorOf<T>::integer;  // all ones where a comparison holds, else zero

template <class T>
constexpr std::ptrdiff_t kLanes = CONVOLITE_VECTOR_BYTES / static_cast<std::ptrdiff_t>(sizeof(T));

template <class T>
CONVOLITE_INLINE Vec<T> load(const T* pointer) {
  return *reinterpret_cast<const typename VectorOf<T>::unaligned*>(pointer);
}

template <class T>
CONVOLITE_INLINE void store(T* pointer, Vec<T> value) {
  *reinterpret_cast<typename VectorOf<T>::unaligned*>(pointer) = value;
}

// Asks for the cache line of an element, which may lie outside of the array.
template <class T>
CONVOLITE_INLINE void prefetch(const T* pointer, std::ptrdiff_t offset) {
  const std::uintptr_t address = reinterpret_cast<std::uintptr_t>(pointer) + offset * sizeof(T);
  __builtin_prefetch(reinterpret_cast<const void*>(address));
}

// The same for elements [offset, offset + count).
template <class T>
CONVOLITE_INLINE void prefetch(const T* pointer, std::ptrdiff_t offset, std::ptrdiff_t count) {
  constexpr std::ptrdiff_t line = 64 / static_cast<std::ptrdiff_t>(sizeof(T));
  for (std::ptrdiff_t i = 0; i < count; i += line) prefetch(pointer, offset + i);
  prefetch(pointer, offset + count - 1);
}

template <class T>
CONVOLITE_INLINE Vec<T> broadcast(T value) {
  return value - Vec<T>{};
}

// Lane i of the result is lane Lane[i] of a and b laid end to end.
template <class T, int... Lane>
CONVOLITE_INLINE Vec<T> shuffle(Vec<T> a, Vec<T> b) {
#ifdef __clang__
  return __builtin_shufflevector(a, b, Lane...);
#else
  return __builtin_shuffle(a, b, VecMask<T>{Lane...});
#endif
}

// The first `count` lanes, 0 <= count <= lanes; the others are zero, and their memory is not
// touched.
template <class T>
CONVOLITE_INLINE Vec<T> load_partial(const T* pointer, std::ptrdiff_t count) {
  T lanes[kLanes<T>] = {};
  for (std::ptrdiff_t i = 0; i < count; ++i) lanes[i] = pointer[i];
  return load(lanes);
}

template <class T>
CONVOLITE_INLINE void store_partial(T* pointer, Vec<T> value, std::ptrdiff_t count) {
  T lanes[kLanes<T>];
  store(lanes, value);
  for (std::ptrdiff_t i = 0; i < count; ++i) pointer[i] = lanes[i];
}

// NaN in `value` passes through both.
template <class T>
CONVOLITE_INLINE Vec<T> at_least(Vec<T> value, Vec<T> low) {
  return value < low ? low : value;
}
template <class T>
CONVOLITE_INLINE Vec<T> at_most(Vec<T> value, Vec<T> high) {
  return value > high ? high : value;
}

// Lane numbers 0, 1, ... as template arguments, for shuffles that every vector width shares.
template <int... Lane>
struct LaneList {};
template <int Count, int... Lane>
struct LaneSequence : LaneSequence<Count - 1, Count - 1, Lane...> {};
template <int... Lane>
struct LaneSequence<0, Lane...> {
  using type = LaneList<Lane...>;
};
template <class T>
using Lanes = typename LaneSequence<static_cast<int>(kLanes<T>)>::type;

template <class T, int... Lane>
CONVOLITE_INLINE VecMask<T> number_lanes(LaneList<Lane...>) {
  return VecMask<T>{Lane...};
}
// 0, 1, 2, ...
template <class T>
CONVOLITE_INLINE VecMask<T> lane_numbers() {
  return number_lanes<T>(Lanes<T>{});
}
// All ones in the first `count` lanes, 0 <= count <= lanes.
template <class T>
CONVOLITE_INLINE VecMask<T> first_lanes(std::ptrdiff_t count) {
  return lane_numbers<T>() < VecMask<T>{} + static_cast<int>(count);
}
template <class T>
CONVOLITE_INLINE Vec<T> keep_lanes(Vec<T> value, VecMask<T> mask) {
  return reinterpret_cast<Vec<T>>(reinterpret_cast<VecMask<T>>(value) & mask);
}

// Shuffles that mix no two 16-byte blocks are the cheap ones on x86. Hence a row is split into its
// even and odd elements, and put together again, in "block order"; `in_order` and `block_order`
// convert.
template <class T>
constexpr int kBlock = 16 / static_cast<int>(sizeof(T));  // lanes of one block
template <class T>
constexpr int kHalf = kBlock<T> / 2;

template <class T, int First, int... Lane>
CONVOLITE_INLINE Vec<T> every_second(Vec<T> a, Vec<T> b, LaneList<Lane...>) {
  constexpr int n = static_cast<int>(kLanes<T>), block = kBlock<T>, half = kHalf<T>;
  return shuffle<T, (Lane % block / half * n + Lane / block * block + Lane % half * 2 + First)...>(
      a, b);
}
// Of the row that a and b form, in block order: elements 0, 2, 4, ... and elements 1, 3, 5, ...
template <class T>
CONVOLITE_INLINE Vec<T> evens(Vec<T> a, Vec<T> b) {
  return every_second<T, 0>(a, b, Lanes<T>{});
}
template <class T>
CONVOLITE_INLINE Vec<T> odds(Vec<T> a, Vec<T> b) {
  return every_second<T, 1>(a, b, Lanes<T>{});
}

template <class T, int First, int... Lane>
CONVOLITE_INLINE Vec<T> alternate(Vec<T> a, Vec<T> b, LaneList<Lane...>) {
  constexpr int n = static_cast<int>(kLanes<T>), block = kBlock<T>;
  return shuffle<T, (Lane % 2 * n + Lane / block * block + First + Lane % block / 2)...>(a, b);
}
// The inverse: the first and the second vector of the row a[0] b[0] a[1] b[1] ..., a and b in block
// order.
template <class T>
CONVOLITE_INLINE Vec<T> interleave_low(Vec<T> a, Vec<T> b) {
  return alternate<T, 0>(a, b, Lanes<T>{});
}
template <class T>
CONVOLITE_INLINE Vec<T> interleave_high(Vec<T> a, Vec<T> b) {
  return alternate<T, kHalf<T>>(a, b, Lanes<T>{});
}

template <class T, int... Lane>
CONVOLITE_INLINE Vec<T> shuffle_in_order(Vec<T> x, LaneList<Lane...>) {
  constexpr int n = static_cast<int>(kLanes<T>), block = kBlock<T>, half = kHalf<T>;
  return shuffle<T, (Lane % (n / 2) / half * block + Lane / (n / 2) * half + Lane % half)...>(x, x);
}
template <class T, int... Lane>
CONVOLITE_INLINE Vec<T> shuffle_block_order(Vec<T> x, LaneList<Lane...>) {
  constexpr int n = static_cast<int>(kLanes<T>), block = kBlock<T>, half = kHalf<T>;
  return shuffle<T, (Lane % block / half * (n / 2) + Lane / block * half + Lane % half)...>(x, x);
}
template <class T>
CONVOLITE_INLINE Vec<T> in_order(Vec<T> x) {
  return shuffle_in_order<T>(x, Lanes<T>{});
}
template <class T>
CONVOLITE_INLINE Vec<T> block_order(Vec<T> x) {
  return shuffle_block_order<T>(x, Lanes<T>{});
}
// The same for integers in lanes.
template <class T>
CONVOLITE_INLINE VecMask<T> in_order_mask(VecMask<T> x) {
  return reinterpret_cast<VecMask<T>>(in_order<T>(reinterpret_cast<Vec<T>>(x)));
}
template <class T>
CONVOLITE_INLINE VecMask<T> block_order_mask(VecMask<T> x) {
  return reinterpret_cast<VecMask<T>>(block_order<T>(reinterpret_cast<Vec<T>>(x)));
}

// A whole vector, or its first `count` lanes at the end of a run.
template <class T>
CONVOLITE_INLINE Vec<T> load_up_to(const T* pointer, std::ptrdiff_t count) {
  return count >= kLanes<T> ? load(pointer) : load_partial(pointer, count);
}
template <class T>
CONVOLITE_INLINE void store_up_to(T* pointer, Vec<T> value, std::ptrdiff_t count) {
  if (count >= kLanes<T>) {
    store(pointer, value);
  } else {
    store_partial(pointer, value, count);
  }
}
