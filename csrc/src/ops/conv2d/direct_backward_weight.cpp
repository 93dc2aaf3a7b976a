// direct_backward_weight: grad_weight[o, (c, r, s)] = sum over images and pixels of
//   grad_output[n, o, y, x] * input[n, c, y * stride + r * dilation - top, ...].
//
// The reduction runs over pixels: A = the input, one row for each (c, r, s), read by broadcasts at
// any stride; B = grad_output transposed to [pixel][output channel]. The images are cut into parts
// and the channels into splits by the shape alone; each (part, split, group) accumulates its own
// sums, and the parts are added in index order. Bound by arithmetic for many channels; for one
// input channel by the transposition of grad_output.
#include <algorithm>

#include "gemm/panels.h"
#include "ops/conv2d/direct.h"
#include "ops/conv2d/image_band.h"
#include "runtime/buffer.h"
#include "runtime/integers.h"
#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {
namespace {

// Measured on Zen 3 with csrc/benchmarks/bench_conv2d, 2026-11.
// Of grad_output, transposed: they stay in L1 while all rows of A meet them. With AVX-512, whose
// panels are wider, sample1 runs 5 % faster than with 512 pixels for any width (Zen 5, 2026-11).
constexpr Index kChunkBytes = 32 << 10;
constexpr Index kMostChunkPixels = 512;
constexpr Index kPartialBytes = Index{4} << 20;  // all parts together: each is a grad_weight
// Reached by parts first: every split transposes grad_output anew, a tenth of the time of stem7,
// which runs 5 % faster for it.
constexpr Index kWantedTasks = 16;
constexpr Index kBandBytes = 192 << 10;  // of the input, beside that in L2

template <class T>
class BackwardWeight {
 public:
  BackwardWeight(const Conv2dShape& shape, const T* grad_output, const T* input)
      : shape_(shape),
        grad_output_(grad_output),
        input_(input),
        table_(kernels<T>()),
        panels_(table_, shape.group_out()),
        depth_(shape.group_in() * shape.taps()) {
    choose_chunks();
    choose_tasks();
  }

  void run(T* grad_weight) {
    const Index tasks = parts_ * splits_ * shape_.groups;
    partial_ = Buffer<T>(parts_ * part_size());
    const Index work = shape_.result().size() + multiply_add_work(shape_.multiply_adds());
    const Workers workers{worker_count(tasks, work)};
    std::vector<Worker> scratch(static_cast<std::size_t>(workers.count));
    for (Worker& worker : scratch) allocate(worker);
    parallel_for(tasks, workers, [&](Index task, int worker) {
      const Index group = task % shape_.groups, split = task / shape_.groups % splits_;
      accumulate(scratch[static_cast<std::size_t>(worker)], task / shape_.groups / splits_, split,
                 group);
    });
    combine(grad_weight);
  }

 private:
  struct alignas(kApart) Worker {
    Buffer<T> band, grad;
    Buffer<std::int32_t> a_rows, a_cols, c_rows;
    Index split = -1, first_row = -1;  // what the offsets and the cleared band belong to
  };
  // Consecutive output rows of consecutive images.
  struct Chunk {
    Index image, images, row, rows;
  };

  Index part_size() const { return shape_.groups * panels_.padded_columns() * depth_; }
  Index chunk_count() const {
    return ceil_divide(shape_.input.n, images_) * ceil_divide(shape_.output.h, rows_);
  }

  void choose_chunks() {
    const Index pixels = shape_.output.h * shape_.output.w;
    const Index pixel_bytes = panels_.width(0) * static_cast<Index>(sizeof(T));
    const Index chunk_pixels = std::min(kChunkBytes / pixel_bytes, kMostChunkPixels);
    rows_ = std::min(shape_.output.h, std::max<Index>(chunk_pixels / shape_.output.w, 1));
    const Index image_size = shape_.input.c *
                             (shape_.input.h + shape_.padding.top + shape_.padding.bottom) *
                             (shape_.input.w + shape_.padding.left + shape_.padding.right);
    images_ = rows_ < shape_.output.h ? 1 : std::max<Index>(chunk_pixels / pixels, 1);
    images_ = std::min({images_, shape_.input.n, (Index{1} << 30) / image_size + 1});
    extent_ = {-shape_.padding.top,
               (rows_ - 1) * shape_.stride.h + (shape_.kernel.h - 1) * shape_.dilation.h + 1 -
                   shape_.padding.top,
               -shape_.padding.left,
               (shape_.output.w - 1) * shape_.stride.w + (shape_.kernel.w - 1) * shape_.dilation.w +
                   1 - shape_.padding.left};
    in_place_ = shape_.padding.top == 0 && shape_.padding.bottom == 0 && shape_.padding.left == 0 &&
                shape_.padding.right == 0;
    pitch_ = in_place_ ? shape_.input.w : extent_.columns();
    channel_stride_ =
        in_place_ ? shape_.input.pixels() : band_channel_stride(extent_.rows(), pitch_, sizeof(T));
  }

