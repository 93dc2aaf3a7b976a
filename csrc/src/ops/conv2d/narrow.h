// The method for few channels in the result, which would leave most lanes empty: pixels are the
// lanes. Forward with stride 1, and the gradient of the input with any.
#pragma once

#include <convolite/conv2d.h>

namespace convolite {

// Null where these functions run the problem, else the reason why they do not.
template <class T>
const char* narrow_declines(const Conv2dShape&, Pass);

template <class T>
void narrow_forward(const Conv2dShape&, const T* input, const T* weight, const Conv2dEpilogue<T>&,
                    T* output);
template <class T>
void narrow_backward_input(const Conv2dShape&, const T* grad_output, const T* weight,
                           T* grad_input);

}  // namespace convolite
