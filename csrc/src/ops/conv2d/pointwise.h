// 1x1 kernels without padding and groups: each pass is one matrix product per image, on NCHW where
// it lies. With a stride the skipped pixels are left out first, or filled in with zeros last.
#pragma once

#include <convolite/conv2d.h>

namespace convolite {

// Null when the method runs the problem, else why it does not.
const char* pointwise_declines(const Conv2dShape&, Pass);

template <class T>
void pointwise_forward(const Conv2dShape&, const T* input, const T* weight,
                       const Conv2dEpilogue<T>&, T* output);
template <class T>
void pointwise_backward_input(const Conv2dShape&, const T* grad_output, const T* weight,
                              T* grad_input);
template <class T>
void pointwise_backward_weight(const Conv2dShape&, const T* grad_output, const T* input,
                               T* grad_weight);

}  // namespace convolite
