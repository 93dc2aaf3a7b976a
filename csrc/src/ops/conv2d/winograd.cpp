// winograd_forward and winograd_backward_input: the second is the first with the weights turned
// round and channels exchanged.
//
// Two orders of the loops. Tile by tile: a task transforms a few tiles into its worker's scratch
// and multiplies them by all weights. Channel by channel, where the transformed weights outgrow the
// cache: the tiles of a chunk are transformed first, then a task transforms a block of the weights
// and multiplies many tiles by it, so that transformed weights never leave the cache.
//
// Bound by arithmetic: of the products for many channels, of the transforms for few.
#include "ops/conv2d/winograd.h"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <vector>

#include "gemm/panels.h"
#include "ops/conv2d/direct.h"
#include "ops/conv2d/epilogue.h"
#include "ops/conv2d/winograd_tiles.h"
#include "ops/conv2d/winograd_weights.h"
#include "runtime/buffer.h"
#include "runtime/integers.h"
#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {

using namespace winograd;

namespace {

// Measured on Zen 3 with csrc/benchmarks/bench_conv2d, 2026-11.
constexpr Index kFewestChannels = 16;       // of 32x32: the direct method takes 1.2 times as long
constexpr Index kScratchBytes = 400 << 10;  // transformed tiles and products of a task, in L2
constexpr Index kWeightBytes = Index{4} << 20;  // larger transformed weights: channel by channel
constexpr Index kChunkBytes = Index{8} << 20;   // transformed tiles of a chunk
constexpr Index kBlockColumns = 64;             // result channels multiplied at once, at most
constexpr Index kBlockBytes = 2560 << 10;       // of their weights, channel by channel
constexpr Index kWeightChannels = 64;           // of a task that transforms weights, at most
constexpr Index kFewestTiles = 12, kMostTiles = 48;  // of a task
constexpr Index kWantedTasks = 16;
constexpr Index kLine = kAlignment / static_cast<Index>(sizeof(float));

Index weight_bytes(Index source_channels, Index result_channels) {
  return kPlanes * source_channels * result_channels * static_cast<Index>(sizeof(float));
}

bool goes_channel_by_channel(Index source_channels, Index result_channels) {
  return weight_bytes(source_channels, result_channels) > kWeightBytes;
}

class WinogradConvolution {
 public:
  WinogradConvolution(const Nchw& source, const Nchw& result, Index top, Index left)
      : table_(kernels<float>()),
        panels_(table_, result.c),
        padded_(round_up(source.c, table_.lanes)),
        channel_by_channel_(goes_channel_by_channel(source.c, result.c)),
        block_panels_(panels_of_block(source.c, result.c)),
        tiles_(tiles_of_task(source, result)),
        grid_(source, result, top, left, tiles_),
        units_(std::max<Index>(1, tiles_ / grid_.unit_tiles())),
        a_cols_(source.c) {
    // A line more than a power of two: 36 planes must not compete for one set of the cache.
    value_stride_ = units_ * grid_.unit_tiles() * padded_ + kLine;
    weight_stride_ = panels_.width(0) * source.c + kLine;
    product_stride_ = units_ * grid_.unit_tiles() * block_columns() + kLine;
    std::iota(a_cols_.get(), a_cols_.get() + source.c, 0);
    for (Index m = 0; m < table_.gemm.rows; ++m) {
      a_rows_[m] = static_cast<std::int32_t>(m * padded_);
    }
  }

  const KernelTable<float>& table() const { return table_; }

