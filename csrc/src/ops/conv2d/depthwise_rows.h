// Depthwise convolution with 3x3 filters that reads and writes rows where they lie, pixels as
// lanes.
#pragma once

#include <convolite/conv2d.h>

namespace convolite {

// Whether the function of this pass runs the problem.
template <class T>
bool depthwise_rows_fit(const Conv2dShape&, Pass);

template <class T>
void depthwise_rows_forward(const Conv2dShape&, const T* input, const T* weight,
                            const Conv2dEpilogue<T>&, T* output);
template <class T>
void depthwise_rows_backward_input(const Conv2dShape&, const T* grad_output, const T* weight,
                                   T* grad_input);
template <class T>
void depthwise_rows_backward_weight(const Conv2dShape&, const T* grad_output, const T* input,
                                    T* grad_weight);

}  // namespace convolite
