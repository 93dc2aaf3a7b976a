// Convolutions in which every result channel has one input channel. There is no sum over channels
// to share work in. With 3x3 filters and rows of a vector and more, pixels of a row are the lanes,
// read where they lie (depthwise_rows.h). Otherwise channels are the lanes (group_lanes.h), or,
// where there are too few of them, pixels again: planes are copied to a padded band
// (depthwise_band.h) and every tap is a load from it.
#pragma once

#include <convolite/conv2d.h>

namespace convolite {

// Null where these functions run the problem, else the reason why they do not.
const char* depthwise_declines(const Conv2dShape&, Pass);

// Rows where they lie, channels as lanes, or planes copied to a band.
enum class DepthwiseForm { rows, channels, band };

template <class T>
DepthwiseForm depthwise_form(const Conv2dShape&, Pass);
template <class T>
const char* depthwise_form_in_words(const Conv2dShape&, Pass);

template <class T>
void depthwise_forward(const Conv2dShape&, const T* input, const T* weight,
                       const Conv2dEpilogue<T>&, T* output);
template <class T>
void depthwise_backward_input(const Conv2dShape&, const T* grad_output, const T* weight,
                              T* grad_input);
template <class T>
void depthwise_backward_weight(const Conv2dShape&, const T* grad_output, const T* input,
                               T* grad_weight);

}  // namespace convolite
