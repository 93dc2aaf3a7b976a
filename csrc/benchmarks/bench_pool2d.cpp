// Pooling over cases/pool2d.csv. Bytes are the input, the output and, for max, one byte of offset
// for each output. Checked in full against the naive oracle.
#include <convolite/pool2d.h>

#include <cmath>

#include "naive/pool2d.h"
#include "register.h"
#include "report.h"
#include "support/arrays.h"

namespace convolite::benchmarks {
namespace {

using testing::NaivePool2d;
using testing::Numbers;

std::vector<double> as_doubles(const Array& values) {
  return {values.begin(), values.end()};
}

// Averages are rounded twice.
bool is_near(const Array& actual, const std::vector<double>& expected) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (!(std::fabs(actual[i] - expected[i]) <= 1e-5)) return false;
  }
  return true;
}

struct Problem {
  NaivePool2d naive;
  Pool2dShape shape;
  Array input, grad_output, output, grad_input;
  std::vector<std::uint8_t> offsets;

  explicit Problem(const Case& row)
      : naive{row["n"],          row["c"],        row["h"],
              row["w"],          row["kh"],       row["kw"],
              row["stride_h"],   row["stride_w"], row["pad_top"],
              row["pad_bottom"], row["pad_left"], row["pad_right"],
              row["dil_h"],      row["dil_w"],    row["ceil_mode"] != 0},
        shape(Pool2dShape::infer("bench", {naive.n, naive.c, naive.h, naive.w},
                                 {{naive.kh, naive.kw},
                                  {naive.stride_h, naive.stride_w},
                                  {naive.top, naive.bottom, naive.left, naive.right},
                                  {naive.dil_h, naive.dil_w},
                                  naive.ceil_mode})) {
    Numbers numbers(1);
    const auto x = numbers.integers(naive.input_size()), g = numbers.integers(naive.output_size());
    input.assign(x.begin(), x.end());
    grad_output.assign(g.begin(), g.end());
    output.resize(g.size());
    offsets.resize(g.size());
    grad_input.resize(x.size());
  }

  Index bytes() const { return static_cast<Index>(sizeof(float) * (input.size() + output.size())); }
  Index max_bytes() const { return bytes() + static_cast<Index>(offsets.size()); }

  std::vector<double> expected_max(std::vector<Index>& taps) const {
    return naive.max_forward(as_doubles(input), taps);
  }
};

void run_max_forward(benchmark::State& state, const Case& row) {
  Problem& p = problem_of<Problem>(row);
  checked_loop(
      state,
      [&] {
        std::vector<Index> taps;
        const std::vector<double> expected = p.expected_max(taps);
        return as_doubles(p.output) == expected &&
               std::vector<Index>(p.offsets.begin(), p.offsets.end()) == taps;
      },
      [&] {
        max_pool2d_forward<float, std::uint8_t>(p.shape, span(p.input), Activation::none,
                                                span(p.output), span(p.offsets));
      });
  report_bytes(state, p.max_bytes());
}

void run_max_backward(benchmark::State& state, const Case& row) {
  Problem& p = problem_of<Problem>(row);
  std::vector<Index> taps;
  p.expected_max(taps);
  p.offsets.assign(taps.begin(), taps.end());
  checked_loop(
      state,
      [&] {
        return as_doubles(p.grad_input) == p.naive.max_backward(as_doubles(p.grad_output), taps);
      },
      [&] {
        max_pool2d_backward<float, std::uint8_t>(p.shape, span(p.grad_output), span(p.offsets),
                                                 Activation::none, {}, span(p.grad_input));
      });
  report_bytes(state, p.max_bytes());
}

void run_average_forward(benchmark::State& state, const Case& row) {
  Problem& p = problem_of<Problem>(row);
  checked_loop(
      state, [&] { return is_near(p.output, p.naive.avg_forward(as_doubles(p.input), true, 0)); },
      [&] { avg_pool2d_forward<float>(p.shape, {}, span(p.input), span(p.output)); });
  report_bytes(state, p.bytes());
}

void run_average_backward(benchmark::State& state, const Case& row) {
  Problem& p = problem_of<Problem>(row);
  checked_loop(
      state,
      [&] {
        return is_near(p.grad_input, p.naive.avg_backward(as_doubles(p.grad_output), true, 0));
      },
      [&] { avg_pool2d_backward<float>(p.shape, {}, span(p.grad_output), span(p.grad_input)); });
  report_bytes(state, p.bytes());
}

}  // namespace

void register_pool2d() {
  for (const Case& row : testing::load_cases("pool2d", "bench")) {
    const std::string name = "pool2d/" + row.name();
    add(name + "/max_forward", [row](auto& state) { run_max_forward(state, row); });
    add(name + "/max_backward", [row](auto& state) { run_max_backward(state, row); });
    add(name + "/average_forward", [row](auto& state) { run_average_forward(state, row); });
    add(name + "/average_backward", [row](auto& state) { run_average_backward(state, row); });
  }
}

}  // namespace convolite::benchmarks
