// Concatenation and its gradient copy the same pieces, one for each input and outer place. Bound by
// memory.
#include <convolite/concatenate.h>
#include <convolite/error.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <numeric>

#include "runtime/threads.h"

namespace convolite {
namespace {

constexpr const char* kOp = "cat";
constexpr Index kBlock = 1 << 16;  // bytes of one task

using Shape = std::vector<Index>;

Index size_of(const Shape& shape, std::size_t begin, std::size_t end) {
  Index size = 1;
  for (std::size_t i = begin; i < end; ++i) size = checked_product(kOp, size, shape[i]);
  return size;
}

bool fit(Shape a, Shape b, std::size_t axis) {
  if (a.size() != b.size()) return false;
  a[axis] = b[axis];
  return a == b;
}

// copy(input, at_part, at_whole, bytes) for every piece.
template <class Copy>
void for_each_piece(const ConcatenateShape& shape, Index element_bytes, Copy&& copy) {
  const auto& lengths = shape.lengths;
  const Index row_length = std::accumulate(lengths.begin(), lengths.end(), Index{0});
  const Index row_bytes = row_length * element_bytes;
  const Index rows_per_task = std::max<Index>(1, kBlock / std::max<Index>(1, row_bytes));
  const Index work = shape.outer * row_length;
  parallel_blocks(shape.outer, rows_per_task, work, [&](Index begin, Index end, int) {
    for (Index row = begin; row < end; ++row) {
      Index at_whole = row * row_bytes;
      for (std::size_t i = 0; i < lengths.size(); ++i) {
        const Index bytes = lengths[i] * element_bytes;
        if (bytes != 0) copy(i, row * bytes, at_whole, static_cast<std::size_t>(bytes));
        at_whole += bytes;
      }
    }
  });
}

}  // namespace

ConcatenateShape ConcatenateShape::infer(const std::vector<Shape>& inputs, Index axis) {
  if (inputs.empty()) fail(kOp, ": tensors must hold at least one tensor, got none");
  const Shape& first = inputs.front();
  const Index ndim = static_cast<Index>(first.size());
  if (axis < -ndim || axis >= ndim) {
    fail(kOp, ": dim ", axis, " is out of range for ", ndim, " axes (shape = ", shape_text(first),
         ")");
  }
  const std::size_t place = static_cast<std::size_t>(axis < 0 ? axis + ndim : axis);
  ConcatenateShape shape;
  shape.output = first;
  shape.output[place] = 0;
  shape.outer = size_of(first, 0, place);
  const Index inner = size_of(first, place + 1, first.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!fit(inputs[i], first, place)) {
      fail(kOp, ": tensor ", i, " has shape ", shape_text(inputs[i]), ", but tensor 0 has ",
           shape_text(first), "; they may differ along dim ", place, " only");
    }
    const Index length = inputs[i][place];
    if (length < 0 || __builtin_add_overflow(shape.output[place], length, &shape.output[place])) {
      fail(kOp, ": lengths along dim ", place,
           " must not be negative and must fit in 64 bits together, got ", shape_text(inputs[i]));
    }
    shape.lengths.push_back(checked_product(kOp, inputs[i][place], inner));
  }
  checked_product(kOp, shape.outer, checked_product(kOp, shape.output[place], inner));
  return shape;
}

void concatenate(const ConcatenateShape& shape, Index element_bytes,
                 const std::vector<Span<const unsigned char>>& inputs, Span<unsigned char> output) {
  assert(inputs.size() == shape.lengths.size());
  for_each_piece(shape, element_bytes,
                 [&](std::size_t i, Index at_part, Index at_whole, std::size_t bytes) {
                   std::memcpy(output.data + at_whole, inputs[i].data + at_part, bytes);
                 });
}

void split(const ConcatenateShape& shape, Index element_bytes, Span<const unsigned char> whole,
           const std::vector<Span<unsigned char>>& parts) {
  assert(parts.size() == shape.lengths.size());
  for_each_piece(shape, element_bytes,
                 [&](std::size_t i, Index at_part, Index at_whole, std::size_t bytes) {
                   if (parts[i].data == nullptr) return;
                   std::memcpy(parts[i].data + at_part, whole.data + at_whole, bytes);
                 });
}

}  // namespace convolite
