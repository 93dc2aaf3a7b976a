// Cutting a batch out of a data set that lies in memory: rows as they are, or images that are
// moved, mirrored and normalised on the way. Serial: it runs on a data-loading thread beside the
// training.
#pragma once

#include <convolite/types.h>

namespace convolite {

struct GatherRowsShape {
  Index count = 0, row_bytes = 0, batch = 0;

  // The only validator: fails on an index outside [0, count).
  static GatherRowsShape infer(Index count, Index row_bytes, Span<const Index> indices);
};

// rows (count, row_bytes), indices (batch) -> output (batch, row_bytes).
void gather_rows(const GatherRowsShape&, Span<const unsigned char> rows, Span<const Index> indices,
                 Span<unsigned char> output);

// What happens to image i of the batch: it is moved down by shift_y[i] and right by shift_x[i]
// pixels, zeros coming in from outside, and then mirrored left to right where flip[i] is not 0.
struct Placement {
  Span<const std::int32_t> shift_y, shift_x;  // each (batch), or empty for none
  Span<const unsigned char> flip;
};

struct GatherImagesShape {
  Nchw images;
  Index batch = 0;

  // The only validator: fails on an index outside [0, images.n), on sizes of mean and std other
  // than the number of channels, and on spans of `placement` that are neither empty nor of size
  // batch.
  static GatherImagesShape infer(Nchw images, Span<const Index> indices, Span<const float> mean,
                                 Span<const float> std, const Placement& placement);

  Index output_size() const { return batch * images.c * images.pixels(); }
};

// images (n, c, h, w) of unsigned char (divided by 255 first) or float, indices (batch),
// mean (c), std (c) -> output (batch, c, h, w) = (moved image - mean) / std.
template <class Pixel>
void gather_images(const GatherImagesShape&, Span<const Pixel> images, Span<const Index> indices,
                   Span<const float> mean, Span<const float> std, const Placement&,
                   Span<float> output);

}  // namespace convolite
