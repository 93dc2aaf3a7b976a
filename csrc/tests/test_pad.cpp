// Padding against coordinates, element by element.
#include <convolite/pad.h>
#include <gtest/gtest.h>

#include <limits>

#include "support/arrays.h"
#include "support/settings.h"

namespace convolite::testing {
namespace {

using Lengths = std::vector<Index>;

// Where element `i` of the output comes from, or -1 for the border.
Index source_of(const Lengths& input, const PadShape& shape, const Lengths& widths, Index i) {
  Index source = 0, stride = 1;
  for (std::size_t back = 0; back < input.size(); ++back) {
    const Index length = input[input.size() - 1 - back];
    const Index padded = shape.output[input.size() - 1 - back];
    const Index place = i % padded - (2 * back < widths.size() ? widths[2 * back] : 0);
    i /= padded;
    if (place < 0 || place >= length) return -1;
    source += place * stride;
    stride *= length;
  }
  return source;
}

template <class T>
Span<const unsigned char> bytes_of(Span<const T> span) {
  return {reinterpret_cast<const unsigned char*>(span.data), span.size * Index{sizeof(T)}};
}

template <class T>
void check(const Lengths& input, const Lengths& widths) {
  const PadShape shape = PadShape::infer(input, widths);
  Index size = 1;
  for (const Index length : input) size *= length;
  const std::vector<double> values = Numbers(1).integers(size);
  Expected expected;
  for (Index i = 0; i < shape.size; ++i) {
    const Index source = source_of(input, shape, widths, i);
    expected.values.push_back(source < 0 ? 7 : values[static_cast<std::size_t>(source)]);
  }
  const Argument<T> from(values);
  const Argument<T> border(std::vector<double>{7});
  check_everywhere<T>(expected, [&](Edge edge, Span<T> output) {
    pad(shape, sizeof(T), bytes_of(from(edge)), bytes_of(border(edge)),
        {reinterpret_cast<unsigned char*>(output.data), output.size * Index{sizeof(T)}});
  });
}

TEST(Pad, puts_a_border_around_the_last_axes_or_cuts_them) {
  const std::pair<Lengths, Lengths> problems[] = {{{}, {}},
                                                  {{5}, {}},
                                                  {{5}, {2, 3}},
                                                  {{5}, {-2, 3}},
                                                  {{5}, {-5, 4}},
                                                  {{5}, {3, -5}},
                                                  {{5}, {-2, -3}},
                                                  {{0}, {1, 2}},
                                                  {{2, 3, 4}, {1, 2}},
                                                  {{2, 3, 4}, {1, 2, 3, 0}},
                                                  {{2, 3, 4}, {0, 0, 0, 0, 1, 1}},
                                                  {{2, 3, 4}, {0, 0, -1, 2}},
                                                  {{3, 2, 4, 5}, {-1, 2, 0, 0, 1, -1}},
                                                  {{3, 0, 4}, {1, 1, 0, 0}},
                                                  {{6, 5, 60, 41}, {1, 2, 3, 4}}};
  for (const auto& [input, widths] : problems) {
    check<float>(input, widths);
    check<double>(input, widths);
  }
}

TEST(PadShape, merges_axes_without_a_border_and_refuses_wrong_widths) {
  EXPECT_EQ(2u, PadShape::infer({2, 3, 4, 5}, {0, 0, 1, 1}).axes.size());
  const auto infer = [](const Lengths& input, const Lengths& widths) {
    return message_of([&] { PadShape::infer(input, widths); });
  };
  EXPECT_EQ("pad: pad must hold two widths for each of at most 1 axes, got (1,)", infer({2}, {1}));
  EXPECT_NE("", infer({2}, {1, 1, 1, 1}));
  EXPECT_EQ("pad: cannot cut 3 from an axis of 2 (input.shape = (2,), pad = (-2, -1))",
            infer({2}, {-2, -1}));
  constexpr Index most = (Index{1} << 31) - 1;
  EXPECT_NE("", infer({1, 1}, {most, most, most, most}));
  const Index least = std::numeric_limits<Index>::min(), greatest = -(least + 1);
  EXPECT_EQ("pad: widths must be smaller than 2^60, got (-9223372036854775808, 0)",
            infer({5}, {least, 0}));
  for (const Lengths& widths : {Lengths{greatest, greatest},
                                {least, least},
                                {greatest, least},
                                {Index{1} << 62, Index{1} << 62}}) {
    EXPECT_NE("", infer({5}, widths));
  }
}

}  // namespace
}  // namespace convolite::testing
