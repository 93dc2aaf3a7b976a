// The general convolution method, all three passes, on the micro-kernel alone. The reduction runs
// over (channel, tap); A is read in place from the image, or from a zero-padded copy of a band of
// its rows, by broadcasts at any stride and dilation; B holds channels as lanes. No im2col buffer
// exists.
#pragma once

#include <convolite/conv2d.h>

namespace convolite {

template <class T>
void direct_forward(const Conv2dShape&, const T* input, const T* weight, const Conv2dEpilogue<T>&,
                    T* output);
template <class T>
void direct_backward_input(const Conv2dShape&, const T* grad_output, const T* weight,
                           T* grad_input);
template <class T>
void direct_backward_weight(const Conv2dShape&, const T* grad_output, const T* input,
                            T* grad_weight);

}  // namespace convolite
