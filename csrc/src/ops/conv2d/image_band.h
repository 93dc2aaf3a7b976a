// A band of image rows with zeros around it, so that the micro-kernel can read every tap without
// asking whether it lies inside the image.
#pragma once

#include <convolite/types.h>

namespace convolite {

// Rows and columns of an image, possibly outside of it.
struct Extent {
  Index row_begin = 0, row_end = 0, column_begin = 0, column_end = 0;

  Index rows() const { return row_end - row_begin; }
  Index columns() const { return column_end - column_begin; }
  bool inside(HW image) const {
    return row_begin >= 0 && row_end <= image.h && column_begin >= 0 && column_end <= image.w;
  }
};

// Elements from one channel of a band to the next: never a multiple of 4 KB, where all channels
// would compete for the same cache sets.
Index band_channel_stride(Index rows, Index columns, Index element_size);

// Zeros the whole band. Needed once for each extent: load_band writes only what lies inside the
// image.
template <class T>
void clear_band(Index channels, Index channel_stride, T* band);

// Copies the part of `image` (channels, h, w) that lies inside `extent` to its place in the band.
template <class T>
void load_band(const T* image, Index channels, HW size, const Extent& extent, Index channel_stride,
               T* band);

}  // namespace convolite
