// Dropout in one pass over the input. Bound by memory, so plain loops do.
#include <convolite/dropout.h>
#include <convolite/error.h>

#include <algorithm>
#include <cassert>

#include "runtime/threads.h"

namespace convolite {
namespace {

constexpr Index kBlock = 1 << 14;  // elements of one task: input and output stay within L2

template <class Body>
void for_each_block(const DropoutShape& shape, Body&& body) {
  const Index draws_per_task = std::max<Index>(1, kBlock / std::max<Index>(1, shape.length));
  parallel_blocks(shape.draws, draws_per_task, shape.size(),
                  [&](Index begin, Index end, int) { body(begin, end); });
}

template <class T>
void blank(const DropoutShape& shape, T scale, const T* input, const unsigned char* kept,
           Index begin, Index end, T* output) {
  for (Index i = begin; i < end; ++i) {
    for (Index j = i * shape.length; j < (i + 1) * shape.length; ++j) {
      output[j] = kept[i] != 0 ? input[j] * scale : T(0);
    }
  }
}

}  // namespace

DropoutShape DropoutShape::infer(Index size, Index draws) {
  const Index length = draws == 0 ? 1 : size / draws;
  if (draws * length != size) {
    fail("dropout: noise must cut input into equal parts, got ", draws, " for ", size, " elements");
  }
  return {draws, length};
}

template <class T>
void dropout_forward(const DropoutShape& shape, T scale, float probability, Span<const T> input,
                     Span<const float> noise, Span<T> output, Span<unsigned char> kept) {
  assert(input.size == shape.size() && output.size == shape.size() && kept.size == shape.draws);
  for_each_block(shape, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) kept[i] = noise[i] >= probability;
    blank(shape, scale, input.data, kept.data, begin, end, output.data);
  });
}

template <class T>
void dropout_backward(const DropoutShape& shape, T scale, Span<const T> grad_output,
                      Span<const unsigned char> kept, Span<T> grad_input) {
  assert(grad_output.size == shape.size() && grad_input.size == shape.size());
  for_each_block(shape, [&](Index begin, Index end) {
    blank(shape, scale, grad_output.data, kept.data, begin, end, grad_input.data);
  });
}

#define CONVOLITE_INSTANTIATE(T)                                                                   \
  template void dropout_forward(const DropoutShape&, T, float, Span<const T>, Span<const float>,   \
                                Span<T>, Span<unsigned char>);                                     \
  template void dropout_backward(const DropoutShape&, T, Span<const T>, Span<const unsigned char>, \
                                 Span<T>);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
