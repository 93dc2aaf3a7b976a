// The tiles of a Winograd convolution and the image rectangles that they read.
#pragma once

#include <convolite/types.h>

#include "kernels/table.h"
#include "runtime/buffer.h"

namespace convolite::winograd {

constexpr Index kTile = 4;     // side of a tile of results
constexpr Index kWindow = 6;   // side of what it reads
constexpr Index kPlanes = 36;  // values of a transformed tile

// Tiles of one image that form a rectangle.
struct TileBlock {
  Index image, row_begin, row_end, column_begin, column_end;

  Index columns() const { return column_end - column_begin; }
  Index tiles() const { return (row_end - row_begin) * columns(); }
};

// A batch of images cut into tiles. Wide images are cut into pieces side by side; a unit is one row
// of tiles of one piece. Units are numbered down the piece, piece by piece, image by image.
struct TileGrid {
  Nchw source, result;
  Index top, left;      // the window of tile (i, j) begins at pixel (4 i - top, 4 j - left)
  Index rows, columns;  // tiles of one image
  Index pieces;

  // At most `most_tiles` tiles in a unit.
  TileGrid(const Nchw& source, const Nchw& result, Index top, Index left, Index most_tiles);

  Index units() const { return source.n * pieces * rows; }
  Index unit_tiles() const;            // of the longest
  Index first_tile(Index unit) const;  // its number, if all are counted unit by unit
  // The units from `begin` on, at most up to `end`, that lie in one image and piece.
  TileBlock block(Index begin, Index end) const;
};

// Calls body(block, number of its first tile) for the blocks that units [begin, end) consist of.
template <class Body>
void for_each_block(const TileGrid& grid, Index begin, Index end, Body&& body) {
  Index tile = 0;
  while (begin < end) {
    const TileBlock block = grid.block(begin, end);
    body(block, tile);
    tile += block.tiles();
    begin += block.row_end - block.row_begin;
  }
}

// A rectangle of an image as [pixel][channel], channels padded to whole vectors. Pixels outside the
// image read as zero.
class alignas(kApart) LaneRectangle {
 public:
  // `most_pixels` is the largest rectangle to come.
  LaneRectangle(Index channels, const KernelTable<float>& table, Index most_pixels);

  const KernelTable<float>& table() const { return *table_; }
  Index padded_channels() const { return padded_; }
  // Pixels [y, y + rows) x [x, x + columns) of image (channels, h, w).
  void load(const float* image, HW size, Index y, Index x, Index rows, Index columns);
  // Where the pixels of a square window of this side begin, which lies inside what was loaded.
  void window(Index y, Index x, Index side, const float** values) const;

 private:
  const KernelTable<float>* table_;
  Index channels_, padded_;
  Buffer<float> pixels_, zeros_;
  Index row_begin_ = 0, row_end_ = 0, column_begin_ = 0, column_end_ = 0;  // inside the image
};

// Transforms the windows of a block whose tiles have numbers from `tile` on: values
// [plane][tile][padded channel], planes `stride` apart.
void transform_windows(const TileGrid& grid, const TileBlock& block, const float* source,
                       Index tile, LaneRectangle& image, float* values, Index stride);

}  // namespace convolite::winograd
