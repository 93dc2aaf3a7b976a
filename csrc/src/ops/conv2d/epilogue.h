// What the methods share of a convolution's epilogue (convolite/conv2d.h): filters that carry the
// scale, and the store that adds the residual.
#pragma once

#include <convolite/conv2d.h>

#include "gemm/epilogue.h"

namespace convolite {

// Filters times their scales, for whoever lays filters out: multiplied there, the scale costs no
// pass over the results.
template <class T>
class ScaledFilters {
 public:
  // Rows of values, one row for each filter.
  struct Rows {
    const T* data;
    Index stride;
  };

  // weight: filters of `depth` values; scale: one value for each, or null.
  ScaledFilters(const KernelTable<T>& table, const T* weight, Index depth, const T* scale)
      : table_(table), weight_(weight), depth_(depth), scale_(scale) {}

  // Values [begin, begin + size) of filters [first, first + count): where they stand, or multiplied
  // in `scratch` of scratch_size(count * size) elements.
  Rows rows(Index first, Index count, Index begin, Index size, T* scratch) const {
    const T* const from = weight_ + first * depth_ + begin;
    if (scale_ == nullptr) return {from, depth_};
    table_.elementwise.multiply(
        {from, scale_ + first, true, false, depth_, 1, count, size, scratch});
    return {scratch, size};
  }
  Index scratch_size(Index values) const { return scale_ == nullptr ? 0 : values; }

 private:
  const KernelTable<T>& table_;
  const T* weight_;
  Index depth_;
  const T* scale_;
};

// Stores sums that stand as [pixel][channel] as planes, and adds the residual's.
template <class T>
class PlaneStore {
 public:
  PlaneStore(const KernelTable<T>& table, const T* residual, Activation activation, T* result)
      : table_(table), residual_(residual), activation_(activation), result_(result) {}

  // What the sums have to be given before they come here.
  Activation activation_before() const {
    return residual_ == nullptr ? activation_ : Activation::none;
  }

  // Element (i, j) of `sums`, whose rows are `stride` apart, goes to result[at + j * plane + i].
  void run(Index pixels, Index channels, const T* sums, Index stride, Index at, Index plane) const {
    if (residual_ == nullptr) {
      table_.gemm.transpose(pixels, channels, sums, stride, result_ + at, plane);
      return;
    }
    AddTransposedArguments<T> arguments{};
    arguments.rows = pixels;
    arguments.columns = channels;
    arguments.input = sums;
    arguments.input_stride = stride;
    arguments.residual = residual_ + at;
    arguments.output = result_ + at;
    arguments.output_stride = plane;
    set_clamp(arguments, activation_);
    table_.gemm.add_transposed(arguments);
  }

 private:
  const KernelTable<T>& table_;
  const T* residual_;
  Activation activation_;
  T* result_;
};

}  // namespace convolite
