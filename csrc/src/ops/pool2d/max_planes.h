// Max pooling and the activation behind it, of planes that one worker has at hand: the whole op
// cuts its images into such tasks, and other ops pool what they have just computed.
#pragma once

#include <convolite/pool2d.h>

#include <array>
#include <cstdint>
#include <vector>

#include "ops/pool2d/taps.h"
#include "runtime/buffer.h"

namespace convolite::pool2d {

// Offset: uint8_t if shape.byte_offsets(), or int32_t.
template <class T, class Offset>
class MaxForward {
 public:
  MaxForward(const Pool2dShape&, Activation, int workers);

  // input (planes, h, w) -> output and offsets (planes, oh, ow).
  void run(Index planes, const T* input, T* output, Offset* offsets, int worker) const;

 private:
  enum class Method { in_place_2x2, rows, taps };

  static Method choose(const Pool2dShape&, const WindowTaps&);
  void run_rows(Index planes, const T* input, T* output, std::uint8_t* offsets, T* scratch) const;
  void run_taps(Index planes, const T* input, T* output, Offset* offsets) const;

  Pool2dShape shape_;
  Activation activation_;
  WindowTaps taps_;
  Method method_;
  std::vector<std::uint8_t> first_taps_;  // of each column, in whole pairs of vectors
  WorkerScratch<T> scratch_;              // the ring of padded rows
};

// Where each offset leads from a window's first pixel; one that is not of the window leads outside
// the image.
class OffsetSteps {
 public:
  explicit OffsetSteps(const Pool2dShape&);
  HW operator[](std::uint8_t offset) const { return steps_[offset]; }
  HW operator[](std::int32_t offset) const { return step(offset); }

 private:
  HW step(Index offset) const;

  PoolWindow window_;
  std::array<HW, 256> steps_{};
};

template <class T, class Offset>
class MaxBackward {
 public:
  // At most `planes` at a time.
  MaxBackward(const Pool2dShape&, Activation, Index planes, int workers);

  // grad_output, output and offsets (planes, oh, ow) -> grad_input (planes, h, w); `output` is what
  // forward gave, and is only read behind an activation.
  void run(Index planes, const T* grad_output, const T* output, const Offset* offsets,
           T* grad_input, int worker) const;

 private:
  void run_plane(const T* grad_output, const Offset* offsets, T* grad_input) const;

  Pool2dShape shape_;
  Activation activation_;
  OffsetSteps steps_;
  WorkerScratch<T> passed_;  // what passes the activation
};

}  // namespace convolite::pool2d
