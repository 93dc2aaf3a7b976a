// winograd_backward_weight: the tiles of input and grad_output are transformed, a chunk at a time;
// for each of the 36 planes the gradient of the transformed weights is a matrix product whose
// reduction runs over the tiles; one inverse transform at the end. Small gradients are summed in
// parts of consecutive images, so that whoever transforms a tile mostly multiplies it too; a part's
// chunks are added in order, then the parts. A single chunk of a single part is multiplied block by
// block, so that the transformed gradient never leaves the cache.
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

// Measured on Zen 3, the parts on Zen 5, with csrc/benchmarks/bench_conv2d, 2026-11.
constexpr Index kChunkBytes = Index{3} << 20;  // transformed tiles of all parts' chunks
constexpr Index kFewestChunkTiles = 128;  // each chunk reads and writes the transformed gradient
constexpr Index kMostParts = 4;
constexpr Index kPartBytes = Index{5} << 19;  // of the sums of all parts
constexpr Index kTaskTiles = 16;              // transformed by one task
constexpr Index kTaskRows = 48;               // input channels multiplied by one task
// Sums larger than this are not kept for many chunks, each of which would read and write them.
constexpr Index kSumBytes = Index{4} << 20;
constexpr Index kLargeChunkBytes = Index{12} << 20;
constexpr Index kBlockRows = 48, kBlockColumns = 32;  // of a task's sums, all planes: half of L2
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
    const Index sum_bytes = kPlanes * shape.input.c * columns() * static_cast<Index>(sizeof(float));
    const Index chunk_bytes = sum_bytes > kSumBytes ? kLargeChunkBytes : kChunkBytes;
    const Index units = grid_.units(), all_tiles = units * grid_.unit_tiles();
    const Index fewest_bytes = kFewestChunkTiles * tile_bytes;
    parts_ = std::clamp<Index>(std::min({kPartBytes / sum_bytes, kLargeChunkBytes / fewest_bytes,
                                         all_tiles / kFewestChunkTiles}),
                               1, kMostParts);
    const Index tiles = std::max(chunk_bytes / tile_bytes / parts_, kFewestChunkTiles);
    const Index chunk = std::min(std::max(tiles / grid_.unit_tiles(), units_), units);
    rounds_ = ceil_divide(units, parts_ * chunk);
    const Index most_tiles = ceil_divide(units, parts_ * rounds_) * grid_.unit_tiles();
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
    }
  }

  // False if a result is not finite, and then perhaps not what the definition gives.
  bool run(const float* grad_output, const float* input, float* grad_weight) const {
    const Buffer<float> values(parts_ * kPlanes * value_stride_);
    const Buffer<float> grads(parts_ * kPlanes * grad_stride_);
    const Buffer<float> sums(in_one_block() ? 0 : parts_ * kPlanes * sum_stride_);
    const Index most_units = ceil_divide(grid_.units(), parts_ * rounds_);
    const Index blocks = ceil_divide(most_units, units_);
    const Workers workers{worker_count(parts_ * blocks, parts_ * most_units * grid_.unit_tiles() *
                                                            kPlanes * (padded_ + columns()))};
    std::vector<LaneRectangle> inputs, outputs;
    for (int i = 0; i < workers.count; ++i) {
      inputs.push_back(rectangle(grid_.source, kWindow - kTile));
      outputs.push_back(rectangle(grid_.result, 0));
    }
    for (Index round = 0; round < rounds_; ++round) {
      parallel_for(parts_ * blocks, workers, [&](Index task, int worker) {
        const auto number = static_cast<std::size_t>(worker);
        const Chunk chunk = chunk_of(task / blocks, round, values.get(), grads.get());
        const Index begin = chunk.begin + task % blocks * units_;
        for_each_block(grid_, begin, std::min(begin + units_, chunk.end),
                       [&](const TileBlock& block, Index tile) {
                         tile += grid_.first_tile(begin) - grid_.first_tile(chunk.begin);
                         transform_windows(grid_, block, input, tile, inputs[number], chunk.values,
                                           value_stride_);
                         transform_grad(grad_output, block, tile, chunk, outputs[number]);
                       });
      });
      if (in_one_block()) {
        return multiply_to_the_end(chunk_of(0, 0, values.get(), grads.get()), grad_weight);
      }
      multiply(round, values.get(), grads.get(), sums.get());
    }
    return transform_back(sums.get(), grad_weight);
  }

 private:
  // Units whose tiles stand transformed at a time: values [plane][tile][c], grads
  // [plane][panel][tile][oc].
  struct Chunk {
    Index begin, end, tiles;
    float* values;
    float* grads;
  };
  // Input channels and panels of output channels.
  struct Block {
    Index row_begin, row_end, panel_begin, panel_end;
  };

  // A part is made of consecutive units, one chunk in each round.
  Chunk chunk_of(Index part, Index round, float* values, float* grads) const {
    const Index units = grid_.units(), chunks = parts_ * rounds_, i = part * rounds_ + round;
    const Index begin = units * i / chunks, end = units * (i + 1) / chunks;
    return {begin, end, grid_.first_tile(end) - grid_.first_tile(begin),
            values + part * kPlanes * value_stride_, grads + part * kPlanes * grad_stride_};
  }

  bool in_one_block() const { return parts_ * rounds_ == 1; }
  Index columns() const { return panels_.padded_columns(); }

  LaneRectangle rectangle(const Nchw& image, Index halo) const {
    const Index width = std::min(kTile * grid_.unit_tiles() + halo, image.w);
    return {image.c, table_, (kTile * units_ + halo) * width};
  }

  void transform_grad(const float* grad_output, const TileBlock& block, Index tile,
                      const Chunk& chunk, LaneRectangle& image) const {
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
          float* const grads = chunk.grads + panels_.offset(panel, chunk.tiles) + tile * width;
          table_.winograd.grad_output(pixels, width, grads, grad_stride_);
          for (const float*& pixel : pixels) pixel += width;
        }
      }
    }
  }

  // sums [part][plane][c][oc] (+)= values^T grads, plane by plane.
  void multiply(Index round, float* values, float* grads, float* sums) const {
    const Index row_blocks = ceil_divide(grid_.source.c, kTaskRows);
    const Index tiles = grid_.units() / rounds_ * grid_.unit_tiles();
    const Index work = multiply_add_work(kPlanes * tiles * grid_.source.c * columns());
    parallel_for(parts_ * kPlanes * row_blocks, work, [&](Index task, int) {
      const Index begin = task % row_blocks * kTaskRows, part_plane = task / row_blocks;
      const Block block{begin, std::min(begin + kTaskRows, grid_.source.c), 0, panels_.panels()};
      multiply_plane(chunk_of(part_plane / kPlanes, round, values, grads), part_plane % kPlanes,
                     block, round > 0, sums + part_plane * sum_stride_ + begin * columns(),
                     columns());
    });
  }

  // The same for a single chunk, block by block of the weights and through the inverse transform.
  bool multiply_to_the_end(const Chunk& chunk, float* grad_weight) const {
    const Index widest = table_.lanes * table_.gemm.vectors;
    const Index block_panels = std::max<Index>(1, kBlockColumns / widest);
    const Index most_columns = block_panels * widest;
    const Index row_blocks = ceil_divide(grid_.source.c, kBlockRows);
    const Index tasks = row_blocks * ceil_divide(panels_.panels(), block_panels);
    const Index stride = kBlockRows * most_columns + kLine;
    std::atomic<bool> finite{true};
    const Workers workers{
        worker_count(tasks, multiply_add_work(kPlanes * chunk.tiles * grid_.source.c * columns()))};
    const WorkerScratch<float> sums(workers.count, kPlanes * stride);
    const WorkerScratch<float> taps(workers.count, kBlockRows * 9 * most_columns);
    parallel_for(tasks, workers, [&](Index task, int worker) {
      const Index row = task % row_blocks * kBlockRows, panel = task / row_blocks * block_panels;
      const Block block{row, std::min(row + kBlockRows, grid_.source.c), panel,
                        std::min(panel + block_panels, panels_.panels())};
      const Index width = panels_.first_column(block.panel_end) - panels_.first_column(panel);
      for (Index plane = 0; plane < kPlanes; ++plane) {
        multiply_plane(chunk, plane, block, false, sums.of(worker) + plane * stride, width);
      }
      if (!transform_block(sums.of(worker), stride, block, taps.of(worker), grad_weight)) {
        finite = false;
      }
    });
    return finite;
  }

  // c: the block's first sum of this plane, rows `pitch` apart.
  void multiply_plane(const Chunk& chunk, Index plane, const Block& block, bool accumulate,
                      float* c, Index pitch) const {
    const Index first_column = panels_.first_column(block.panel_begin);
    std::int32_t c_rows[kMaxTileRows];
    for (Index m = 0; m < table_.gemm.rows; ++m) c_rows[m] = static_cast<std::int32_t>(m * pitch);
    for (Index panel = block.panel_begin; panel < block.panel_end; ++panel) {
      GemmTileArguments<float> tile{};
      tile.depth = chunk.tiles;
      tile.a_rows = a_rows_;
      tile.a_cols = tile_rows_.get();
      tile.b = chunk.grads + plane * grad_stride_ + panels_.offset(panel, chunk.tiles);
      tile.c_rows = c_rows;
      tile.columns = panels_.width(panel);
      tile.accumulate = accumulate;
      for (Index row = block.row_begin; row < block.row_end; row += table_.gemm.rows) {
        const Index rows = std::min<Index>(table_.gemm.rows, block.row_end - row);
        tile.a = chunk.values + plane * value_stride_ + row;
        tile.c = c + (row - block.row_begin) * pitch + panels_.first_column(panel) - first_column;
        table_.gemm.tile[panels_.vectors(panel) - 1][rows - 1](tile);
      }
    }
  }

  // sums: [plane][c of the block][oc of the block], planes `stride` apart.
  bool transform_block(const float* sums, Index stride, const Block& block, float* taps,
                       float* grad_weight) const {
    const Index first = panels_.first_column(block.panel_begin);
    const Index width = panels_.first_column(block.panel_end) - first;
    const Index rows = block.row_end - block.row_begin, row_size = grid_.source.c * 9;
    bool finite = true;
    for (Index c = 0; c < rows; ++c) {
      finite &=
          table_.winograd.grad_weight(sums + c * width, stride, width, taps + c * 9 * width, width);
    }
    table_.gemm.transpose(rows * 9, std::min(width, grid_.result.c - first), taps, width,
                          grad_weight + first * row_size + block.row_begin * 9, row_size);
    return finite;
  }

  // The first part of `count` sums of each plane becomes that of all.
  void add_parts(float* sums, Index count) const {
    for (Index plane = 0; plane < kPlanes; ++plane, sums += sum_stride_) {
      for (Index part = 1; part < parts_; ++part) {
        const float* const more = sums + part * kPlanes * sum_stride_;
        table_.elementwise.add({sums, more, true, true, 0, 0, 1, count, sums});
      }
    }
  }

  bool transform_back(float* sums, float* grad_weight) const {
    constexpr Index rows = 8;  // input channels of a task
    std::atomic<bool> finite{true};
    const Index tasks = ceil_divide(grid_.source.c, rows);
    const Workers workers{worker_count(tasks, parts_ * kPlanes * sum_stride_)};
    const WorkerScratch<float> taps(workers.count, rows * 9 * columns());
    parallel_blocks(grid_.source.c, rows, workers, [&](Index begin, Index end, int worker) {
      add_parts(sums + begin * columns(), (end - begin) * columns());
      const Block block{begin, end, 0, panels_.panels()};
      if (!transform_block(sums + begin * columns(), sum_stride_, block, taps.of(worker),
                           grad_weight)) {
        finite = false;
      }
    });
    return finite;
  }

  const KernelTable<float>& table_;
  PanelLayout panels_;  // of the output's channels
  Index padded_;        // input channels in whole vectors
  TileGrid grid_;
  Index units_;                                    // of a task
  Index parts_, rounds_;                           // parts_ * rounds_ chunks
  Index value_stride_, grad_stride_, sum_stride_;  // from plane to plane
  Buffer<std::int32_t> tile_rows_;
  std::int32_t a_rows_[kMaxTileRows];
};

}  // namespace

void winograd_backward_weight(const Conv2dShape& shape, const float* grad_output,
                              const float* input, float* grad_weight) {
  if (!BackwardWeight(shape).run(grad_output, input, grad_weight)) {
    direct_backward_weight(shape, grad_output, input, grad_weight);
  }
}

}  // namespace convolite
