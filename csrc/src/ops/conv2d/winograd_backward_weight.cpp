// winograd_backward_weight: the tiles of input and grad_output are transformed, a chunk at a time;
// for each of the 36 planes the gradient of the transformed weights is a matrix product whose
// reduction runs over the tiles; one inverse transform at the end. Chunks are added in order.
//
// Bound by arithmetic: of the products for many channels, of the transforms for few.
#include <algorithm>
#include <atomic>
#include <vector>

#include "gemm/panels.h"
#include "ops/conv2d/direct.h"
#include "ops/conv2d/winograd.h"
#include "ops/conv2d/winograd_tiles.h"
#include "runtime/buffer.h"
#include "runtime/integers.h"
#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {

using namespace winograd;

namespace {

// Measured on Zen 3 with csrc/benchmarks/bench_conv2d, 2026-11.
constexpr Index kChunkBytes = Index{3} << 20;  // transformed tiles of a chunk
constexpr Index kFewestChunkTiles = 128;  // each chunk reads and writes the transformed gradient
constexpr Index kTaskTiles = 16;          // transformed by one task
constexpr Index kTaskRows = 48;           // input channels multiplied by one task
constexpr Index kLine = kAlignment / static_cast<Index>(sizeof(float));

class BackwardWeight {
 public:
  explicit BackwardWeight(const Conv2dShape& shape)
      : table_(kernels<float>()),
        panels_(table_, shape.out_channels),
        padded_(round_up(shape.input.c, table_.lanes)),
        grid_(shape.input, shape.result(), shape.padding.top, shape.padding.left, kTaskTiles),
        units_(std::max<Index>(1, kTaskTiles / grid_.unit_tiles())) {
    const Index tile_bytes = kPlanes * (padded_ + columns()) * static_cast<Index>(sizeof(float));
    const Index tiles = std::max(kChunkBytes / tile_bytes, kFewestChunkTiles);
    chunk_ = std::min(std::max(tiles / grid_.unit_tiles(), units_), grid_.units());
    const Index most_tiles = chunk_ * grid_.unit_tiles();
    // A line more than a power of two: 36 planes must not compete for one set of the cache.
    value_stride_ = most_tiles * padded_ + kLine;
    grad_stride_ = most_tiles * columns() + kLine;
    sum_stride_ = shape.input.c * columns() + kLine;
    tile_rows_ = Buffer<std::int32_t>(most_tiles);
    for (Index tile = 0; tile < most_tiles; ++tile) {
      tile_rows_[tile] = static_cast<std::int32_t>(tile * padded_);
    }
    for (Index m = 0; m < table_.gemm.rows; ++m) {
      a_rows_[m] = static_cast<std::int32_t>(m);
      c_rows_[m] = static_cast<std::int32_t>(m * columns());
    }
  }

  // False if a result is not finite, and then perhaps not what the definition gives.
  bool run(const float* grad_output, const float* input, float* grad_weight) const {
    // Of a chunk: values [plane][tile][c], grads [plane][panel][tile][oc].
    const Buffer<float> values(kPlanes * value_stride_), grads(kPlanes * grad_stride_);
    const Buffer<float> sums(kPlanes * sum_stride_);
    const Index most_tiles = chunk_ * grid_.unit_tiles();
    const Workers workers{
        worker_count(ceil_divide(chunk_, units_), most_tiles * kPlanes * (padded_ + columns()))};
    std::vector<LaneRectangle> inputs, outputs;
    for (int i = 0; i < workers.count; ++i) {
      inputs.push_back(rectangle(grid_.source, kWindow - kTile));
      outputs.push_back(rectangle(grid_.result, 0));
    }
    for (Index first = 0; first < grid_.units(); first += chunk_) {
      const Index end = std::min(first + chunk_, grid_.units());
      const Index before = grid_.first_tile(first), tiles = grid_.first_tile(end) - before;
      parallel_for(ceil_divide(end - first, units_), workers, [&](Index task, int worker) {
        const auto number = static_cast<std::size_t>(worker);
        const Index begin = first + task * units_, stop = std::min(begin + units_, end);
        for_each_block(grid_, begin, stop, [&](const TileBlock& block, Index tile) {
          tile += grid_.first_tile(begin) - before;
          transform_windows(grid_, block, input, tile, inputs[number], values.get(), value_stride_);
          transform_grad(grad_output, block, tile, tiles, outputs[number], grads.get());
        });
      });
      multiply(values.get(), grads.get(), tiles, first > 0, sums.get());
    }
    return transform_back(sums.get(), grad_weight);
  }

