// Optimizer updates of many arrays in one pass, in place. Update rules are PyTorch's.
#pragma once

#include <convolite/types.h>

#include <vector>

namespace convolite {

struct SgdOptions {
  double lr = 0, momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false;
  bool first_step = false;  // momentum buffers are not read: they become the gradient
};

struct AdamOptions {
  Index step = 1;  // number of this step, the first is 1
  double lr = 0, beta1 = 0, beta2 = 0, eps = 0, weight_decay = 0;
  bool decoupled = false;  // AdamW: weight decay shrinks the parameter, not the gradient
};

struct RmspropOptions {
  double lr = 0, alpha = 0, eps = 0, weight_decay = 0, momentum = 0;
  bool centered = false;  // divide by the deviation of the gradient, not its root mean square
};

// Arrays of one index have one size; different parameters must not overlap. Without momentum the
// buffers may be missing altogether. Fails on lists of different lengths.
template <class T>
void sgd_step(const SgdOptions&, const std::vector<Span<T>>& parameters,
              const std::vector<Span<const T>>& gradients,
              const std::vector<Span<T>>& momentum_buffers);

// Bias corrections are computed in double.
template <class T>
void adam_step(const AdamOptions&, const std::vector<Span<T>>& parameters,
               const std::vector<Span<const T>>& gradients, const std::vector<Span<T>>& exp_avgs,
               const std::vector<Span<T>>& exp_avg_sqs);

// Unless centered, grad_avgs may be missing; without momentum, momentum_buffers may.
template <class T>
void rmsprop_step(const RmspropOptions&, const std::vector<Span<T>>& parameters,
                  const std::vector<Span<const T>>& gradients,
                  const std::vector<Span<T>>& square_avgs, const std::vector<Span<T>>& grad_avgs,
                  const std::vector<Span<T>>& momentum_buffers);

}  // namespace convolite
