// Dropout against its rule, element by element.
#include <convolite/dropout.h>
#include <gtest/gtest.h>

#include <limits>

#include "support/arrays.h"
#include "support/settings.h"

namespace convolite::testing {
namespace {

struct Sizes {
  Index draws, length;
};

template <class T>
void check(Sizes sizes, float probability) {
  Numbers numbers(1);
  const T scale = T(1.5);
  const std::vector<double> values = numbers.integers(sizes.draws * sizes.length);
  std::vector<double> draws;
  for (Index i = 0; i < sizes.draws; ++i) {
    draws.push_back(static_cast<double>(numbers.between(0, 15)) / 16);
  }
  std::vector<double> kept;
  Expected blanked;
  for (const double draw : draws) kept.push_back(draw >= static_cast<double>(probability));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t part = i / static_cast<std::size_t>(sizes.length);
    blanked.values.push_back(kept[part] != 0 ? 1.5 * values[i] : 0);
  }
  const DropoutShape shape = DropoutShape::infer(sizes.draws * sizes.length, sizes.draws);
  const Argument<T> input(values);
  const Argument<float> noise(draws);
  const Argument<unsigned char> mask(kept);
  check_everywhere<T>(blanked, [&](Edge edge, Span<T> output) {
    const Result<unsigned char> found(sizes.draws, edge);
    dropout_forward<T>(shape, scale, probability, input(edge), noise(edge), output, found.span());
    ASSERT_TRUE(found.fence_is_intact());
    ASSERT_TRUE(matches<unsigned char>(found.span(), {kept, {}}));
  });
  check_everywhere<T>(blanked, [&](Edge edge, Span<T> grad_input) {
    dropout_backward<T>(shape, scale, input(edge), mask(edge), grad_input);
  });
}

TEST(Dropout, blanks_what_its_draw_says) {
  for (const Sizes sizes :
       {Sizes{1, 1}, Sizes{37, 1}, Sizes{50021, 1}, Sizes{6, 35}, Sizes{3, 40000}, Sizes{4, 0}}) {
    for (const float probability : {0.25f, 0.5f, 1.0f}) {
      check<float>(sizes, probability);
      check<double>(sizes, probability);
    }
  }
}

TEST(Dropout, leaves_zero_where_it_blanks_what_is_no_number) {
  const Argument<float> input(std::vector<float>{std::numeric_limits<float>::infinity(),
                                                 std::numeric_limits<float>::quiet_NaN()});
  const Argument<float> noise(std::vector<float>{0.0f, 0.0f});
  check_everywhere<float>({{0, 0}, {}}, [&](Edge edge, Span<float> output) {
    const Result<unsigned char> kept(2, edge);
    dropout_forward<float>({2, 1}, 2.0f, 0.5f, input(edge), noise(edge), output, kept.span());
  });
}

TEST(DropoutShape, refuses_draws_that_do_not_cut_the_input_evenly) {
  EXPECT_EQ("", message_of([] { DropoutShape::infer(12, 4); }));
  EXPECT_EQ("", message_of([] { DropoutShape::infer(0, 0); }));
  EXPECT_NE("", message_of([] { DropoutShape::infer(12, 5); }));
  EXPECT_NE("", message_of([] { DropoutShape::infer(12, 0); }));
}

}  // namespace
}  // namespace convolite::testing