  // The images with a result that is not finite, which then is perhaps not what the definition
  // gives. The epilogue's scale is in the weights.
  std::vector<Index> run(const float* source, const WeightTransform& weights,
                         const Conv2dEpilogue<float>& given, float* result) const {
    const float* const bias = given.bias.data;
    const PlaneStore<float> store(table_, given.residual.data, given.activation, result);
    Buffer<float> padded_bias;
    WinogradEpilogue<float> epilogue{};
    set_clamp(epilogue, store.activation_before());
    if (bias != nullptr) {
      padded_bias = Buffer<float>(panels_.padded_columns());
      std::fill_n(padded_bias.get(), panels_.padded_columns(), 0.0f);
      std::copy_n(bias, grid_.result.c, padded_bias.get());
      epilogue.bias = padded_bias.get();
    }
    std::vector<std::atomic<bool>> finite(static_cast<std::size_t>(grid_.result.n));
    for (std::atomic<bool>& image : finite) image = true;
    const Job job{source, weights, epilogue, store, finite};
    if (channel_by_channel_) {
      run_channel_by_channel(job);
    } else {
      run_tile_by_tile(job);
    }
    std::vector<Index> others;
    for (std::size_t image = 0; image < finite.size(); ++image) {
      if (!finite[image]) others.push_back(static_cast<Index>(image));
    }
    return others;
  }

 private:
  struct Job {
    const float* source;
    const WeightTransform& weights;
    WinogradEpilogue<float> epilogue;
    const PlaneStore<float>& planes;
    std::vector<std::atomic<bool>>& finite;  // for each image
  };
  // Transformed weights of the panels from `first_panel` on: [panel][plane][source channel][result
  // channel]. What one task writes lies together: where the parts of two cores alternate, each
  // fetches ahead what the other one is writing.
  struct Weights {
    const float* data;
    Index first_panel;
  };
  // What a worker needs to multiply tiles and store results.
  struct alignas(kApart) Worker {
    Buffer<float> products, pixels, spare;
  };

  // Channel by channel every task shall have a block of its own: tasks that share one transform it
  // each for itself, a quarter of the time for 256 channels of 14x14 pixels.
  Index panels_of_block(Index source_channels, Index result_channels) const {
    const Index widest = table_.lanes * table_.gemm.vectors;
    Index columns = kBlockColumns;
    if (channel_by_channel_) {
      columns = std::min({columns, kBlockBytes / weight_bytes(source_channels, 1),
                          result_channels / kWantedTasks});
    }
    return std::max<Index>(1, columns / widest);
  }

  Index block_columns() const { return block_panels_ * table_.lanes * table_.gemm.vectors; }

  Index tiles_of_task(const Nchw& source, const Nchw& result) const {
    const Index values = block_columns() + (channel_by_channel_ ? 0 : padded_);
    const Index tile_bytes = kPlanes * values * static_cast<Index>(sizeof(float));
    const Index all = source.n * ceil_divide(result.h, kTile) * ceil_divide(result.w, kTile);
    const Index most = std::clamp(kScratchBytes / tile_bytes, kFewestTiles, kMostTiles);
    return std::min(most, std::max<Index>(kFewestTiles, ceil_divide(all, kWantedTasks)));
  }

  Index work() const {
    const Index tiles = grid_.units() * grid_.unit_tiles();
    return tiles * kPlanes * (grid_.source.c + grid_.result.c) +
           multiply_add_work(tiles * kPlanes * grid_.source.c * grid_.result.c);
  }

  LaneRectangle rectangle() const {
    const Index side = kTile * grid_.unit_tiles() + 2;
    return {grid_.source.c, table_, (kTile * units_ + 2) * std::min(side, grid_.source.w)};
  }

  std::vector<LaneRectangle> rectangles(int count) const {
    std::vector<LaneRectangle> all;
    for (int i = 0; i < count; ++i) all.push_back(rectangle());
    return all;
  }

  std::vector<Worker> workers(int count) const {
    std::vector<Worker> all(static_cast<std::size_t>(count));
    const Index pixels = units_ * grid_.unit_tiles() * kTile * kTile;
    for (Worker& worker : all) {
      worker.products = worker_buffer<float>(kPlanes * product_stride_);
      worker.pixels = worker_buffer<float>(pixels * block_columns());
      worker.spare = worker_buffer<float>(block_columns());
    }
    return all;
  }

  Index panel_size() const { return kPlanes * weight_stride_; }

