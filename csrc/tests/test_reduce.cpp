// Reductions over any axes against a loop that drops coordinates.
#include <convolite/reduce.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/arrays.h"
#include "support/settings.h"

namespace convolite::testing {
namespace {

using Lengths = std::vector<Index>;

struct Problem {
  Lengths shape, axes;
};

bool is_reduced(const Problem& p, std::size_t axis) {
  return std::find(p.axes.begin(), p.axes.end(), static_cast<Index>(axis)) != p.axes.end();
}

// Which element of the result the element `i` of the input belongs to.
Index target_of(const Problem& p, Index i) {
  Index target = 0, stride = 1;
  for (std::size_t axis = p.shape.size(); axis-- > 0;) {
    const Index coordinate = i % p.shape[axis];
    i /= p.shape[axis];
    if (is_reduced(p, axis)) continue;
    target += coordinate * stride;
    stride *= p.shape[axis];
  }
  return target;
}

Index product(const Lengths& lengths) {
  Index size = 1;
  for (const Index length : lengths) size *= length;
  return size;
}

template <class T>
void check(const Problem& p, Reduction reduction) {
  const ReduceShape shape = ReduceShape::infer("reduce", reduction, p.shape, p.axes, false);
  const bool adds = reduction == Reduction::sum || reduction == Reduction::mean;
  const std::vector<double> values = Numbers(1).normals(product(p.shape));
  Expected expected{std::vector<double>(shape.output_size, 0.0),
                    std::vector<double>(shape.output_size, 0.0)};
  std::vector<bool> seen(shape.output_size, false);
  for (Index i = 0; i < product(p.shape); ++i) {
    const Index target = target_of(p, i);
    double& result = expected.values[target];
    if (adds) {
      const double share =
          reduction == Reduction::mean ? 1.0 / static_cast<double>(shape.count) : 1.0;
      result += values[i] * share;
      expected.scale[target] += std::fabs(values[i]) * share;
    } else if (!seen[target]) {
      result = values[i];
    } else {
      result = reduction == Reduction::maximum ? std::max(result, values[i])
                                               : std::min(result, values[i]);
    }
    seen[target] = true;
  }
  if (!adds) expected.scale.clear();
  const Argument<T> input(values);
  check_everywhere<T>(expected, [&](Edge edge, Span<T> output) {
    reduce<T>(reduction, shape, input(edge), output);
  });
}

// The last rows have several blocks along rows and along columns.
const Problem kProblems[] = {{{7}, {0}},
                             {{5, 33}, {1}},
                             {{5, 33}, {0}},
                             {{5, 33}, {0, 1}},
                             {{5, 33}, {}},
                             {{2, 3, 4, 5}, {0, 2}},
                             {{2, 3, 4, 5}, {1, 3}},
                             {{2, 3, 4, 5}, {0, 2, 3}},
                             {{3, 1, 4}, {1}},
                             {{50000}, {0}},
                             {{3, 17000}, {1}},
                             {{700, 70}, {0}},
                             {{9, 5, 41, 43}, {0, 2, 3}},
                             {{30, 2, 2500}, {0}},
                             {{90, 7, 60}, {1}}};

TEST(Reduce, drops_any_axes) {
  for (const Problem& problem : kProblems) {
    for (const Reduction reduction :
         {Reduction::sum, Reduction::mean, Reduction::maximum, Reduction::minimum}) {
      check<float>(problem, reduction);
      check<double>(problem, reduction);
    }
  }
}

template <class T>
void check_backward(const Problem& p, Reduction reduction) {
  const ReduceShape shape = ReduceShape::infer("reduce", reduction, p.shape, p.axes, false);
  const std::vector<double> upstream = Numbers(3).normals(shape.output_size);
  Expected expected;
  for (Index i = 0; i < product(p.shape); ++i) {
    const double count = reduction == Reduction::mean ? static_cast<double>(shape.count) : 1.0;
    expected.values.push_back(upstream[target_of(p, i)] / count);
  }
  expected.scale = absolute(expected.values);
  const Argument<T> grad_output(upstream);
  check_everywhere<T>(expected, [&](Edge edge, Span<T> grad_input) {
    reduce_backward<T>(reduction, shape, grad_output(edge), grad_input);
  });
}

TEST(Reduce, gives_every_summand_its_gradient) {
  for (const Problem& problem : kProblems) {
    for (const Reduction reduction : {Reduction::sum, Reduction::mean}) {
      check_backward<float>(problem, reduction);
      check_backward<double>(problem, reduction);
    }
  }
  check_backward<float>({{}, {}}, Reduction::mean);
  check_backward<float>({{3, 0, 2}, {1}}, Reduction::mean);
}

TEST(Reduce, nan_wins_over_every_extremum) {
  std::vector<double> values = Numbers(2).normals(100);
  values[57] = std::numeric_limits<double>::quiet_NaN();
  const Argument<float> input(values);
  for (const Reduction reduction : {Reduction::maximum, Reduction::minimum}) {
    const auto shape = ReduceShape::infer("reduce", reduction, {100}, {0}, false);
    check_everywhere<float>({{values[57]}, {}}, [&](Edge edge, Span<float> output) {
      reduce<float>(reduction, shape, input(edge), output);
    });
  }
}

TEST(ReduceShape, knows_kept_axes_and_refuses_wrong_ones) {
  const Lengths kept = {2, 1, 4};
  EXPECT_EQ(kept, ReduceShape::infer("sum", Reduction::sum, {2, 3, 4}, {-2}, true).output);
  const auto infer = [](Reduction reduction, const Lengths& shape, const Lengths& axes) {
    return message_of([&] { ReduceShape::infer("sum", reduction, shape, axes, false); });
  };
  EXPECT_NE("", infer(Reduction::sum, {2, 3}, {2}));
  EXPECT_NE("", infer(Reduction::sum, {2, 3}, {0, -2}));
  EXPECT_NE("", infer(Reduction::maximum, {2, 0}, {1}));
  EXPECT_EQ("", infer(Reduction::sum, {2, 0}, {1}));
}

}  // namespace
}  // namespace convolite::testing
