// How the passes of batch normalisation cut their work: which runs the kernels see, which blocks
// are summed by one task. Everything here depends on the shape alone.
#pragma once

#include <convolite/batch_norm.h>

#include <algorithm>

#include "runtime/buffer.h"
#include "runtime/integers.h"
#include "runtime/threads.h"

namespace convolite::batch_norm {

constexpr Index kShortest = 16;  // values of one channel and image that are worth a kernel call
constexpr Index kTaskSize = 1 << 15;  // elements of one task: 128 KB of floats
constexpr Index kPlaneImages = 16;    // images whose sums one task adds up, at most
constexpr Index kFewestGroups = 4;    // of images, if there are so many
constexpr Index kColumnImages = 64;

// How kernels see the input. By planes: each image's channel is a run with one set of coefficients.
// By rows, where planes are shorter than a vector: each image is a run of c * length columns, and
// coefficients are repeated for each of the `spread` columns of a channel.
struct View {
  bool by_planes;
  Index n, columns;  // sums are made for each column: a channel, or one of its `spread` columns
  Index spread;
  Index runs, run_length;
  Index images;        // of one task of a summing pass
  Index task_columns;  // likewise
  Index groups;        // of images

  explicit View(const BatchNormShape& shape) : by_planes(shape.length >= kShortest), n(shape.n) {
    spread = by_planes ? 1 : shape.length;
    columns = shape.c * spread;
    runs = by_planes ? shape.n * shape.c : shape.n;
    run_length = by_planes ? shape.length : columns;
    images = by_planes ? std::min(kPlaneImages, shape.n / kFewestGroups)
                       : std::min(kColumnImages, shape.n);
    images = std::max<Index>(images, 1);
    groups = ceil_divide(shape.n, images);
    task_columns = std::max<Index>(1, kTaskSize / (images * (by_planes ? shape.length : 1)));
  }

  Workers block_workers(Index work) const {
    return {worker_count(groups * ceil_divide(columns, task_columns), work)};
  }
  Index widest_block() const { return std::min(task_columns, columns); }
  Index images_of(Index group) const { return std::min(images, n - group * images); }
  Index column_values() const { return by_planes ? run_length : 1; }  // per image
};

// Columns [begin, begin + count) of a group of images: one task of a summing pass.
struct Block {
  Index group, begin, count;
};

// body(block, worker) for each block, in parallel; blocks depend on the shape alone.
template <class Body>
void for_each_block(const View& view, Workers workers, const Body& body) {
  const Index across = ceil_divide(view.columns, view.task_columns);
  parallel_for(view.groups * across, workers, [&](Index task, int worker) {
    const Index begin = task % across * view.task_columns;
    body(Block{task / across, begin, std::min(view.task_columns, view.columns - begin)}, worker);
  });
}

// body(offset, coefficient) for each run: where it starts, and its coefficients' first index.
template <class Body>
void for_each_run(const View& view, Index work, const Body& body) {
  const Index block = std::max<Index>(1, kTaskSize / std::max<Index>(1, view.run_length));
  parallel_blocks(view.runs, block, work, [&](Index begin, Index end, int) {
    Index column = view.by_planes ? begin % std::max<Index>(1, view.columns) : 0;
    for (Index run = begin; run < end; ++run) {
      body(run * view.run_length, column);
      if (view.by_planes && ++column == view.columns) column = 0;
    }
  });
}

// Values per channel, repeated for each column of the channel.
template <class T>
class ColumnValues {
 public:
  explicit ColumnValues(const View& view) : spread_(view.spread), buffer_(view.columns) {}
  void set(Index channel, double value) {
    std::fill_n(buffer_.get() + channel * spread_, spread_, static_cast<T>(value));
  }
  const T* get() const { return buffer_.get(); }

 private:
  Index spread_;
  Buffer<T> buffer_;
};

// A few numbers for each group of images and column: (groups, Kinds, columns).
template <int Kinds>
class Partials {
 public:
  explicit Partials(const View& view)
      : columns_(view.columns), buffer_(view.groups * Kinds * view.columns) {}
  double* of(Index group, int kind) const {
    return buffer_.get() + (group * Kinds + kind) * columns_;
  }

 private:
  Index columns_;
  Buffer<double> buffer_;
};

}  // namespace convolite::batch_norm
