// Sums of shifted rows (contract: shifted_sum_table.h): where all taps are added a load and an
// addition each, near the borders masked. Bound by loads, most of which cross a cache line.

template <class T>
CONVOLITE_INLINE Vec<T> add_taps(const ShiftedTaps& taps, const T* source, std::ptrdiff_t x,
                                 Vec<T> sum) {
  const ShiftedTap* const end = taps.taps + taps.count;
  if (x >= taps.begin && x + kLanes<T> <= taps.end) {
    for (const ShiftedTap* tap = taps.taps; tap != end; ++tap)
      sum += load(source + x + tap->offset);
    return sum;
  }
  const VecMask<T> column = lane_numbers<T>() + static_cast<int>(x);
  for (const ShiftedTap* tap = taps.taps; tap != end; ++tap) {
    const VecMask<T> inside =
        (column >= static_cast<int>(tap->begin)) & (column < static_cast<int>(tap->end));
    sum += keep_lanes<T>(load(source + x + tap->offset), inside);
  }
  return sum;
}

template <class T>
CONVOLITE_INLINE Vec<T> clamped_sum(const ShiftedSumArguments<T>& arguments, Vec<T> sum) {
  if (!arguments.clamp) return sum;
  return at_most<T>(at_least<T>(sum, broadcast(arguments.low)), broadcast(arguments.high));
}

// The values at a place of which `count` are results: none, if that is not positive.
template <class T>
CONVOLITE_INLINE Vec<T> old_sum(const T* place, std::ptrdiff_t count) {
  return count <= 0 ? Vec<T>{} : load_up_to<T>(place, count);
}

template <class T>
CONVOLITE_INLINE void put_sum(const ShiftedSumArguments<T>& arguments, Vec<T> sum, T* place,
                              std::ptrdiff_t count) {
  if (count > 0) store_up_to<T>(place, clamped_sum(arguments, sum), count);
}

template <class T>
void sum_one_phase(const ShiftedSumArguments<T>& arguments) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  const std::ptrdiff_t columns = arguments.columns;
  // The last vector begins earlier where nothing is lost by computing some sums twice.
  const bool overlap = columns >= lanes && !arguments.accumulate;
  const std::ptrdiff_t last = overlap ? columns - lanes : columns;
  for (std::ptrdiff_t y = 0; y < arguments.rows; ++y) {
    const T* const source = arguments.source + y * arguments.source_stride;
    T* const result = arguments.result + y * arguments.result_stride;
    for (std::ptrdiff_t column = 0; column < columns; column += lanes) {
      const std::ptrdiff_t x = column < last ? column : last, count = columns - x;
      Vec<T> sum = arguments.accumulate ? old_sum(result + x, count) : broadcast(arguments.bias);
      sum = add_taps(*arguments.taps, source, x, sum);
      if (arguments.residual != nullptr) {
        sum += old_sum(arguments.residual + y * arguments.result_stride + x, count);
      }
      put_sum(arguments, sum, result + x, count);
    }
  }
}

template <class T>
void sum_two_phases(const ShiftedSumArguments<T>& arguments) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  for (std::ptrdiff_t y = 0; y < arguments.rows; ++y) {
    const T* const source = arguments.source + y * arguments.source_stride;
    T* const result = arguments.result + y * arguments.result_stride;
    for (std::ptrdiff_t x = 0; 2 * x < arguments.columns; x += lanes) {
      T* const low = result + 2 * x;
      T* const high = low + lanes;
      const std::ptrdiff_t count = arguments.columns - 2 * x;
      Vec<T> even = broadcast(arguments.bias), odd = even;
      if (arguments.accumulate) {
        const Vec<T> first = old_sum(low, count), second = old_sum(high, count - lanes);
        even = in_order<T>(evens<T>(first, second));
        odd = in_order<T>(odds<T>(first, second));
      }
      even = block_order<T>(add_taps(arguments.taps[0], source, x, even));
      odd = block_order<T>(add_taps(arguments.taps[1], source, x, odd));
      put_sum(arguments, interleave_low<T>(even, odd), low, count);
      put_sum(arguments, interleave_high<T>(even, odd), high, count - lanes);
    }
  }
}

template <class T>
void sum_any_phases(const ShiftedSumArguments<T>& arguments) {
  constexpr std::ptrdiff_t lanes = kLanes<T>;
  const std::ptrdiff_t phases = arguments.phases;
  for (std::ptrdiff_t y = 0; y < arguments.rows; ++y) {
    const T* const source = arguments.source + y * arguments.source_stride;
    for (std::ptrdiff_t p = 0; p < phases; ++p) {
      T* const result = arguments.result + y * arguments.result_stride + p;
      const std::ptrdiff_t columns = (arguments.columns - 1 - p) / phases + 1;
      for (std::ptrdiff_t x = 0; x < columns; x += lanes) {
        const std::ptrdiff_t count = columns - x < lanes ? columns - x : lanes;
        T values[lanes];
        store(values, broadcast(arguments.bias));
        if (arguments.accumulate) {
          for (std::ptrdiff_t i = 0; i < count; ++i) values[i] = result[(x + i) * phases];
        }
        const Vec<T> sum = add_taps(arguments.taps[p], source, x, load(values));
        store(values, clamped_sum(arguments, sum));
        for (std::ptrdiff_t i = 0; i < count; ++i) result[(x + i) * phases] = values[i];
      }
    }
  }
}

template <class T>
constexpr ShiftedSumKernels<T> shifted_sum_kernels() {
  return {sum_one_phase<T>, sum_two_phases<T>, sum_any_phases<T>};
}
