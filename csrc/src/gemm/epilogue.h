// What happens to a finished sum before it is stored.
#pragma once

#include <convolite/types.h>

#include <limits>

#include "kernels/table.h"

namespace convolite {

template <class T>
struct Epilogue {
  const T* bias = nullptr;  // one value per column, or null
  Activation activation = Activation::none;
  const T* row_bias = nullptr;  // one value per row, or null
  // Only for gemm_each, or null: factors of the rows in front of their bias, and what is added
  // before the activation, laid out as C.
  const T* row_scale = nullptr;
  const T* residual = nullptr;
};

// The clamp of a kernel's arguments.
template <class Arguments>
void set_clamp(Arguments& arguments, Activation activation) {
  using T = decltype(arguments.high);
  arguments.clamp = activation != Activation::none;
  arguments.low = 0;
  arguments.high = activation == Activation::relu6 ? T(6) : std::numeric_limits<T>::infinity();
}

// Fills the epilogue part of the micro-kernel's arguments, for columns from `first_column` on. What
// belongs to the rows is left to whoever walks along them.
template <class T>
void set_epilogue(GemmTileArguments<T>& arguments, const Epilogue<T>& epilogue,
                  Index first_column) {
  arguments.bias = epilogue.bias == nullptr ? nullptr : epilogue.bias + first_column;
  set_clamp(arguments, epilogue.activation);
}

}  // namespace convolite
