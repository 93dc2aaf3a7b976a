// Which kernels run: the table of the chosen instruction-set level.
#pragma once

#include "kernels/table.h"

namespace convolite {

// The table for float or double; chosen at first use, see convolite/runtime.h.
template <class T>
const KernelTable<T>& kernels();

}  // namespace convolite
