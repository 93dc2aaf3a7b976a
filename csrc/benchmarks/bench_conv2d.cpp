// The three passes of conv2d over cases/conv2d.csv. Checked on slices: one pair of channels, or one
// image and channel, computed by the naive oracle and compared on integers: exactly, but for
// Winograd's method, which rounds.
#include <convolite/conv2d.h>

#include <algorithm>

#include "naive/conv2d.h"
#include "register.h"
#include "report.h"
#include "support/arrays.h"

namespace convolite::benchmarks {
namespace {

using testing::NaiveConv2d;
using testing::Numbers;

constexpr int kSlices = 3;

// Planes of `size` elements, those of [begin, end) in steps of `step`, as one array of doubles.
std::vector<double> planes(const Array& values, Index size, Index begin, Index end,
                           Index step = 1) {
  std::vector<double> result;
  for (Index plane = begin; plane < end; plane += step) {
    const auto first = values.begin() + plane * size;
    result.insert(result.end(), first, first + size);
  }
  return result;
}

// Equal, or when it `rounds` with errors whose root mean square is at most 1e-5 of that expected.
bool agree(const std::vector<double>& found, const std::vector<double>& expected, bool rounds) {
  if (!rounds) return found == expected;
  double error = 0, size = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    error += (found[i] - expected[i]) * (found[i] - expected[i]);
    size += expected[i] * expected[i];
  }
  return error <= 1e-10 * size;
}

struct Problem {
  NaiveConv2d naive;
  Conv2dShape shape;
  Index group_in, group_out;
  Array input, weight, grad_output, output, grad_input, grad_weight;

  explicit Problem(const Case& row)
      : naive{row["n"],         row["c"],       row["h"],          row["w"],
              row["oc"],        row["kh"],      row["kw"],         row["stride_h"],
              row["stride_w"],  row["pad_top"], row["pad_bottom"], row["pad_left"],
              row["pad_right"], row["dil_h"],   row["dil_w"],      row["groups"]},
        shape(Conv2dShape::infer({naive.n, naive.c, naive.h, naive.w},
                                 {naive.oc, naive.c / naive.groups, naive.kh, naive.kw},
                                 {naive.stride_h, naive.stride_w},
                                 {naive.top, naive.bottom, naive.left, naive.right},
                                 {naive.dil_h, naive.dil_w}, naive.groups)),
        group_in(naive.c / naive.groups),
        group_out(naive.oc / naive.groups) {
    Numbers numbers(1);
    for (auto [values, count] :
         {std::pair{&input, naive.input_size()}, std::pair{&weight, naive.weight_size()},
          std::pair{&grad_output, naive.output_size()}}) {
      const std::vector<double> drawn = numbers.integers(count);
      values->assign(drawn.begin(), drawn.end());
    }
    output.resize(grad_output.size());
    grad_input.resize(input.size());
    grad_weight.resize(weight.size());
  }

  double operations() const { return 2.0 * static_cast<double>(shape.multiply_adds()); }
  bool rounds(Pass pass) const {
    return conv2d_explain<float>(shape, pass).back().method == "winograd";
  }
  Index taps() const { return naive.kh * naive.kw; }
  Index pixels_in() const { return naive.h * naive.w; }
  Index pixels_out() const { return naive.oh() * naive.ow(); }

  // The same geometry for fewer images and channels.
  NaiveConv2d slice(Index n, Index c, Index oc) const {
    NaiveConv2d part = naive;
    part.n = n;
    part.c = c;
    part.oc = oc;
    part.groups = 1;
    return part;
  }

  bool output_plane_is_right(Index image, Index o) const {
    const Index c = image * naive.c + o / group_out * group_in;
    const auto expected = slice(1, group_in, 1)
                              .forward(planes(input, pixels_in(), c, c + group_in),
                                       planes(weight, group_in * taps(), o, o + 1));
    const Index plane = image * naive.oc + o;
    return agree(planes(output, pixels_out(), plane, plane + 1), expected, rounds(Pass::forward));
  }

  bool grad_input_plane_is_right(Index image, Index c) const {
    const Index first = c / group_in * group_out, o = image * naive.oc + first;
    const auto expected =
        slice(1, 1, group_out)
            .backward_input(planes(grad_output, pixels_out(), o, o + group_out),
                            planes(weight, taps(), first * group_in + c % group_in,
                                   (first + group_out) * group_in, group_in));
    const Index plane = image * naive.c + c;
    return agree(planes(grad_input, pixels_in(), plane, plane + 1), expected,
                 rounds(Pass::backward_input));
  }

  bool filter_is_right(Index o, Index c) const {
    const Index channel = o / group_out * group_in + c;
    const auto expected =
        slice(naive.n, 1, 1)
            .backward_weight(planes(grad_output, pixels_out(), o, naive.n * naive.oc, naive.oc),
                             planes(input, pixels_in(), channel, naive.n * naive.c, naive.c));
    const Index filter = o * group_in + c;
    return agree(planes(grad_weight, taps(), filter, filter + 1), expected,
                 rounds(Pass::backward_weight));
  }

  // check(a, b) for the first, the last and a few other pairs below the given limits.
  template <class Check>
  static bool on_slices(Index a_limit, Index b_limit, Check check) {
    Numbers numbers(2);
    bool right = check(0, 0) && check(a_limit - 1, b_limit - 1);
    for (int i = 0; right && i < kSlices; ++i) {
      right = check(numbers.between(0, a_limit - 1), numbers.between(0, b_limit - 1));
    }
    return right;
  }
};

void run_forward(benchmark::State& state, const Case& row) {
  Problem& p = problem_of<Problem>(row);
  checked_operations(
      state, p.operations(),
      [&] {
        return p.on_slices(p.naive.n, p.naive.oc,
                           [&](Index image, Index o) { return p.output_plane_is_right(image, o); });
      },
      [&] {
        conv2d_forward<float>(p.shape, span(p.input), span(p.weight), {}, Activation::none,
                              span(p.output));
      });
}

void run_backward_input(benchmark::State& state, const Case& row) {
  Problem& p = problem_of<Problem>(row);
  checked_operations(
      state, p.operations(),
      [&] {
        return p.on_slices(p.naive.n, p.naive.c, [&](Index image, Index c) {
          return p.grad_input_plane_is_right(image, c);
        });
      },
      [&] {
        conv2d_backward_input<float>(p.shape, span(p.grad_output), span(p.weight),
                                     span(p.grad_input));
      });
}

void run_backward_weight(benchmark::State& state, const Case& row) {
  Problem& p = problem_of<Problem>(row);
  checked_operations(
      state, p.operations(),
      [&] {
        return p.on_slices(p.naive.oc, p.group_in,
                           [&](Index o, Index c) { return p.filter_is_right(o, c); });
      },
      [&] {
        conv2d_backward_weight<float>(p.shape, span(p.grad_output), span(p.input),
                                      span(p.grad_weight));
      });
}

}  // namespace

void register_conv2d() {
  for (const Case& row : testing::load_cases("conv2d", "bench")) {
    const std::string name = "conv2d/" + row.name();
    add(name + "/forward", [row](benchmark::State& state) { run_forward(state, row); });
    add(name + "/backward_input",
        [row](benchmark::State& state) { run_backward_input(state, row); });
    add(name + "/backward_weight",
        [row](benchmark::State& state) { run_backward_weight(state, row); });
  }
}

}  // namespace convolite::benchmarks
