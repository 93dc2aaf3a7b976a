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
};

// Fills the epilogue part of the micro-kernel's arguments, for columns from `first_column` on. The
// bias of the rows is left to whoever walks along them.
template <class T>
void set_epilogue(GemmTileArguments<T>& arguments, const Epilogue<T>& epilogue,
                  Index first_column) {
  arguments.bias = epilogue.bias == nullptr ? nullptr : epilogue.bias + first_column;
  arguments.clamp = epilogue.activation != Activation::none;
  arguments.low = 0;
  arguments.high =
      epilogue.activation == Activation::relu6 ? T(6) : std::numeric_limits<T>::infinity();
}

}  // namespace convolite
