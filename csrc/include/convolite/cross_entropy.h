// Cross-entropy between logits and class numbers, with PyTorch's options. For one sample of class t
// with log-probabilities z: loss = -sum_c weight_c q_c z_c, q_c = (1 - smoothing) [c == t] +
// smoothing / C. nll_loss is the same from z on, without smoothing.
#pragma once

#include <convolite/types.h>

#include <vector>

namespace convolite {

enum class LossReduction { none, mean, sum };

struct CrossEntropyOptions {
  double label_smoothing = 0;
  Index ignore_index = -100;  // samples with this target count for nothing
  LossReduction reduction = LossReduction::mean;
};

// Logits (batch, classes, pixels...); one target for each place of an image, or one for each
// sample.
struct CrossEntropyShape {
  std::vector<Index> input;
  Index batch = 0, classes = 0, pixels = 1;

  // The only validator of numbers: fails on shapes that do not fit, on options out of range and on
  // targets outside [0, classes) other than ignore_index. An empty weight means none.
  static CrossEntropyShape infer(const std::vector<Index>& input, const std::vector<Index>& target,
                                 Span<const Index> targets, Index weight_size, bool has_weight,
                                 const CrossEntropyOptions&, const char* op = "cross_entropy");

  Index samples() const { return batch * pixels; }
  Index size() const { return batch * classes * pixels; }
};

// weight (classes) or empty -> loss (samples) for LossReduction::none, else (1); log_probabilities
// like input. Returns the sum of the targets' weights. The mean divides by it: where it is 0,
// because every target is ignored, the loss is NaN.
template <class T>
double cross_entropy_forward(const CrossEntropyShape&, const CrossEntropyOptions&,
                             Span<const T> input, Span<const Index> target, Span<const T> weight,
                             Span<T> loss, Span<T> log_probabilities);

// grad_loss like loss, total_weight and log_probabilities from forward -> grad_input like input.
template <class T>
void cross_entropy_backward(const CrossEntropyShape&, const CrossEntropyOptions&,
                            Span<const T> grad_loss, Span<const T> log_probabilities,
                            Span<const Index> target, Span<const T> weight, double total_weight,
                            Span<T> grad_input);

// Log-probabilities as input; all else as above.
template <class T>
double nll_loss_forward(const CrossEntropyShape&, const CrossEntropyOptions&, Span<const T> input,
                        Span<const Index> target, Span<const T> weight, Span<T> loss);

template <class T>
void nll_loss_backward(const CrossEntropyShape&, const CrossEntropyOptions&,
                       Span<const T> grad_loss, Span<const Index> target, Span<const T> weight,
                       double total_weight, Span<T> grad_input);

}  // namespace convolite
