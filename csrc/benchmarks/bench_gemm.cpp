// matmul and the three passes of linear over cases/gemm.csv, where linear has batch m, n outputs
// and k inputs. Checked by a random vector t: C t must equal A (B t), exactly, on integers.
#include <convolite/linear.h>

#include "register.h"
#include "report.h"
#include "support/arrays.h"

namespace convolite::benchmarks {
namespace {

using testing::Numbers;

Array integers(Numbers& numbers, Index count) {
  const std::vector<double> values = numbers.integers(count);
  return {values.begin(), values.end()};
}

// Row-major or, with `transposed`, column-major (rows, columns) times a vector.
std::vector<double> times(const Array& matrix, Index rows, Index columns,
                          const std::vector<double>& vector, bool transposed) {
  std::vector<double> result(static_cast<std::size_t>(rows), 0.0);
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < columns; ++j) {
      result[i] += matrix[transposed ? j * rows + i : i * columns + j] * vector[j];
    }
  }
  return result;
}

// A (m, k) and B (k, n), each stored by rows or by columns.
struct Product {
  Index m, n, k;
  const Array &a, &b;
  bool a_by_columns, b_by_columns;

  bool equals(const Array& c) const {
    const std::vector<double> t = Numbers(7).integers(n);
    return times(c, m, n, t, false) ==
           times(a, m, k, times(b, k, n, t, b_by_columns), a_by_columns);
  }
};

struct Problem {
  Index m, n, k;
  LinearShape shape;
  Array input, weight, grad_output;  // (m, k), (n, k), (m, n)
  Array output, grad_input, grad_weight;

  explicit Problem(const Case& row)
      : m(row["m"]), n(row["n"]), k(row["k"]), shape(LinearShape::infer(m, k, n)) {
    Numbers numbers(1);
    input = integers(numbers, m * k);
    weight = integers(numbers, n * k);
    grad_output = integers(numbers, m * n);
    output.resize(grad_output.size());
    grad_input.resize(input.size());
    grad_weight.resize(weight.size());
  }

  double operations() const { return 2.0 * static_cast<double>(m * n * k); }
};

void run_matmul(benchmark::State& state, const Case& row) {
  Problem& p = problem_of<Problem>(row);
  const MatmulShape shape = MatmulShape::infer(p.m, p.k, p.k, p.n);
  const Product product{p.m, p.n, p.k, p.input, p.weight, false, false};
  checked_operations(
      state, p.operations(), [&] { return product.equals(p.output); },
      [&] { matmul<float>(shape, span(p.input), span(p.weight), span(p.output)); });
}

void run_forward(benchmark::State& state, const Case& row) {
  Problem& p = problem_of<Problem>(row);
  const Product product{p.m, p.n, p.k, p.input, p.weight, false, true};
  checked_operations(
      state, p.operations(), [&] { return product.equals(p.output); },
      [&] {
        linear_forward<float>(p.shape, span(p.input), span(p.weight), {}, Activation::none,
                              span(p.output));
      });
}

void run_backward_input(benchmark::State& state, const Case& row) {
  Problem& p = problem_of<Problem>(row);
  const Product product{p.m, p.k, p.n, p.grad_output, p.weight, false, false};
  checked_operations(
      state, p.operations(), [&] { return product.equals(p.grad_input); },
      [&] {
        linear_backward_input<float>(p.shape, span(p.grad_output), span(p.weight),
                                     span(p.grad_input));
      });
}

void run_backward_weight(benchmark::State& state, const Case& row) {
  Problem& p = problem_of<Problem>(row);
  const Product product{p.n, p.k, p.m, p.grad_output, p.input, true, false};
  checked_operations(
      state, p.operations(), [&] { return product.equals(p.grad_weight); },
      [&] {
        linear_backward_weight<float>(p.shape, span(p.grad_output), span(p.input),
                                      span(p.grad_weight));
      });
}

}  // namespace

void register_gemm() {
  for (const Case& row : testing::load_cases("gemm", "bench")) {
    const std::string name =
        "gemm/" + row.name() + "/" + row.text("m") + "x" + row.text("n") + "x" + row.text("k");
    add(name + "/matmul", [row](benchmark::State& state) { run_matmul(state, row); });
    add(name + "/linear_forward", [row](benchmark::State& state) { run_forward(state, row); });
    add(name + "/linear_backward_input",
        [row](benchmark::State& state) { run_backward_input(state, row); });
    add(name + "/linear_backward_weight",
        [row](benchmark::State& state) { run_backward_weight(state, row); });
  }
}

}  // namespace convolite::benchmarks