  void transform_weights(const WeightTransform& weights, float* transformed) const {
    const Index channels = grid_.source.c;
    const Index wanted = round_up(ceil_divide(channels * panels_.panels(), kWantedTasks), 8);
    const Index of_task = std::min(wanted, kWeightChannels);
    const Index blocks = ceil_divide(channels, of_task);
    const Index tasks = panels_.panels() * blocks;
    const Workers count{worker_count(tasks, panels_.panels() * panel_size())};
    const WorkerScratch<float> scratch(count.count, weights.scratch_size());
    parallel_for(tasks, count, [&](Index task, int worker) {
      const Index panel = task / blocks, begin = task % blocks * of_task;
      weights.run(panels_, panel, begin, std::min(begin + of_task, channels), scratch.of(worker),
                  transformed + panel * panel_size(), weight_stride_);
    });
  }

  void run_tile_by_tile(const Job& job) const {
    const Buffer<float> weights(panels_.panels() * panel_size());
    transform_weights(job.weights, weights.get());
    const Index tasks = ceil_divide(grid_.units(), units_);
    const Workers count{worker_count(tasks, work())};
    const WorkerScratch<float> transformed(count.count, kPlanes * value_stride_);
    std::vector<LaneRectangle> sources = rectangles(count.count);
    std::vector<Worker> scratch = workers(count.count);
    parallel_for(tasks, count, [&](Index task, int number) {
      const Index begin = task * units_, end = std::min(begin + units_, grid_.units());
      float* values = transformed.of(number);
      transform(job, begin, end, sources[static_cast<std::size_t>(number)], values);
      for (Index panel = 0; panel < panels_.panels(); panel += block_panels_) {
        multiply(job, begin, end, panel, {weights.get(), 0}, values,
                 scratch[static_cast<std::size_t>(number)]);
      }
    });
  }

  void run_channel_by_channel(const Job& job) const {
    const Index size = kPlanes * value_stride_;  // of the values of a task
    const Index bytes = size * static_cast<Index>(sizeof(float));
    const Index groups = std::max<Index>(1, kChunkBytes / bytes);
    const Index chunk = std::min(groups * units_, round_up(grid_.units(), units_));
    const Buffer<float> transformed(chunk / units_ * size);
    const Index blocks = ceil_divide(panels_.panels(), block_panels_);
    const Workers count{worker_count(blocks * groups, work())};
    const WorkerScratch<float> weights(count.count, block_panels_ * panel_size());
    const WorkerScratch<float> by_tap(count.count, job.weights.scratch_size());
    std::vector<LaneRectangle> sources = rectangles(count.count);
    std::vector<Worker> scratch = workers(count.count);
    for (Index first = 0; first < grid_.units(); first += chunk) {
      const Index end = std::min(first + chunk, grid_.units());
      const Index tasks = ceil_divide(end - first, units_);
      parallel_for(tasks, count, [&](Index task, int worker) {
        const Index begin = first + task * units_;
        transform(job, begin, std::min(begin + units_, end),
                  sources[static_cast<std::size_t>(worker)], transformed.get() + task * size);
      });
      // Few blocks are shared by several tasks, each of which transforms the weights for itself.
      const Index shares = std::clamp<Index>(kWantedTasks / blocks, 1, tasks);
      parallel_for(blocks * shares, count, [&](Index task, int worker) {
        const Index panel = task / shares * block_panels_, share = task % shares;
        transform_block(job.weights, panel, by_tap.of(worker), weights.of(worker));
        for (Index i = tasks * share / shares; i < tasks * (share + 1) / shares; ++i) {
          const Index begin = first + i * units_;
          multiply(job, begin, std::min(begin + units_, end), panel, {weights.of(worker), panel},
                   transformed.get() + i * size, scratch[static_cast<std::size_t>(worker)]);
        }
      });
    }
  }

