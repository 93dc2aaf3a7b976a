// Cuts lists of parameters into one list of blocks and updates each block by one kernel call.
#include <convolite/error.h>
#include <convolite/optimizer.h>

#include <algorithm>
#include <cmath>

#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {
namespace {

constexpr Index kBlock = 1 << 14;  // elements of one task: 64 KB of each array of floats

struct Block {
  std::size_t parameter;
  Index begin, count;
};

template <class T>
void check_sizes(const char* op, const char* name, const std::vector<Span<T>>& parameters,
                 std::size_t count) {
  if (count != parameters.size()) {
    fail(op, ": ", name, " must have ", parameters.size(), " arrays like parameters, got ", count);
  }
}

// body(parameter, first element, elements) for each block of each parameter.
template <class T, class Body>
void for_each_block(const std::vector<Span<T>>& parameters, Body&& body) {
  std::vector<Block> blocks;
  Index work = 0;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Index size = parameters[i].size;
    for (Index begin = 0; begin < size; begin += kBlock) {
      blocks.push_back({i, begin, std::min(kBlock, size - begin)});
    }
    work += size;
  }
  parallel_for(static_cast<Index>(blocks.size()), work, [&](Index task, int) {
    const Block& block = blocks[static_cast<std::size_t>(task)];
    body(block.parameter, block.begin, block.count);
  });
}

template <class T>
typename OptimizerKernels<T>::Sgd sgd_kernel(const SgdOptions& options) {
  const OptimizerKernels<T>& table = kernels<T>().optimizer;
  if (options.momentum == 0) return table.sgd;
  if (options.nesterov) return options.first_step ? table.sgd_nesterov_first : table.sgd_nesterov;
  return options.first_step ? table.sgd_momentum_first : table.sgd_momentum;
}

template <class T>
typename OptimizerKernels<T>::Rmsprop rmsprop_kernel(const RmspropOptions& options) {
  const OptimizerKernels<T>& table = kernels<T>().optimizer;
  if (options.momentum == 0) return options.centered ? table.rmsprop_centered : table.rmsprop;
  return options.centered ? table.rmsprop_centered_momentum : table.rmsprop_momentum;
}

}  // namespace

template <class T>
void sgd_step(const SgdOptions& options, const std::vector<Span<T>>& parameters,
              const std::vector<Span<const T>>& gradients,
              const std::vector<Span<T>>& momentum_buffers) {
  check_sizes("sgd_step", "gradients", parameters, gradients.size());
  const bool buffered = options.momentum != 0;
  if (buffered) check_sizes("sgd_step", "momentum_buffers", parameters, momentum_buffers.size());
  const SgdArguments<T> arguments = {static_cast<T>(options.lr), static_cast<T>(options.momentum),
                                     static_cast<T>(1.0 - options.dampening),
                                     static_cast<T>(options.weight_decay)};
  const auto kernel = sgd_kernel<T>(options);
  for_each_block(parameters, [&](std::size_t i, Index begin, Index count) {
    kernel(arguments, gradients[i].data + begin, count, parameters[i].data + begin,
           buffered ? momentum_buffers[i].data + begin : nullptr);
  });
}

template <class T>
void adam_step(const AdamOptions& options, const std::vector<Span<T>>& parameters,
               const std::vector<Span<const T>>& gradients, const std::vector<Span<T>>& exp_avgs,
               const std::vector<Span<T>>& exp_avg_sqs) {
  const char* op = "adam_step";
  check_sizes(op, "gradients", parameters, gradients.size());
  check_sizes(op, "exp_avgs", parameters, exp_avgs.size());
  check_sizes(op, "exp_avg_sqs", parameters, exp_avg_sqs.size());
  if (options.step < 1) fail(op, ": step must be at least 1, got ", options.step);
  const double step = static_cast<double>(options.step);
  const double decay =
      options.decoupled ? 1.0 - options.lr * options.weight_decay : options.weight_decay;
  // sqrt(v / c^2) + eps, the divisor, times c: no element has to be divided by c.
  const double c = std::sqrt(1.0 - std::pow(options.beta2, step));
  const AdamArguments<T> arguments = {
      static_cast<T>(1.0 - options.beta1),
      static_cast<T>(options.beta2),
      static_cast<T>(1.0 - options.beta2),
      static_cast<T>(decay),
      static_cast<T>(c * options.eps),
      static_cast<T>(c * options.lr / (1.0 - std::pow(options.beta1, step)))};
  const OptimizerKernels<T>& table = kernels<T>().optimizer;
  const auto kernel = options.decoupled ? table.adam_decoupled : table.adam;
  for_each_block(parameters, [&](std::size_t i, Index begin, Index count) {
    kernel(arguments, gradients[i].data + begin, count, parameters[i].data + begin,
           exp_avgs[i].data + begin, exp_avg_sqs[i].data + begin);
  });
}

template <class T>
void rmsprop_step(const RmspropOptions& options, const std::vector<Span<T>>& parameters,
                  const std::vector<Span<const T>>& gradients,
                  const std::vector<Span<T>>& square_avgs, const std::vector<Span<T>>& grad_avgs,
                  const std::vector<Span<T>>& momentum_buffers) {
  const char* op = "rmsprop_step";
  const bool centered = options.centered, buffered = options.momentum != 0;
  check_sizes(op, "gradients", parameters, gradients.size());
  check_sizes(op, "square_avgs", parameters, square_avgs.size());
  if (centered) check_sizes(op, "grad_avgs", parameters, grad_avgs.size());
  if (buffered) check_sizes(op, "momentum_buffers", parameters, momentum_buffers.size());
  const RmspropArguments<T> arguments = {
      static_cast<T>(options.lr),           static_cast<T>(options.alpha),
      static_cast<T>(1.0 - options.alpha),  static_cast<T>(options.eps),
      static_cast<T>(options.weight_decay), static_cast<T>(options.momentum)};
  const auto kernel = rmsprop_kernel<T>(options);
  for_each_block(parameters, [&](std::size_t i, Index begin, Index count) {
    kernel(arguments, gradients[i].data + begin, count, parameters[i].data + begin,
           square_avgs[i].data + begin, centered ? grad_avgs[i].data + begin : nullptr,
           buffered ? momentum_buffers[i].data + begin : nullptr);
  });
}

#define CONVOLITE_INSTANTIATE(T)                                                             \
  template void sgd_step(const SgdOptions&, const std::vector<Span<T>>&,                     \
                         const std::vector<Span<const T>>&, const std::vector<Span<T>>&);    \
  template void adam_step(const AdamOptions&, const std::vector<Span<T>>&,                   \
                          const std::vector<Span<const T>>&, const std::vector<Span<T>>&,    \
                          const std::vector<Span<T>>&);                                      \
  template void rmsprop_step(const RmspropOptions&, const std::vector<Span<T>>&,             \
                             const std::vector<Span<const T>>&, const std::vector<Span<T>>&, \
                             const std::vector<Span<T>>&, const std::vector<Span<T>>&);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
