// Batch norm in training over cases/norm.csv. Bytes are those of the fewest passes over memory: two
// reads and a write forward, twice two reads and a write backward. Checked by what defines it: with
// weight 1 and bias 0 every channel of the output has mean 0 and variance 1, and its gradient is
// orthogonal to both 1 and the output.
#include <convolite/batch_norm.h>

#include <cmath>

#include "register.h"
#include "report.h"
#include "support/arrays.h"

namespace convolite::benchmarks {
namespace {

using testing::Numbers;

constexpr double kEps = 1e-5;
constexpr double kTolerance = 1e-3;

struct Problem {
  BatchNormShape shape;
  Array input, grad_output, output, grad_input;
  Array mean, inv_std, grad_weight, grad_bias;

  explicit Problem(const Case& row)
      : shape(BatchNormShape::infer({row["n"], row["c"], row["h"], row["w"]}, true)),
        mean(shape.c),
        inv_std(shape.c),
        grad_weight(shape.c),
        grad_bias(shape.c) {
    Numbers numbers(1);
    const auto x = numbers.normals(shape.size()), g = numbers.normals(shape.size());
    input.assign(x.begin(), x.end());
    grad_output.assign(g.begin(), g.end());
    output.resize(x.size());
    grad_input.resize(x.size());
  }

  void forward() {
    batch_norm_forward_training<float>(shape, span(input), {}, {}, kEps, Activation::none,
                                       span(output), span(mean), span(inv_std));
  }
  void backward() {
    batch_norm_backward<float>(shape, span(grad_output), span(input), {}, span(mean), span(inv_std),
                               true, Activation::none, span(grad_input), span(grad_weight),
                               span(grad_bias));
  }

  Index bytes(Index passes) const {
    return passes * shape.size() * static_cast<Index>(sizeof(float));
  }

  // The mean over each channel of a(i) * b(i) is `expected`.
  template <class A, class B>
  bool products_average(A a, B b, double expected) const {
    for (Index c = 0; c < shape.c; ++c) {
      double sum = 0;
      for (Index n = 0; n < shape.n; ++n) {
        const Index first = (n * shape.c + c) * shape.length;
        for (Index i = first; i < first + shape.length; ++i) sum += a(i) * b(i);
      }
      if (!(std::fabs(sum / static_cast<double>(shape.count()) - expected) < kTolerance)) {
        return false;
      }
    }
    return true;
  }
};

void run_forward(benchmark::State& state, const Case& row) {
  Problem& p = problem_of<Problem>(row);
  const auto one = [](Index) { return 1.0; };
  const auto y = [&](Index i) { return static_cast<double>(p.output[i]); };
  checked_loop(
      state, [&] { return p.products_average(y, one, 0) && p.products_average(y, y, 1); },
      [&] { p.forward(); });
  report_bytes(state, p.bytes(3));
}

void run_backward(benchmark::State& state, const Case& row) {
  Problem& p = problem_of<Problem>(row);
  p.forward();
  const auto one = [](Index) { return 1.0; };
  const auto y = [&](Index i) { return static_cast<double>(p.output[i]); };
  const auto g = [&](Index i) { return static_cast<double>(p.grad_input[i]); };
  checked_loop(
      state, [&] { return p.products_average(g, one, 0) && p.products_average(g, y, 0); },
      [&] { p.backward(); });
  report_bytes(state, p.bytes(5));
}

}  // namespace

void register_norm() {
  for (const Case& row : testing::load_cases("norm", "bench")) {
    const std::string name = "batch_norm/" + row.name();
    add(name + "/forward_training", [row](auto& state) { run_forward(state, row); });
    add(name + "/backward", [row](auto& state) { run_backward(state, row); });
  }
}

}  // namespace convolite::benchmarks
