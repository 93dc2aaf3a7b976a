// linear and matmul against three loops.
#include <convolite/linear.h>
#include <gtest/gtest.h>

#include "naive/gemm.h"
#include "support/arrays.h"
#include "support/cases.h"
#include "support/settings.h"

namespace convolite::testing {
namespace {

struct Operands {
  std::vector<double> input, weight, bias, grad_output;
};

struct Answers {
  std::vector<double> output, grad_input, grad_weight, grad_bias;
};

Answers answers(const LinearShape& shape, const Operands& given) {
  const Index n = shape.batch, in = shape.in_features, out = shape.out_features;
  Answers result{naive_gemm(n, out, in, given.input, naive_transpose(out, in, given.weight)),
                 naive_gemm(n, in, out, given.grad_output, given.weight),
                 naive_gemm(out, in, n, naive_transpose(n, out, given.grad_output), given.input),
                 std::vector<double>(out, 0.0)};
  for (Index i = 0; i < n * out; ++i) {
    result.output[i] += given.bias[i % out];
    result.grad_bias[i % out] += given.grad_output[i];
  }
  return result;
}

template <class T>
void check_passes(const LinearShape& shape, const Operands& given, const Answers& values,
                  const Answers& scale) {
  const Argument<T> input(given.input), weight(given.weight), bias(given.bias),
      grad_output(given.grad_output);
  check_everywhere<T>({values.output, scale.output}, [&](Edge edge, Span<T> output) {
    linear_forward<T>(shape, input(edge), weight(edge), bias(edge), Activation::none, output);
  });
  check_everywhere<T>({values.grad_input, scale.grad_input}, [&](Edge edge, Span<T> output) {
    linear_backward_input<T>(shape, grad_output(edge), weight(edge), output);
  });
  check_everywhere<T>({values.grad_weight, scale.grad_weight}, [&](Edge edge, Span<T> output) {
    linear_backward_weight<T>(shape, grad_output(edge), input(edge), output);
  });
  check_everywhere<T>({values.grad_bias, scale.grad_bias}, [&](Edge edge, Span<T> output) {
    linear_backward_bias<T>(shape, grad_output(edge), output);
  });
}

class LinearCases : public ::testing::TestWithParam<Case> {
 protected:
  static LinearShape shape() {
    return LinearShape::infer(GetParam()["m"], GetParam()["k"], GetParam()["n"]);
  }
};

TEST_P(LinearCases, integers_give_the_exact_sums) {
  Numbers numbers(1);
  const LinearShape s = shape();
  const Operands given{numbers.integers(s.input_size()), numbers.integers(s.weight_size()),
                       numbers.integers(s.out_features), numbers.integers(s.output_size())};
  const Answers values = answers(s, given);
  check_passes<float>(s, given, values, {});
  check_passes<double>(s, given, values, {});
}

TEST_P(LinearCases, normal_numbers_err_by_rounding_only) {
  Numbers numbers(2);
  const LinearShape s = shape();
  const Operands given{numbers.normals(s.input_size()), numbers.normals(s.weight_size()),
                       numbers.normals(s.out_features), numbers.normals(s.output_size())};
  const Operands sizes{absolute(given.input), absolute(given.weight), absolute(given.bias),
                       absolute(given.grad_output)};
  const Answers values = answers(s, given), scale = answers(s, sizes);
  check_passes<float>(s, given, values, scale);
  check_passes<double>(s, given, values, scale);
}

TEST_P(LinearCases, matmul_gives_the_exact_sums) {
  const Index m = GetParam()["m"], n = GetParam()["n"], k = GetParam()["k"];
  Numbers numbers(3);
  const auto a = numbers.integers(m * k), b = numbers.integers(k * n);
  const Argument<float> left(a), right(b);
  check_everywhere<float>({naive_gemm(m, n, k, a, b), {}}, [&](Edge edge, Span<float> output) {
    matmul<float>(MatmulShape::infer(m, k, k, n), left(edge), right(edge), output);
  });
}

INSTANTIATE_TEST_SUITE_P(rows, LinearCases, ::testing::ValuesIn(load_cases("gemm", "test")),
                         [](const auto& row) { return row.param.name(); });

TEST(LinearShape, refuses_impossible_numbers) {
  EXPECT_EQ("linear: batch must not be negative, got -1",
            message_of([] { LinearShape::infer(-1, 3, 4); }));
  EXPECT_EQ("linear: in_features must be from 0 to 268435455, got -2",
            message_of([] { LinearShape::infer(1, -2, 4); }));
  EXPECT_EQ("matmul: a has 3 columns but b has 4 rows (a.shape = (2, 3), b.shape = (4, 5))",
            message_of([] { MatmulShape::infer(2, 3, 4, 5); }));
}

}  // namespace
}  // namespace convolite::testing
