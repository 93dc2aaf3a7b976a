// Gathering of rows and images against their definition, pixel by pixel.
#include <convolite/gather.h>
#include <gtest/gtest.h>

#include "support/arrays.h"
#include "support/settings.h"

namespace convolite::testing {
namespace {

const Nchw kImages{5, 2, 4, 6};
const std::vector<Index> kIndices{4, 0, 4, 2, 1, 3, 0};
const std::vector<float> kMean{0.25f, 0.5f}, kStd{0.5f, 2.0f};
const std::vector<std::int32_t> kShiftY{0, 1, -1, 3, -4, 100, std::numeric_limits<int>::min()};
const std::vector<std::int32_t> kShiftX{0, -2, 5, 6, -6, std::numeric_limits<int>::max(), 1};
const std::vector<unsigned char> kFlip{0, 1, 0, 1, 255, 0, 1};

std::vector<unsigned char> pixels() {
  std::vector<unsigned char> values;
  for (Index i = 0; i < kImages.size(); ++i) values.push_back(static_cast<unsigned char>(i * 7));
  return values;
}

// The value at (y, x) of the moved and mirrored image `indices[i]`, before normalisation.
template <class Pixel>
float moved(const std::vector<Pixel>& images, std::size_t i, Index c, Index y, Index x) {
  if (kFlip[i]) x = kImages.w - 1 - x;
  const Index source_y = y - kShiftY[i], source_x = x - kShiftX[i];
  if (source_y < 0 || source_y >= kImages.h || source_x < 0 || source_x >= kImages.w) return 0;
  const Index plane = kIndices[i] * kImages.c + c;
  return images[(plane * kImages.h + source_y) * kImages.w + source_x];
}

template <class Pixel>
void check_images(const std::vector<Pixel>& images, float divisor) {
  std::vector<double> expected;
  for (std::size_t i = 0; i < kIndices.size(); ++i) {
    for (Index c = 0; c < kImages.c; ++c) {
      for (Index y = 0; y < kImages.h; ++y) {
        for (Index x = 0; x < kImages.w; ++x) {
          expected.push_back((moved(images, i, c, y, x) / divisor - kMean[c]) / kStd[c]);
        }
      }
    }
  }
  const Argument<Index> indices(kIndices);
  const Argument<float> mean(kMean), std(kStd);
  const Argument<std::int32_t> shift_y(kShiftY), shift_x(kShiftX);
  const Argument<unsigned char> flip(kFlip);
  const Argument<Pixel> input(images);
  for (const Edge edge : {Edge::begin, Edge::end}) {
    const Placement placement{shift_y(edge), shift_x(edge), flip(edge)};
    const auto shape =
        GatherImagesShape::infer(kImages, indices(edge), mean(edge), std(edge), placement);
    const Result<float> output(shape.output_size(), edge);
    gather_images<Pixel>(shape, input(edge), indices(edge), mean(edge), std(edge), placement,
                         output.span());
    EXPECT_TRUE(output.fence_is_intact());
    EXPECT_TRUE(matches<float>(output.span(), {expected, {}}));
  }
}

TEST(Gather, images_are_moved_mirrored_and_normalised) {
  const std::vector<unsigned char> bytes = pixels();
  check_images(bytes, 255.0f);
  check_images(std::vector<float>(bytes.begin(), bytes.end()), 1.0f);
}

TEST(Gather, rows_are_copied) {
  const std::vector<unsigned char> bytes = pixels();
  const Index row_bytes = kImages.c * kImages.pixels();
  const Argument<unsigned char> rows(bytes);
  const Argument<Index> indices(kIndices);
  for (const Edge edge : {Edge::begin, Edge::end}) {
    const auto shape = GatherRowsShape::infer(kImages.n, row_bytes, indices(edge));
    const Result<unsigned char> output(shape.batch * row_bytes, edge);
    gather_rows(shape, rows(edge), indices(edge), output.span());
    EXPECT_TRUE(output.fence_is_intact());
    for (Index i = 0; i < output.span().size; ++i) {
      EXPECT_EQ(output.span()[i], bytes[kIndices[i / row_bytes] * row_bytes + i % row_bytes]);
    }
  }
}

TEST(Gather, nothing_outside_the_data_set_is_read) {
  for (const Index outside : {Index{-1}, kImages.n, std::numeric_limits<Index>::max()}) {
    std::vector<Index> given{0, outside};
    const Span<const Index> indices{given.data(), 2};
    const std::string text =
        ": index " + std::to_string(outside) + " at position 1 is outside [0, 5)";
    EXPECT_EQ(message_of([&] { GatherRowsShape::infer(kImages.n, 3, indices); }),
              "gather_rows" + text);
    EXPECT_EQ(message_of([&] {
                GatherImagesShape::infer(kImages, indices, {kMean.data(), 2}, {kStd.data(), 2}, {});
              }),
              "gather_images" + text);
  }
}

TEST(Gather, sizes_must_agree) {
  std::vector<Index> given{0, 1};
  const Span<const Index> indices{given.data(), 2};
  const Span<const float> two{kMean.data(), 2}, one{kMean.data(), 1};
  EXPECT_EQ(message_of([&] { GatherImagesShape::infer(kImages, indices, one, two, {}); }),
            "gather_images: mean must have 2 values, got 1");
  EXPECT_EQ(message_of([&] { GatherImagesShape::infer(kImages, indices, two, one, {}); }),
            "gather_images: std must have 2 values, got 1");
  Placement placement;
  placement.shift_x = {kShiftX.data(), 3};
  EXPECT_EQ(message_of([&] { GatherImagesShape::infer(kImages, indices, two, two, placement); }),
            "gather_images: shift_x must have 2 values, got 3");
}

}  // namespace
}  // namespace convolite::testing
