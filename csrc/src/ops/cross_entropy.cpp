// Cross-entropy: each task turns its logits into log-probabilities and, while they are in cache,
// picks the losses of its samples. Sums run in double over blocks of samples, added in order.
#include <convolite/cross_entropy.h>
#include <convolite/error.h>

#include <algorithm>
#include <cassert>

#include "ops/softmax_tasks.h"
#include "runtime/buffer.h"
#include "runtime/integers.h"
#include "runtime/isa.h"

namespace convolite {
namespace {

constexpr Index kSampleBlock = 1 << 12;  // losses that one task adds up
constexpr Index kClassBlock = 32;        // terms added up before they join a longer sum

SoftmaxShape softmax_shape(const CrossEntropyShape& shape) {
  return {shape.batch, shape.classes, shape.pixels};
}

// The labels of one problem: weight_c q_c, split into what every class gets and what the target
// adds.
template <class T>
struct Labels {
  Span<const T> weight;
  double target_share, class_share;  // 1 - smoothing, smoothing / classes
  double all_classes;                // class_share times the sum of the weights

  Labels(const CrossEntropyShape& shape, const CrossEntropyOptions& options, Span<const T> weights)
      : weight(weights),
        target_share(1.0 - options.label_smoothing),
        class_share(options.label_smoothing / static_cast<double>(shape.classes)) {
    double total = 0;
    for (Index c = 0; c < shape.classes; ++c) total += of(c);
    all_classes = class_share == 0 ? 0.0 : class_share * total;
  }
  double of(Index c) const { return weight.size ? static_cast<double>(weight[c]) : 1.0; }
  double total(Index target) const { return target_share * of(target) + all_classes; }

  // -sum_c label_c z_c of a sample whose class c has z[c * stride]; a label of 0 silences even
  // -infinity.
  double loss(Index target, Index classes, Index stride, const T* z) const {
    const double own = target_share * of(target);
    double sum = own == 0 ? 0.0 : own * static_cast<double>(z[target * stride]);
    for (Index begin = 0; class_share != 0 && begin < classes; begin += kClassBlock) {
      const Index end = std::min(classes, begin + kClassBlock);
      double block = 0;
      for (Index c = begin; c < end; ++c) {
        const double share = class_share * of(c);
        if (share != 0) block += share * static_cast<double>(z[c * stride]);
      }
      sum += block;
    }
    return -sum;
  }
};

double sum_in_blocks(const double* values, Index count) {
  const Buffer<double> partials(ceil_divide(count, kSampleBlock));
  parallel_blocks(count, kSampleBlock, count, [&](Index begin, Index end, int) {
    double sum = 0;
    for (Index i = begin; i < end; ++i) sum += values[i];
    partials[begin / kSampleBlock] = sum;
  });
  double total = 0;
  for (Index i = 0; i * kSampleBlock < count; ++i) total += partials[i];
  return total;
}

// Where a target stands: "row 3", or its place in a batch of images.
std::string place_text(const CrossEntropyShape& shape, Index sample) {
  if (shape.input.size() == 2) return "row " + std::to_string(sample);
  std::vector<Index> place;
  for (std::size_t axis = shape.input.size(); axis-- > 2;) {
    place.push_back(sample % shape.input[axis]);
    sample /= shape.input[axis];
  }
  place.push_back(sample);
  std::reverse(place.begin(), place.end());
  return shape_text(place);
}

void check_targets(const char* op, const CrossEntropyShape& shape, Span<const Index> targets,
                   Index ignore_index) {
  for (Index i = 0; i < targets.size; ++i) {
    const Index target = targets[i];
    if ((target < 0 || target >= shape.classes) && target != ignore_index) {
      fail(op, ": target ", target, " at ", place_text(shape, i), " is outside [0, ", shape.classes,
           ") (input.shape = ", shape_text(shape.input), ")");
    }
  }
}

template <class T>
void reduce_losses(const double* losses, Index count, LossReduction reduction, double total_weight,
                   Span<T> loss) {
  if (reduction == LossReduction::none) {
    for (Index i = 0; i < count; ++i) loss[i] = static_cast<T>(losses[i]);
  } else {
    const double divisor = reduction == LossReduction::mean ? total_weight : 1.0;
    loss[0] = static_cast<T>(sum_in_blocks(losses, count) / divisor);
  }
}

template <class T>
double sum_of_weights(const Labels<T>& labels, Span<const Index> target, Index ignore_index) {
  double total = 0;
  for (Index i = 0; i < target.size; ++i) {
    if (target[i] != ignore_index) total += labels.of(target[i]);
  }
  return total;
}

// Where class 0 of a sample stands.
Index first_class(const CrossEntropyShape& shape, Index sample) {
  return sample / shape.pixels * shape.classes * shape.pixels + sample % shape.pixels;
}

// The gradient of one sample, g (p sum(label) - label): first the kernel writes scale * exp(z),
// then the label is taken away.
template <class T>
struct SampleGradients {
  const CrossEntropyShape& shape;
  const CrossEntropyOptions& options;
  Labels<T> labels;
  Span<const T> grad_loss;
  Span<const Index> target;
  double divisor;

