// Gathering of batches. Every pixel is computed as (value - mean) / std in float, the order of
// operations of the transforms in Python, so that both give the same bits.
#include <convolite/error.h>
#include <convolite/gather.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace convolite {
namespace {

void check_indices(const char* op, Span<const Index> indices, Index count) {
  for (Index i = 0; i < indices.size; ++i) {
    if (indices[i] < 0 || indices[i] >= count) {
      fail(op, ": index ", indices[i], " at position ", i, " is outside [0, ", count, ")");
    }
  }
}

void check_size(const char* name, Index size, Index expected) {
  if (size != expected) {
    fail("gather_images: ", name, " must have ", expected, " values, got ", size);
  }
}

// The 256 results that a pixel of one channel can have.
class PixelTable {
 public:
  PixelTable(float mean, float std) {
    for (int value = 0; value < 256; ++value) {
      results_[value] = (static_cast<float>(value) / 255.0f - mean) / std;
    }
  }
  float operator()(unsigned char value) const { return results_[value]; }

 private:
  std::array<float, 256> results_;
};

class PixelFormula {
 public:
  PixelFormula(float mean, float std) : mean_(mean), std_(std) {}
  float operator()(float value) const { return (value - mean_) / std_; }

 private:
  float mean_, std_;
};

// The third argument only chooses by its type.
PixelTable make_normalizer(float mean, float std, unsigned char) {
  return {mean, std};
}
PixelFormula make_normalizer(float mean, float std, float) {
  return {mean, std};
}

struct Move {
  Index down = 0, right = 0;
  bool mirrored = false;
};

Move move_of(const Placement& placement, Index i) {
  return {placement.shift_y.size ? placement.shift_y[i] : 0,
          placement.shift_x.size ? placement.shift_x[i] : 0,
          placement.flip.size != 0 && placement.flip[i] != 0};
}

// One channel of one image: plane (h, w) -> output (h, w).
template <class Pixel, class Normalizer>
void place_plane(HW size, const Pixel* plane, const Normalizer& normalize, const Move& move,
                 float* output) {
  const float outside = normalize(Pixel(0));
  const Index begin = std::clamp<Index>(move.right, 0, size.w);
  const Index end = std::clamp<Index>(size.w + move.right, 0, size.w);
  for (Index y = 0; y < size.h; ++y) {
    float* row = output + y * size.w;
    const Index source_y = y - move.down;
    if (source_y < 0 || source_y >= size.h) {
      std::fill(row, row + size.w, outside);
      continue;
    }
    const Pixel* source = plane + source_y * size.w;
    std::fill(row, row + begin, outside);
    for (Index x = begin; x < end; ++x) row[x] = normalize(source[x - move.right]);
    std::fill(row + end, row + size.w, outside);
    if (move.mirrored) std::reverse(row, row + size.w);
  }
}

}  // namespace

GatherRowsShape GatherRowsShape::infer(Index count, Index row_bytes, Span<const Index> indices) {
  check_indices("gather_rows", indices, count);
  checked_product("gather_rows", indices.size, row_bytes);
  return {count, row_bytes, indices.size};
}

void gather_rows(const GatherRowsShape& shape, Span<const unsigned char> rows,
                 Span<const Index> indices, Span<unsigned char> output) {
  if (shape.row_bytes == 0) return;
  for (Index i = 0; i < shape.batch; ++i) {
    std::memcpy(output.data + i * shape.row_bytes, rows.data + indices[i] * shape.row_bytes,
                static_cast<std::size_t>(shape.row_bytes));
  }
}

GatherImagesShape GatherImagesShape::infer(Nchw images, Span<const Index> indices,
                                           Span<const float> mean, Span<const float> std,
                                           const Placement& placement) {
  check_size("mean", mean.size, images.c);
  check_size("std", std.size, images.c);
  const Index batch = indices.size;
  if (placement.shift_y.size) check_size("shift_y", placement.shift_y.size, batch);
  if (placement.shift_x.size) check_size("shift_x", placement.shift_x.size, batch);
  if (placement.flip.size) check_size("flip", placement.flip.size, batch);
  check_indices("gather_images", indices, images.n);
  checked_product("gather_images", batch, images.c, images.h, images.w, Index{sizeof(float)});
  return {images, batch};
}

template <class Pixel>
void gather_images(const GatherImagesShape& shape, Span<const Pixel> images,
                   Span<const Index> indices, Span<const float> mean, Span<const float> std,
                   const Placement& placement, Span<float> output) {
  const HW size{shape.images.h, shape.images.w};
  const Index pixels = shape.images.pixels();
  for (Index c = 0; c < shape.images.c; ++c) {
    const auto normalize = make_normalizer(mean[c], std[c], Pixel(0));
    for (Index i = 0; i < shape.batch; ++i) {
      place_plane(size, images.data + (indices[i] * shape.images.c + c) * pixels, normalize,
                  move_of(placement, i), output.data + (i * shape.images.c + c) * pixels);
    }
  }
}

template void gather_images(const GatherImagesShape&, Span<const unsigned char>, Span<const Index>,
                            Span<const float>, Span<const float>, const Placement&, Span<float>);
template void gather_images(const GatherImagesShape&, Span<const float>, Span<const Index>,
                            Span<const float>, Span<const float>, const Placement&, Span<float>);

}  // namespace convolite