  void transform_block(const WeightTransform& weights, Index first, float* by_tap,
                       float* transformed) const {
    const Index channels = grid_.source.c;
    for (Index panel = first; panel < std::min(first + block_panels_, panels_.panels()); ++panel) {
      weights.run(panels_, panel, 0, channels, by_tap, transformed + (panel - first) * panel_size(),
                  weight_stride_);
    }
  }

  // Units [begin, end) -> values [plane][tile][source channel].
  void transform(const Job& job, Index begin, Index end, LaneRectangle& source,
                 float* values) const {
    for_each_block(grid_, begin, end, [&](const TileBlock& block, Index tile) {
      transform_windows(grid_, block, job.source, tile, source, values, value_stride_);
    });
  }

  // Transformed units [begin, end) times the weights of a block of panels, back to pixels.
  void multiply(const Job& job, Index begin, Index end, Index panel_begin, const Weights& weights,
                const float* values, Worker& worker) const {
    const Index panel_end = std::min(panel_begin + block_panels_, panels_.panels());
    const Index first = panels_.first_column(panel_begin);
    const Index columns = panels_.first_column(panel_end) - first;
    const Index tiles = grid_.first_tile(end) - grid_.first_tile(begin);
    std::int32_t c_rows[kMaxTileRows];
    for (Index m = 0; m < table_.gemm.rows; ++m) c_rows[m] = static_cast<std::int32_t>(m * columns);
    for (Index plane = 0; plane < kPlanes; ++plane) {
      for (Index panel = panel_begin; panel < panel_end; ++panel) {
        GemmTileArguments<float> tile{};
        tile.depth = grid_.source.c;
        tile.a_rows = a_rows_;
        tile.a_cols = a_cols_.get();
        tile.c_rows = c_rows;
        tile.columns = panels_.width(panel);
        tile.a = values + plane * value_stride_;
        tile.b =
            weights.data + (panel - weights.first_panel) * panel_size() + plane * weight_stride_;
        tile.c =
            worker.products.get() + plane * product_stride_ + panels_.first_column(panel) - first;
        multiply_tiles(tiles, columns, panels_.vectors(panel), tile);
      }
    }
    store(job, begin, end, first, columns, worker);
  }

  // Tiles are dealt out evenly: see DirectConvolution::multiply.
  void multiply_tiles(Index tiles, Index columns, Index vectors,
                      GemmTileArguments<float>& tile) const {
    const auto& tile_of_height = table_.gemm.tile[vectors - 1];
    const Index calls = ceil_divide(tiles, table_.gemm.rows);
    const Index height = tiles / calls, higher = tiles % calls;
    for (Index i = 0; i < calls; ++i) {
      const Index rows = i < higher ? height + 1 : height;
      tile_of_height[rows - 1](tile);
      tile.a += rows * padded_;
      tile.c += rows * columns;
    }
  }

  void store(const Job& job, Index begin, Index end, Index first, Index columns,
             Worker& worker) const {
    const Nchw& result = grid_.result;
    const Index used = std::min(columns, result.c - first);
    WinogradEpilogue<float> epilogue = job.epilogue;
    if (epilogue.bias != nullptr) epilogue.bias += first;
    for_each_block(grid_, begin, end, [&](const TileBlock& block, Index tile) {
      const Index y = kTile * block.row_begin, x = kTile * block.column_begin;
      const Index height = std::min(kTile * block.row_end, result.h) - y;
      const Index width = std::min(kTile * block.column_end, result.w) - x;
      bool finite = true;
      for (Index row = 0; row < height; row += kTile) {
        for (Index column = 0; column < width; column += kTile, ++tile) {
          float* pixels[kTile * kTile];
          float** pixel = pixels;
          for (Index at_y = row; at_y < row + kTile; ++at_y) {
            for (Index at_x = column; at_x < column + kTile; ++at_x) {
              const bool inside = at_y < height && at_x < width;
              *pixel++ = inside ? worker.pixels.get() + (at_y * width + at_x) * columns
                                : worker.spare.get();
            }
          }
          finite &= table_.winograd.output(worker.products.get() + tile * columns, product_stride_,
                                           columns, epilogue, pixels);
        }
      }
      if (!finite) job.finite[static_cast<std::size_t>(block.image)] = false;
      const Index to = (block.image * result.c + first) * result.pixels() + y * result.w + x;
      const Index pixels = width == result.w ? height * width : width;
      for (Index pixel = 0; pixel < height * width; pixel += pixels) {
        job.planes.run(pixels, used, worker.pixels.get() + pixel * columns, columns,
                       to + pixel / width * result.w, result.pixels());
      }
    });
  }