  void choose_tasks() {
    const Index partial_bytes = part_size() * static_cast<Index>(sizeof(T));
    const Index band_bytes =
        images_ * shape_.group_in() * channel_stride_ * static_cast<Index>(sizeof(T));
    splits_ = std::min(ceil_divide(band_bytes, kBandBytes), shape_.group_in());
    const Index most_parts = std::clamp<Index>(kPartialBytes / partial_bytes, 1, chunk_count());
    parts_ = std::min(ceil_divide(kWantedTasks, splits_ * shape_.groups), most_parts);
    splits_ = std::max(splits_, ceil_divide(kWantedTasks, parts_ * shape_.groups));
    splits_ = std::min(splits_, shape_.group_in());
  }

  Index split_begin(Index split) const { return shape_.group_in() * split / splits_; }
  Index split_channels(Index split) const { return split_begin(split + 1) - split_begin(split); }

  void allocate(Worker& worker) const {
    const Index channels = ceil_divide(shape_.group_in(), splits_);
    const Index pixels = images_ * rows_ * shape_.output.w;
    if (!in_place_) worker.band = worker_buffer<T>(images_ * channels * channel_stride_);
    worker.grad = worker_buffer<T>(pixels * table_.lanes * table_.gemm.vectors);
    worker.a_rows = worker_buffer<std::int32_t>(channels * shape_.taps());
    worker.c_rows = worker_buffer<std::int32_t>(channels * shape_.taps());
    worker.a_cols = worker_buffer<std::int32_t>(pixels);
  }

  void accumulate(Worker& worker, Index part, Index split, Index group) const {
    if (worker.split != split) prepare_split(worker, split);
    const Index row_chunks = ceil_divide(shape_.output.h, rows_);
    const Index begin = chunk_count() * part / parts_, end = chunk_count() * (part + 1) / parts_;
    for (Index index = begin; index < end; ++index) {
      Chunk chunk{index / row_chunks * images_, images_, index % row_chunks * rows_, rows_};
      chunk.images = std::min(images_, shape_.input.n - chunk.image);
      chunk.rows = std::min(rows_, shape_.output.h - chunk.row);
      const T* image = load(worker, chunk, split, group);
      T* sums = partial_.get() + part * part_size() + group * panels_.padded_columns() * depth_;
      for (Index panel = 0; panel < panels_.panels(); ++panel) {
        multiply(worker, chunk, split, group, panel, image, index > begin,
                 sums + panels_.offset(panel, depth_));
      }
    }
  }

  // Source offsets of the rows (c, r, s) of this split.
  void prepare_split(Worker& worker, Index split) const {
    worker.split = split;
    worker.first_row = -1;
    Index row = 0;
    for (Index c = 0; c < split_channels(split); ++c) {
      for (Index r = 0; r < shape_.kernel.h; ++r) {
        for (Index s = 0; s < shape_.kernel.w; ++s) {
          worker.a_rows[row++] = static_cast<std::int32_t>(
              c * channel_stride_ + r * shape_.dilation.h * pitch_ + s * shape_.dilation.w);
        }
      }
    }
  }

  // Makes the chunk's pixels readable and lists their offsets; returns what a_rows count from.
  const T* load(Worker& worker, const Chunk& chunk, Index split, Index group) const {
    const Index channel = group * shape_.group_in() + split_begin(split);
    const Index image_stride = in_place_ ? shape_.input.c * shape_.input.pixels()
                                         : split_channels(split) * channel_stride_;
    Index pixel = 0;
    for (Index n = 0; n < chunk.images; ++n) {
      for (Index y = 0; y < chunk.rows; ++y) {
        const Index row = n * image_stride + y * shape_.stride.h * pitch_;
        for (Index x = 0; x < shape_.output.w; ++x) {
          worker.a_cols[pixel++] = static_cast<std::int32_t>(row + x * shape_.stride.w);
        }
      }
    }
    const T* first = input_ + (chunk.image * shape_.input.c + channel) * shape_.input.pixels();
    if (in_place_) return first + chunk.row * shape_.stride.h * pitch_;
    if (worker.first_row != chunk.row) {
      clear_band(images_ * split_channels(split), channel_stride_, worker.band.get());
      worker.first_row = chunk.row;
    }
    Extent extent = extent_;
    extent.row_begin += chunk.row * shape_.stride.h;
    extent.row_end += chunk.row * shape_.stride.h;
    for (Index n = 0; n < chunk.images; ++n) {
      load_band(first + n * shape_.input.c * shape_.input.pixels(), split_channels(split),
                {shape_.input.h, shape_.input.w}, extent, channel_stride_,
                worker.band.get() + n * image_stride);
    }
    return worker.band.get();
  }

