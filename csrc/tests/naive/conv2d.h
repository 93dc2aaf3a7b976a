// The oracle of conv2d: one loop over all products, which the three passes sum differently. Shares
// no code with the library; counts the output positions itself.
#pragma once

#include <cstdint>
#include <vector>

namespace convolite::testing {

struct NaiveConv2d {
  using Index = std::int64_t;
  using Values = std::vector<double>;

  Index n, c, h, w;
  Index oc, kh, kw;
  Index stride_h, stride_w;
  Index top, bottom, left, right;
  Index dil_h, dil_w;
  Index groups;

  // Positions at which a window that starts in the padding still ends inside it.
  static Index positions(Index size, Index before, Index after, Index kernel, Index stride,
                         Index dilation) {
    Index count = 0;
    for (Index at = -before; at + (kernel - 1) * dilation < size + after; at += stride) ++count;
    return count;
  }
  Index oh() const { return positions(h, top, bottom, kh, stride_h, dil_h); }
  Index ow() const { return positions(w, left, right, kw, stride_w, dil_w); }
  Index input_size() const { return n * c * h * w; }
  Index weight_size() const { return oc * (c / groups) * kh * kw; }
  Index output_size() const { return n * oc * oh() * ow(); }

  // visit(output element, input element, weight element) for each product of the convolution.
  template <class Visit>
  void for_each_product(Visit visit) const {
    const Index out_h = oh(), out_w = ow(), group_in = c / groups, group_out = oc / groups;
    for (Index image = 0; image < n; ++image) {
      for (Index o = 0; o < oc; ++o) {
        const Index first_channel = o / group_out * group_in;
        for (Index ci = 0; ci < group_in; ++ci) {
          for (Index r = 0; r < kh; ++r) {
            for (Index s = 0; s < kw; ++s) {
              const Index weight = ((o * group_in + ci) * kh + r) * kw + s;
              for (Index y = 0; y < out_h; ++y) {
                const Index row = y * stride_h + r * dil_h - top;
                if (row < 0 || row >= h) continue;
                for (Index x = 0; x < out_w; ++x) {
                  const Index column = x * stride_w + s * dil_w - left;
                  if (column < 0 || column >= w) continue;
                  visit(((image * oc + o) * out_h + y) * out_w + x,
                        ((image * c + first_channel + ci) * h + row) * w + column, weight);
                }
              }
            }
          }
        }
      }
    }
  }

  Values forward(const Values& input, const Values& weight) const {
    Values output(output_size(), 0.0);
    for_each_product([&](Index o, Index i, Index j) { output[o] += input[i] * weight[j]; });
    return output;
  }
  Values backward_input(const Values& grad_output, const Values& weight) const {
    Values grad_input(input_size(), 0.0);
    for_each_product(
        [&](Index o, Index i, Index j) { grad_input[i] += grad_output[o] * weight[j]; });
    return grad_input;
  }
  Values backward_weight(const Values& grad_output, const Values& input) const {
    Values grad_weight(weight_size(), 0.0);
    for_each_product(
        [&](Index o, Index i, Index j) { grad_weight[j] += grad_output[o] * input[i]; });
    return grad_weight;
  }
  Values backward_bias(const Values& grad_output) const {
    Values grad_bias(oc, 0.0);
    const Index pixels = oh() * ow();
    for (Index i = 0; i < output_size(); ++i) grad_bias[i / pixels % oc] += grad_output[i];
    return grad_bias;
  }
  void add_bias(Values& output, const Values& bias) const {
    const Index pixels = oh() * ow();
    for (Index i = 0; i < output_size(); ++i) output[i] += bias[i / pixels % oc];
  }
};

}  // namespace convolite::testing
