// Copies of image rows between zeros. Bound by memory traffic.
#include "ops/conv2d/image_band.h"

#include <algorithm>
#include <cstring>

namespace convolite {

Index band_channel_stride(Index rows, Index columns, Index element_size) {
  const Index size = rows * columns;
  const Index line = 64 / element_size;
  return size * element_size % 4096 == 0 ? size + line : size;
}

template <class T>
void clear_band(Index channels, Index channel_stride, T* band) {
  std::fill_n(band, channels * channel_stride, T(0));
}

template <class T>
void load_band(const T* image, Index channels, HW size, const Extent& extent, Index channel_stride,
               T* band) {
  const Index row_begin = std::max<Index>(extent.row_begin, 0);
  const Index row_end = std::min(extent.row_end, size.h);
  const Index column_begin = std::max<Index>(extent.column_begin, 0);
  const Index column_end = std::min(extent.column_end, size.w);
  if (row_begin >= row_end || column_begin >= column_end) return;
  const Index pitch = extent.columns();
  const std::size_t bytes = static_cast<std::size_t>(column_end - column_begin) * sizeof(T);
  for (Index c = 0; c < channels; ++c) {
    const T* from = image + (c * size.h + row_begin) * size.w + column_begin;
    T* to = band + c * channel_stride + (row_begin - extent.row_begin) * pitch + column_begin -
            extent.column_begin;
    for (Index row = row_begin; row < row_end; ++row, from += size.w, to += pitch) {
      std::memcpy(to, from, bytes);
    }
  }
}

#define CONVOLITE_INSTANTIATE(T)              \
  template void clear_band(Index, Index, T*); \
  template void load_band(const T*, Index, HW, const Extent&, Index, T*);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