  bool ignored(Index sample) const { return target[sample] == options.ignore_index; }
  double upstream(Index sample) const {
    const bool each = options.reduction == LossReduction::none;
    return static_cast<double>(grad_loss[each ? sample : 0]) / divisor;
  }
  T scale(Index sample) const {
    if (ignored(sample)) return 0;
    return static_cast<T>(upstream(sample) * labels.total(target[sample]));
  }
  // gradient: that of class 0; the other classes follow at distances of `pixels`.
  void subtract_label(Index sample, T* gradient) const {
    if (ignored(sample)) {  // written anew: zero times the exponential of NaN is no zero
      for (Index c = 0; c < shape.classes; ++c) gradient[c * shape.pixels] = 0;
      return;
    }
    const double factor = upstream(sample);
    for (Index c = 0; labels.class_share != 0 && c < shape.classes; ++c) {
      subtract(factor * labels.class_share * labels.of(c), gradient[c * shape.pixels]);
    }
    const Index own = target[sample];
    subtract(factor * labels.target_share * labels.of(own), gradient[own * shape.pixels]);
  }
  static void subtract(double share, T& entry) { entry = static_cast<T>(entry - share); }
};

}  // namespace

CrossEntropyShape CrossEntropyShape::infer(const std::vector<Index>& input,
                                           const std::vector<Index>& target,
                                           Span<const Index> targets, Index weight_size,
                                           bool has_weight, const CrossEntropyOptions& options,
                                           const char* op) {
  if (input.size() < 2) {
    fail(op, ": input must have axes (N, C) or (N, C, ...), got input.shape = ", shape_text(input));
  }
  CrossEntropyShape shape;
  shape.input = input;
  shape.batch = input[0];
  shape.classes = input[1];
  std::vector<Index> expected = {input[0]};
  for (std::size_t axis = 2; axis < input.size(); ++axis) {
    shape.pixels = checked_product(op, shape.pixels, input[axis]);
    expected.push_back(input[axis]);
  }
  if (target != expected) {
    fail(op, ": target must have shape ", shape_text(expected), ", got ", shape_text(target),
         " (input.shape = ", shape_text(input), ")");
  }
  if (shape.classes == 0) {
    fail(op, ": input must have at least one class, got input.shape = ", shape_text(input));
  }
  if (has_weight && weight_size != shape.classes) {
    fail(op, ": weight must have one value for each of ", shape.classes, " classes, got ",
         weight_size, " (input.shape = ", shape_text(input), ")");
  }
  if (!(options.label_smoothing >= 0 && options.label_smoothing <= 1)) {
    fail(op, ": label_smoothing must be from 0 to 1, got ", options.label_smoothing);
  }
  check_targets(op, shape, targets, options.ignore_index);
  return shape;
}

template <class T>
double cross_entropy_forward(const CrossEntropyShape& shape, const CrossEntropyOptions& options,
                             Span<const T> input, Span<const Index> target, Span<const T> weight,
                             Span<T> loss, Span<T> log_probabilities) {
  assert(input.size == shape.size() && log_probabilities.size == shape.size());
  const SoftmaxKernels<T>& table = kernels<T>().softmax;
  const Labels<T> labels(shape, options, weight);
  const Buffer<double> losses(shape.samples());
  const auto pick = [&](Index sample, Index at) {
    const bool ignored = target[sample] == options.ignore_index;
    losses[sample] = ignored ? 0.0
                             : labels.loss(target[sample], shape.classes, shape.pixels,
                                           log_probabilities.data + at);
  };
  for_each_softmax(
      softmax_shape(shape),
      [&](Index i) {
        const Index at = i * shape.classes;
        table.log_softmax_row(input.data + at, shape.classes, log_probabilities.data + at);
        pick(i, at);
      },
      [&](Index i, Index j, const SoftmaxColumns& part) {
        const Index at = i * shape.classes * shape.pixels + j;
        table.log_softmax_columns(part, input.data + at, log_probabilities.data + at);
        for (Index k = 0; k < part.columns; ++k) pick(i * shape.pixels + j + k, at + k);
      });
  const double total_weight = sum_of_weights(labels, target, options.ignore_index);
  reduce_losses(losses.get(), shape.samples(), options.reduction, total_weight, loss);
  return total_weight;
}

template <class T>
void cross_entropy_backward(const CrossEntropyShape& shape, const CrossEntropyOptions& options,
                            Span<const T> grad_loss, Span<const T> log_probabilities,
                            Span<const Index> target, Span<const T> weight, double total_weight,
                            Span<T> grad_input) {
  assert(log_probabilities.size == shape.size() && grad_input.size == shape.size());
  const SoftmaxKernels<T>& table = kernels<T>().softmax;
  const bool mean = options.reduction == LossReduction::mean;
  const SampleGradients<T> gradients = {shape,     options, Labels<T>(shape, options, weight),
                                        grad_loss, target,  mean ? total_weight : 1.0};
  for_each_softmax(
      softmax_shape(shape),
      [&](Index i) {
        const Index at = i * shape.classes;
        table.scaled_exp_row(log_probabilities.data + at, gradients.scale(i), shape.classes,
                             grad_input.data + at);
        gradients.subtract_label(i, grad_input.data + at);
      },
      [&](Index i, Index j, const SoftmaxColumns& part) {
        const Index at = i * shape.classes * shape.pixels + j;
        const Index first = i * shape.pixels + j;
        T scale[kSoftmaxColumns];
        for (Index k = 0; k < part.columns; ++k) scale[k] = gradients.scale(first + k);
        table.scaled_exp_columns(part, log_probabilities.data + at, scale, grad_input.data + at);
        for (Index k = 0; k < part.columns; ++k) {
          gradients.subtract_label(first + k, grad_input.data + at + k);
        }
      });
}

template <class T>
double nll_loss_forward(const CrossEntropyShape& shape, const CrossEntropyOptions& options,
                        Span<const T> input, Span<const Index> target, Span<const T> weight,
                        Span<T> loss) {
  assert(input.size == shape.size());
  const Labels<T> labels(shape, options, weight);
  const Buffer<double> losses(shape.samples());
  parallel_blocks(shape.samples(), kSampleBlock, shape.samples(), [&](Index begin, Index end, int) {
    for (Index i = begin; i < end; ++i) {
      const T* z = input.data + first_class(shape, i);
      const bool ignored = target[i] == options.ignore_index;
      losses[i] = ignored ? 0.0 : labels.loss(target[i], shape.classes, shape.pixels, z);
    }
  });
  const double total_weight = sum_of_weights(labels, target, options.ignore_index);
  reduce_losses(losses.get(), shape.samples(), options.reduction, total_weight, loss);
  return total_weight;
}

// Zeros, but for the target's class of each sample that counts. Bound by memory.
template <class T>
void nll_loss_backward(const CrossEntropyShape& shape, const CrossEntropyOptions& options,
                       Span<const T> grad_loss, Span<const Index> target, Span<const T> weight,
                       double total_weight, Span<T> grad_input) {
  assert(grad_input.size == shape.size());
  const bool mean = options.reduction == LossReduction::mean;
  const SampleGradients<T> gradients = {shape,     options, Labels<T>(shape, options, weight),
                                        grad_loss, target,  mean ? total_weight : 1.0};
  const Index image = shape.classes * shape.pixels;
  const Index images_per_task = std::max<Index>(1, kSampleBlock / std::max<Index>(1, image));
  parallel_blocks(shape.batch, images_per_task, shape.size(), [&](Index begin, Index end, int) {
    std::fill(grad_input.data + begin * image, grad_input.data + end * image, T(0));
    for (Index i = begin * shape.pixels; i < end * shape.pixels; ++i) {
      if (!gradients.ignored(i)) {
        gradients.subtract_label(i, grad_input.data + first_class(shape, i));
      }
    }
  });
}

#define CONVOLITE_INSTANTIATE(T)                                                                  \
  template double cross_entropy_forward(const CrossEntropyShape&, const CrossEntropyOptions&,     \
                                        Span<const T>, Span<const Index>, Span<const T>, Span<T>, \
                                        Span<T>);                                                 \
  template void cross_entropy_backward(const CrossEntropyShape&, const CrossEntropyOptions&,      \
                                       Span<const T>, Span<const T>, Span<const Index>,           \
                                       Span<const T>, double, Span<T>);                           \
  template double nll_loss_forward(const CrossEntropyShape&, const CrossEntropyOptions&,          \
                                   Span<const T>, Span<const Index>, Span<const T>, Span<T>);     \
  template void nll_loss_backward(const CrossEntropyShape&, const CrossEntropyOptions&,           \
                                  Span<const T>, Span<const Index>, Span<const T>, double,        \
                                  Span<T>);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