  // sums[row][output channel] (+)= the chunk's share, for one panel of output channels.
  void multiply(Worker& worker, const Chunk& chunk, Index split, Index group, Index panel,
                const T* image, bool accumulate, T* sums) const {
    const Index width = panels_.width(panel), used = panels_.used(panel);
    const Index pixels = chunk.rows * shape_.output.w, plane = shape_.output.h * shape_.output.w;
    T* grad = worker.grad.get();
    if (used < width) std::fill_n(grad, chunk.images * pixels * width, T(0));
    for (Index n = 0; n < chunk.images; ++n) {
      const Index channel = (chunk.image + n) * shape_.out_channels + group * shape_.group_out() +
                            panels_.first_column(panel);
      table_.gemm.transpose(used, pixels,
                            grad_output_ + channel * plane + chunk.row * shape_.output.w, plane,
                            grad + n * pixels * width, width);
    }
    const Index rows = split_channels(split) * shape_.taps();
    for (Index row = 0; row < rows; ++row) {
      worker.c_rows[row] = static_cast<std::int32_t>(row * width);
    }
    GemmTileArguments<T> tile{};
    tile.depth = chunk.images * pixels;
    tile.a = image;
    tile.a_cols = worker.a_cols.get();
    tile.b = grad;
    tile.c = sums + split_begin(split) * shape_.taps() * width;
    tile.columns = width;
    tile.accumulate = accumulate;
    const auto& kernels_of_width = table_.gemm.tile[panels_.vectors(panel) - 1];
    // Dealt out evenly: see DirectConvolution::multiply.
    const EvenParts tiles(rows, ceil_divide(rows, table_.gemm.rows));
    for (Index i = 0; i < tiles.count(); ++i) {
      tile.a_rows = worker.a_rows.get() + tiles.first(i);
      tile.c_rows = worker.c_rows.get() + tiles.first(i);
      kernels_of_width[tiles.size(i) - 1](tile);
    }
  }

  // Adds the parts in order and transposes [c, r, s][o] to (o, c, r, s).
  void combine(T* grad_weight) const {
    const Index tasks = shape_.groups * panels_.panels();
    parallel_for(tasks, parts_ * part_size(), [&](Index task, int) {
      const Index group = task / panels_.panels(), panel = task % panels_.panels();
      const Index size = panels_.width(panel) * depth_;
      T* sums = partial_.get() + group * panels_.padded_columns() * depth_ +
                panels_.offset(panel, depth_);
      for (Index part = 1; part < parts_; ++part) {
        const T* more = sums + part * part_size();
        for (Index i = 0; i < size; ++i) sums[i] += more[i];
      }
      const Index channel = group * shape_.group_out() + panels_.first_column(panel);
      table_.gemm.transpose(depth_, panels_.used(panel), sums, panels_.width(panel),
                            grad_weight + channel * depth_, depth_);
    });
  }

  const Conv2dShape& shape_;
  const T* grad_output_;
  const T* input_;
  const KernelTable<T>& table_;
  PanelLayout panels_;
  Index depth_;  // rows of the result: channels of a group x taps
  Index images_ = 1, rows_ = 1;
  Extent extent_;
  bool in_place_ = false;
  Index pitch_ = 0, channel_stride_ = 0;
  Index parts_ = 1, splits_ = 1;
  Buffer<T> partial_;  // [part][group][panel][c, r, s][o]
};

}  // namespace

template <class T>
void direct_backward_weight(const Conv2dShape& shape, const T* grad_output, const T* input,
                            T* grad_weight) {
  if (shape.result().size() == 0) {
    std::fill_n(grad_weight, shape.weight_size(), T(0));
    return;
  }
  BackwardWeight<T>(shape, grad_output, input).run(grad_weight);
}

template void direct_backward_weight(const Conv2dShape&, const float*, const float*, float*);
template void direct_backward_weight(const Conv2dShape&, const double*, const double*, double*);

}  // namespace convolite
