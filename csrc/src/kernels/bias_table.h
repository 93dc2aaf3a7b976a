// The contract of bias_sums.inl, a part of the kernels' contract in table.h.
#pragma once

#include <cstddef>

namespace convolite {

// Sums of a gradient over each of `planes` planes of `count` elements: the same bits at every
// level. passed = what of grad passes an activation, told by its output; it may be grad's memory.
template <class T>
struct PassKernel {
  using Size = std::ptrdiff_t;
  void (*pass_and_sum)(const T* grad, const T* output, Size planes, Size count, T* passed,
                       double* sums);
  void (*sum_passed)(const T* grad, const T* output, Size planes, Size count, double* sums);
};

template <class T>
struct BiasKernels {
  void (*sum)(const T* grad, std::ptrdiff_t planes, std::ptrdiff_t count, double* sums);
  PassKernel<T> relu, relu6;
};

}  // namespace convolite
