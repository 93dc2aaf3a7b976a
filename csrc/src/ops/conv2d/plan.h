// The menu of convolution methods. A method either accepts a problem or says why not; the first
// that accepts runs, and the last accepts everything. The same shape gives the same plan gives the
// same bits.
#pragma once

#include <convolite/conv2d.h>

namespace convolite {

template <class T>
struct Conv2dMethod {
  const char* name;
  // Null when this method runs the problem, else the reason why it does not.
  const char* (*declines)(const Conv2dShape&, Pass);
  const char* reason;  // why it is a good choice where it accepts
  void (*forward)(const Conv2dShape&, const T* input, const T* weight, const Conv2dEpilogue<T>&,
                  T* output);
  void (*backward_input)(const Conv2dShape&, const T* grad_output, const T* weight, T* grad_input);
  void (*backward_weight)(const Conv2dShape&, const T* grad_output, const T* input, T* grad_weight);
  // For a method that goes about its problems in several ways: which one it takes. May give null.
  const char* (*form)(const Conv2dShape&, Pass) = nullptr;
};

template <class T>
const Conv2dMethod<T>& plan_conv2d(const Conv2dShape&, Pass);

}  // namespace convolite
