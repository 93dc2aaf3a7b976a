// The oracle of pooling: every window visits its taps one by one. Shares no code with the library;
// counts the windows itself, by PyTorch's rule.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace convolite::testing {

struct NaivePool2d {
  using Index = std::int64_t;
  using Values = std::vector<double>;

  Index n, c, h, w;
  Index kh, kw, stride_h, stride_w;
  Index top, bottom, left, right;
  Index dil_h, dil_w;
  bool ceil_mode;

  // Windows end inside the padding. In ceil mode one more, which hangs over the end, is counted if
  // it starts inside the image or the padding before it.
  Index windows(Index size, Index before, Index after, Index kernel, Index stride,
                Index dilation) const {
    Index count = 0;
    for (Index start = -before;; start += stride) {
      const Index excess = start + (kernel - 1) * dilation + 1 - (size + after);
      if (excess > 0 && !(ceil_mode && excess < stride && start < size)) return count;
      ++count;
    }
  }
  Index oh() const { return windows(h, top, bottom, kh, stride_h, dil_h); }
  Index ow() const { return windows(w, left, right, kw, stride_w, dil_w); }
  Index input_size() const { return n * c * h * w; }
  Index output_size() const { return n * c * oh() * ow(); }

  // visit(output element, row, column of the window's first tap, first element of the plane).
  template <class Visit>
  void for_each_window(Visit visit) const {
    const Index out_h = oh(), out_w = ow();
    for (Index plane = 0; plane < n * c; ++plane) {
      for (Index y = 0; y < out_h; ++y) {
        for (Index x = 0; x < out_w; ++x) {
          visit((plane * out_h + y) * out_w + x, y * stride_h - top, x * stride_w - left,
                plane * h * w);
        }
      }
    }
  }

  // visit(tap, element of the plane) for each tap of a window that hits the image.
  template <class Visit>
  void for_each_tap(Index row, Index column, Visit visit) const {
    for (Index r = 0; r < kh; ++r) {
      for (Index s = 0; s < kw; ++s) {
        const Index y = row + r * dil_h, x = column + s * dil_w;
        if (y >= 0 && y < h && x >= 0 && x < w) visit(r * kw + s, y * w + x);
      }
    }
  }

  // The first of equal maxima; the last NaN above all, as in PyTorch. `offsets` get the taps.
  Values max_forward(const Values& input, std::vector<Index>& offsets) const {
    Values output(output_size(), -std::numeric_limits<double>::infinity());
    offsets.assign(output.size(), -1);
    for_each_window([&](Index o, Index row, Index column, Index plane) {
      for_each_tap(row, column, [&](Index tap, Index pixel) {
        const double value = input[plane + pixel];
        if (offsets[o] >= 0 && !(value > output[o] || std::isnan(value))) return;
        output[o] = value;
        offsets[o] = tap;
      });
    });
    return output;
  }

  Values max_backward(const Values& grad_output, const std::vector<Index>& offsets) const {
    Values grad_input(input_size(), 0.0);
    for_each_window([&](Index o, Index row, Index column, Index plane) {
      for_each_tap(row, column, [&](Index tap, Index pixel) {
        if (tap == offsets[o]) grad_input[plane + pixel] += grad_output[o];
      });
    });
    return grad_input;
  }

  // What a window's sum is divided by.
  double divisor(Index row, Index column, bool count_include_pad, Index divisor_override) const {
    if (divisor_override != 0) return static_cast<double>(divisor_override);
    Index count = 0;
    for (Index y = row; y < row + kh; ++y) {
      for (Index x = column; x < column + kw; ++x) {
        const bool in_image = y >= 0 && y < h && x >= 0 && x < w;
        const bool in_padding = y < h + bottom && x < w + right;
        if (count_include_pad ? in_padding : in_image) ++count;
      }
    }
    return static_cast<double>(count);
  }

  Values avg_forward(const Values& input, bool count_include_pad, Index divisor_override) const {
    Values output(output_size(), 0.0);
    for_each_window([&](Index o, Index row, Index column, Index plane) {
      for_each_tap(row, column, [&](Index, Index pixel) { output[o] += input[plane + pixel]; });
      output[o] /= divisor(row, column, count_include_pad, divisor_override);
    });
    return output;
  }

  Values avg_backward(const Values& grad_output, bool count_include_pad,
                      Index divisor_override) const {
    Values grad_input(input_size(), 0.0);
    for_each_window([&](Index o, Index row, Index column, Index plane) {
      const double share =
          grad_output[o] / divisor(row, column, count_include_pad, divisor_override);
      for_each_tap(row, column, [&](Index, Index pixel) { grad_input[plane + pixel] += share; });
    });
    return grad_input;
  }
};

}  // namespace convolite::testing
