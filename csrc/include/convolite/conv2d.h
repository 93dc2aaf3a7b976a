// 2-D convolution (cross-correlation) over NCHW, with stride, dilation, groups and four-sided
// padding:
//   output[n, o, y, x] = bias[o] + sum over c, r, s of
//       weight[o, c, r, s] * input[n, c, y * stride + r * dilation - top, x * stride + ... - left]
// (Goodfellow, Bengio and Courville 2016, eq. 9.6); pixels outside the input count as zero.
#pragma once

#include <convolite/pool2d.h>
#include <convolite/types.h>

#include <string>
#include <vector>

namespace convolite {

struct Conv2dShape {
  Nchw input;
  Index out_channels = 0;
  HW kernel;
  HW stride;
  Padding padding;
  HW dilation;
  Index groups = 1;
  HW output;  // floor((input + padding - span) / stride) + 1, filled by infer()

  // The only validator. `weight` is (out_channels, channels / groups, kernel_h, kernel_w).
  static Conv2dShape infer(const Nchw& input, const Nchw& weight, HW stride, const Padding& padding,
                           HW dilation, Index groups);

  Index group_in() const { return input.c / groups; }
  Index group_out() const { return out_channels / groups; }
  Index taps() const { return kernel.h * kernel.w; }
  Nchw result() const { return {input.n, out_channels, output.h, output.w}; }
  Index weight_size() const { return out_channels * group_in() * taps(); }
  Index multiply_adds() const { return result().size() * group_in() * taps(); }
};

enum class Pass { forward, backward_input, backward_weight };

// What becomes of a convolution's sums on their way to the output, in the same pass over memory:
//   output = activation(scale[o] * sum + bias[o] + residual)
// Empty spans stand for a scale of 1, for a bias and a residual of 0.
template <class T>
struct Conv2dEpilogue {
  Span<const T> bias;  // (oc)
  Activation activation = Activation::none;
  Span<const T> scale = {};     // (oc)
  Span<const T> residual = {};  // (n, oc, oh, ow)
};

// input (n, c, h, w), weight (oc, c / groups, kh, kw) -> output (n, oc, oh, ow), which is nobody
// else's memory.
template <class T>
void conv2d_forward(const Conv2dShape&, Span<const T> input, Span<const T> weight,
                    const Conv2dEpilogue<T>&, Span<T> output);
// bias (oc) or empty.
template <class T>
void conv2d_forward(const Conv2dShape&, Span<const T> input, Span<const T> weight,
                    Span<const T> bias, Activation, Span<T> output);
// grad_output (n, oc, oh, ow), weight -> grad_input (n, c, h, w), overwritten.
template <class T>
void conv2d_backward_input(const Conv2dShape&, Span<const T> grad_output, Span<const T> weight,
                           Span<T> grad_input);
// grad_output (n, oc, oh, ow), input -> grad_weight (oc, c / groups, kh, kw), overwritten.
template <class T>
void conv2d_backward_weight(const Conv2dShape&, Span<const T> grad_output, Span<const T> input,
                            Span<T> grad_weight);
// grad_output (n, oc, oh, ow) -> grad_bias (oc), the sum over images and pixels.
template <class T>
void conv2d_backward_bias(const Nchw& result, Span<const T> grad_output, Span<T> grad_bias);
// Behind an activation other than none, from grad_output and the output of forward, both (n, oc,
// oh, ow): what of the gradient passes, which the other passes read, and the gradient of the bias
// (oc) in the same reading. Either may be empty; `passed` may be the memory of grad_output.
template <class T>
void conv2d_backward_epilogue(const Nchw& result, Activation, Span<const T> grad_output,
                              Span<const T> output, Span<T> passed, Span<T> grad_bias);

// Convolution, max pooling and activation, in one pass where that is faster: images are pooled
// while they are in the cache. Its gradient is that of the parts.
struct PooledConv2dShape {
  Conv2dShape conv;
  Pool2dShape pool;

  // The only validator.
  static PooledConv2dShape infer(const Conv2dShape&, const PoolWindow&);
};

// Whether these images are pooled while they are in the cache, by so many threads as are set, or
// all of them are convolved first. The bits are the same.
template <class T>
bool pooled_conv2d_is_one_pass(const PooledConv2dShape&);
// As conv2d_forward without an activation, then max_pool2d_forward: output and offsets
// (n, oc, ph, pw). There is no residual: nothing that is pooled has one.
template <class T, class Offset>
void pooled_conv2d_forward(const PooledConv2dShape&, Span<const T> input, Span<const T> weight,
                           const Conv2dEpilogue<T>&, Span<T> output, Span<Offset> offsets);

// One line of the plan's menu: a method, and why it declined or was chosen.
struct Conv2dChoice {
  std::string method;
  bool chosen = false;
  std::string reason;
};
// The menu of T from the top down to the method that runs this pass.
template <class T>
std::vector<Conv2dChoice> conv2d_explain(const Conv2dShape&, Pass);

}  // namespace convolite