  const KernelTable<float>& table_;
  PanelLayout panels_;  // of the result's channels
  Index padded_;        // source channels in whole vectors
  bool channel_by_channel_;
  Index block_panels_;  // multiplied at once
  Index tiles_;         // of a task, at most
  TileGrid grid_;
  Index units_;                                          // of a task
  Index value_stride_, weight_stride_, product_stride_;  // from plane to plane
  Buffer<std::int32_t> a_cols_;
  std::int32_t a_rows_[kMaxTileRows];
};

Conv2dShape one_image(Conv2dShape shape) {
  shape.input.n = 1;
  return shape;
}

}  // namespace

const char* winograd_declines(const Conv2dShape& shape, Pass) {
  if (shape.input.n == 0) return "the batch is empty";
  if (shape.kernel.h != 3 || shape.kernel.w != 3) return "the kernel is not 3x3";
  if (shape.stride.h != 1 || shape.stride.w != 1) return "the stride is not 1";
  if (shape.dilation.h != 1 || shape.dilation.w != 1) return "the dilation is not 1";
  if (shape.groups != 1) return "there are groups";
  if (shape.input.c < kFewestChannels || shape.out_channels < kFewestChannels) {
    return "with so few channels the transforms cost more than they save";
  }
  if (shape.output.h < 3 || shape.output.w < 3) return "the image is smaller than most of a tile";
  if (shape.padding.top > 2 || shape.padding.left > 2) return "the padding is larger than 2";
  return nullptr;
}

const char* winograd_form(const Conv2dShape& shape, Pass pass) {
  if (pass == Pass::backward_weight) return nullptr;
  return goes_channel_by_channel(shape.input.c, shape.out_channels) ? "channel by channel"
                                                                    : "tile by tile";
}

void winograd_forward(const Conv2dShape& shape, const float* input, const float* weight,
                      const Conv2dEpilogue<float>& epilogue, float* output) {
  const WinogradConvolution convolution(shape.input, shape.result(), shape.padding.top,
                                        shape.padding.left);
  const WeightTransform weights(convolution.table(), shape, Pass::forward, weight,
                                epilogue.scale.data);
  const Index source = shape.input.c * shape.input.pixels();
  const Index result = shape.out_channels * shape.output.h * shape.output.w;
  Conv2dEpilogue<float> of_one = epilogue;
  for (const Index image : convolution.run(input, weights, epilogue, output)) {
    if (epilogue.residual.data != nullptr) {
      of_one.residual = {epilogue.residual.data + image * result, result};
    }
    direct_forward(one_image(shape), input + image * source, weight, of_one,
                   output + image * result);
  }
}

void winograd_backward_input(const Conv2dShape& shape, const float* grad_output,
                             const float* weight, float* grad_input) {
  const WinogradConvolution convolution(shape.result(), shape.input, 2 - shape.padding.top,
                                        2 - shape.padding.left);
  const WeightTransform weights(convolution.table(), shape, Pass::backward_input, weight, nullptr);
  const Index source = shape.out_channels * shape.output.h * shape.output.w;
  const Index result = shape.input.c * shape.input.pixels();
  for (const Index image : convolution.run(grad_output, weights, {}, grad_input)) {
    direct_backward_input(one_image(shape), grad_output + image * source, weight,
                          grad_input + image * result);
  }
}

}  // namespace convolite