 private:
  Index columns() const { return panels_.padded_columns(); }
  Index multiply_adds() const {
    return grid_.units() * grid_.unit_tiles() * kPlanes * grid_.source.c * grid_.result.c;
  }

  LaneRectangle rectangle(const Nchw& image, Index halo) const {
    const Index width = std::min(kTile * grid_.unit_tiles() + halo, image.w);
    return {image.c, table_, (kTile * units_ + halo) * width};
  }

  void transform_grad(const float* grad_output, const TileBlock& block, Index tile, Index tiles,
                      LaneRectangle& image, float* grads) const {
    const Nchw& size = grid_.result;
    image.load(grad_output + block.image * size.c * size.pixels(), {size.h, size.w},
               kTile * block.row_begin, kTile * block.column_begin,
               kTile * (block.row_end - block.row_begin), kTile * block.columns());
    for (Index row = block.row_begin; row < block.row_end; ++row) {
      for (Index column = block.column_begin; column < block.column_end; ++column, ++tile) {
        const float* pixels[kTile * kTile];
        image.window(kTile * row, kTile * column, kTile, pixels);
        for (Index panel = 0; panel < panels_.panels(); ++panel) {
          const Index width = panels_.width(panel);
          table_.winograd.grad_output(
              pixels, width, grads + panels_.offset(panel, tiles) + tile * width, grad_stride_);
          for (const float*& pixel : pixels) pixel += width;
        }
      }
    }
  }

  // sums [plane][c][oc] (+)= values^T grads, plane by plane.
  void multiply(const float* values, const float* grads, Index tiles, bool accumulate,
                float* sums) const {
    const Index row_blocks = ceil_divide(grid_.source.c, kTaskRows);
    const Index work = multiply_add_work(kPlanes * tiles * grid_.source.c * columns());
    parallel_for(kPlanes * row_blocks, work, [&](Index task, int) {
      const Index plane = task / row_blocks, begin = task % row_blocks * kTaskRows;
      const Index end = std::min(begin + kTaskRows, grid_.source.c);
      for (Index panel = 0; panel < panels_.panels(); ++panel) {
        GemmTileArguments<float> tile{};
        tile.depth = tiles;
        tile.a_rows = a_rows_;
        tile.a_cols = tile_rows_.get();
        tile.b = grads + plane * grad_stride_ + panels_.offset(panel, tiles);
        tile.c_rows = c_rows_;
        tile.columns = panels_.width(panel);
        tile.accumulate = accumulate;
        for (Index row = begin; row < end; row += table_.gemm.rows) {
          const Index rows = std::min<Index>(table_.gemm.rows, end - row);
          tile.a = values + plane * value_stride_ + row;
          tile.c = sums + plane * sum_stride_ + row * columns() + panels_.first_column(panel);
          table_.gemm.tile[panels_.vectors(panel) - 1][rows - 1](tile);
        }
      }
    });
  }

  bool transform_back(const float* sums, float* grad_weight) const {
    constexpr Index block = 8;  // input channels of a task
    const Index channels = grid_.source.c;
    std::atomic<bool> finite{true};
    const Index tasks = ceil_divide(channels, block);
    const Workers workers{worker_count(tasks, kPlanes * sum_stride_)};
    const WorkerScratch<float> scratch(workers.count, block * 9 * columns());
    parallel_blocks(channels, block, workers, [&](Index begin, Index end, int worker) {
      float* taps = scratch.of(worker);  // [c, tap][oc]
      bool block_finite = true;
      for (Index c = begin; c < end; ++c) {
        block_finite &= table_.winograd.grad_weight(sums + c * columns(), sum_stride_, columns(),
                                                    taps + (c - begin) * 9 * columns(), columns());
      }
      table_.gemm.transpose((end - begin) * 9, grid_.result.c, taps, columns(),
                            grad_weight + begin * 9, channels * 9);
      if (!block_finite) finite = false;
    });
    return finite;
  }

  const KernelTable<float>& table_;
  PanelLayout panels_;  // of the output's channels
  Index padded_;        // input channels in whole vectors
  TileGrid grid_;
  Index units_;                                    // of a task
  Index chunk_;                                    // units
  Index value_stride_, grad_stride_, sum_stride_;  // from plane to plane
  Buffer<std::int32_t> tile_rows_;
  std::int32_t a_rows_[kMaxTileRows], c_rows_[kMaxTileRows];
};

}  // namespace

void winograd_backward_weight(const Conv2dShape& shape, const float* grad_output,
                              const float* input, float* grad_weight) {
  if (!BackwardWeight(shape).run(grad_output, input, grad_weight)) {
    direct_backward_weight(shape, grad_output, input, grad_weight);
  }
}

}  // namespace convolite
