// Cutting images into tiles, and reading their pixels as vectors of channels. Bound by memory
// traffic.
#include "ops/conv2d/winograd_tiles.h"

#include <algorithm>

#include "runtime/integers.h"

namespace convolite::winograd {

TileGrid::TileGrid(const Nchw& source_size, const Nchw& result_size, Index top_padding,
                   Index left_padding, Index most_tiles)
    : source(source_size),
      result(result_size),
      top(top_padding),
      left(left_padding),
      rows(ceil_divide(result.h, kTile)),
      columns(ceil_divide(result.w, kTile)),
      pieces(ceil_divide(columns, most_tiles)) {}

Index TileGrid::unit_tiles() const {
  return ceil_divide(columns, pieces);
}

Index TileGrid::first_tile(Index unit) const {
  const Index image = unit / rows / pieces;
  const TileBlock at = block(unit, unit);
  return (image * rows) * columns + rows * at.column_begin + at.row_begin * at.columns();
}

TileBlock TileGrid::block(Index begin, Index end) const {
  const Index row = begin % rows, piece = begin / rows % pieces;
  return {begin / rows / pieces, row, std::min(row + end - begin, rows), columns * piece / pieces,
          columns * (piece + 1) / pieces};
}

LaneRectangle::LaneRectangle(Index channels, const KernelTable<float>& table, Index most_pixels)
    : table_(&table),
      channels_(channels),
      padded_(round_up(channels, table.lanes)),
      pixels_(worker_buffer<float>(most_pixels * padded_)),
      zeros_(worker_buffer<float>(padded_)) {
  std::fill_n(zeros_.get(), padded_, 0.0f);
  if (padded_ == channels) return;
  // The padding is computed with like the rest: it must be no NaN, and load leaves it alone.
  std::fill_n(pixels_.get(), most_pixels * padded_, 0.0f);
}

void LaneRectangle::load(const float* image, HW size, Index y, Index x, Index rows, Index columns) {
  row_begin_ = std::clamp<Index>(y, 0, size.h);
  row_end_ = std::clamp<Index>(y + rows, row_begin_, size.h);
  column_begin_ = std::clamp<Index>(x, 0, size.w);
  column_end_ = std::clamp<Index>(x + columns, column_begin_, size.w);
  const auto transpose = table_->gemm.transpose;
  const Index width = column_end_ - column_begin_, height = row_end_ - row_begin_;
  const float* from = image + row_begin_ * size.w + column_begin_;
  if (width == size.w) {
    transpose(channels_, height * width, from, size.h * size.w, pixels_.get(), padded_);
    return;
  }
  for (Index row = 0; row < height; ++row) {
    transpose(channels_, width, from + row * size.w, size.h * size.w,
              pixels_.get() + row * width * padded_, padded_);
  }
}

void LaneRectangle::window(Index y, Index x, Index side, const float** values) const {
  const Index width = column_end_ - column_begin_;
  for (Index row = y; row < y + side; ++row) {
    const bool inside = row >= row_begin_ && row < row_end_;
    const float* start = pixels_.get() + ((row - row_begin_) * width - column_begin_) * padded_;
    for (Index column = x; column < x + side; ++column) {
      const bool loaded = inside && column >= column_begin_ && column < column_end_;
      *values++ = loaded ? start + column * padded_ : zeros_.get();
    }
  }
}

void transform_windows(const TileGrid& grid, const TileBlock& block, const float* source,
                       Index tile, LaneRectangle& image, float* values, Index stride) {
  const Nchw& size = grid.source;
  constexpr Index halo = kWindow - kTile;
  image.load(source + block.image * size.c * size.pixels(), {size.h, size.w},
             kTile * block.row_begin - grid.top, kTile * block.column_begin - grid.left,
             kTile * (block.row_end - block.row_begin) + halo, kTile * block.columns() + halo);
  for (Index row = block.row_begin; row < block.row_end; ++row) {
    for (Index column = block.column_begin; column < block.column_end; ++column, ++tile) {
      const float* pixels[kPlanes];
      image.window(kTile * row - grid.top, kTile * column - grid.left, kWindow, pixels);
      image.table().winograd.input(pixels, image.padded_channels(),
                                   values + tile * image.padded_channels(), stride);
    }
  }
}

}  // namespace convolite::winograd
