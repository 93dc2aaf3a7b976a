// Concatenation against coordinates, and splitting against its inverse.
#include <convolite/concatenate.h>
#include <gtest/gtest.h>

#include "support/arrays.h"
#include "support/settings.h"

namespace convolite::testing {
namespace {

using Lengths = std::vector<Index>;

Index product(const Lengths& lengths, std::size_t begin = 0) {
  Index size = 1;
  for (std::size_t i = begin; i < lengths.size(); ++i) size *= lengths[i];
  return size;
}

template <class T>
Span<const unsigned char> bytes_of(Span<const T> span) {
  return {reinterpret_cast<const unsigned char*>(span.data), span.size * Index{sizeof(T)}};
}
template <class T>
Span<unsigned char> bytes_of(Span<T> span) {
  return {reinterpret_cast<unsigned char*>(span.data), span.size * Index{sizeof(T)}};
}

template <class T>
void check(const std::vector<Lengths>& shapes, std::size_t axis) {
  const ConcatenateShape shape = ConcatenateShape::infer(shapes, static_cast<Index>(axis));
  const Index inner = product(shapes[0], axis + 1), width = shape.output[axis];
  std::vector<double> whole(static_cast<std::size_t>(product(shape.output)));
  std::vector<std::vector<double>> parts;
  Index begin = 0;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    parts.push_back(Numbers(i).integers(product(shapes[i])));
    const Index row = shapes[i][axis] * inner;
    for (Index at = 0; at < product(shapes[i]); ++at) {
      const Index place = (at / row * width + begin) * inner + at % row;
      whole[static_cast<std::size_t>(place)] = parts[i][static_cast<std::size_t>(at)];
    }
    begin += shapes[i][axis];
  }
  std::vector<Argument<T>> arguments(parts.begin(), parts.end());
  check_everywhere<T>({whole, {}}, [&](Edge edge, Span<T> output) {
    std::vector<Span<const unsigned char>> inputs;
    for (const Argument<T>& argument : arguments) inputs.push_back(bytes_of(argument(edge)));
    concatenate(shape, sizeof(T), inputs, bytes_of(output));
  });
  const Argument<T> joined(whole);
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    check_everywhere<T>({parts[i], {}}, [&](Edge edge, Span<T> part) {
      std::vector<std::vector<T>> others;
      std::vector<Span<unsigned char>> outputs;
      for (const auto& values : parts) others.emplace_back(values.size());
      for (auto& other : others) {
        outputs.push_back(bytes_of(Span<T>(other.data(), static_cast<Index>(other.size()))));
      }
      outputs[i] = bytes_of(part);
      split(shape, sizeof(T), bytes_of(joined(edge)), outputs);
    });
  }
}

TEST(Concatenate, joins_and_splits_along_any_axis) {
  const std::pair<std::vector<Lengths>, std::size_t> problems[] = {
      {{{5}}, 0},
      {{{2}, {0}, {7}}, 0},
      {{{2, 3, 4}, {1, 3, 4}}, 0},
      {{{2, 3, 4}, {2, 1, 4}, {2, 0, 4}}, 1},
      {{{2, 3, 4}, {2, 3, 1}}, 2},
      {{{0, 3}, {0, 2}}, 1},
      {{{40, 3, 50, 9}, {40, 7, 50, 9}}, 1}};
  for (const auto& [shapes, axis] : problems) {
    check<float>(shapes, axis);
    check<double>(shapes, axis);
  }
}

TEST(ConcatenateShape, refuses_what_does_not_fit) {
  const auto infer = [](const std::vector<Lengths>& shapes, Index axis) {
    return message_of([&] { ConcatenateShape::infer(shapes, axis); });
  };
  EXPECT_EQ("", infer({{2, 3}, {4, 3}}, -2));
  EXPECT_EQ("cat: tensors must hold at least one tensor, got none", infer({}, 0));
  EXPECT_EQ("cat: dim 1 is out of range for 1 axes (shape = (2,))", infer({{2}}, 1));
  EXPECT_EQ(
      "cat: tensor 1 has shape (3, 2), but tensor 0 has (2, 3); they may differ along dim 0 only",
      infer({{2, 3}, {3, 2}}, 0));
  EXPECT_NE("", infer({{2, 3}, {3}}, 0));
  const Index quarter = Index{1} << 62;
  EXPECT_EQ(
      "cat: lengths along dim 0 must not be negative and must fit in 64 bits together, got (-2,)",
      infer({{5}, {-2}}, 0));
  EXPECT_NE("", infer({{quarter}, {quarter}, {quarter}, {quarter}}, 0));
  EXPECT_NE("", infer({{4, quarter}, {0, quarter}}, 0));
}

}  // namespace
}  // namespace convolite::testing
