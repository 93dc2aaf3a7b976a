// The method for few channels in each of many groups: groups are the lanes. Units, the groups of
// all images, are taken as many at a time as a vector has lanes; their planes are transposed to
// pixels of one vector each, which serve every tap, stride and phase alike.
#pragma once

#include <convolite/conv2d.h>

namespace convolite {

// Null where these functions run the problem, else the reason why they do not.
template <class T>
const char* group_lanes_decline(const Conv2dShape&, Pass);

template <class T>
void group_lanes_forward(const Conv2dShape&, const T* input, const T* weight,
                         const Conv2dEpilogue<T>&, T* output);
template <class T>
void group_lanes_backward_input(const Conv2dShape&, const T* grad_output, const T* weight,
                                T* grad_input);
template <class T>
void group_lanes_backward_weight(const Conv2dShape&, const T* grad_output, const T* input,
                                 T* grad_weight);

}  // namespace convolite
