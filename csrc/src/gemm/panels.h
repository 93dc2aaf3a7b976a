// How the columns of a packed operand are cut into panels for the micro-kernel: panel p is `depth`
// rows of width(p) elements, widths differ by at most one vector, columns past the end are zero.
#pragma once

#include <convolite/types.h>

#include <algorithm>

#include "runtime/integers.h"
#include "runtime/isa.h"

namespace convolite {

class PanelLayout {
 public:
  PanelLayout() = default;
  template <class T>
  PanelLayout(const KernelTable<T>& table, Index columns)
      : lanes_(table.lanes),
        columns_(columns),
        vectors_(parts(ceil_divide(columns, lanes_), table.gemm.vectors)) {}

  Index panels() const { return vectors_.count(); }
  Index columns() const { return columns_; }
  Index padded_columns() const { return first_column(panels()); }
  Index first_column(Index panel) const { return vectors_.first(panel) * lanes_; }
  Index width(Index panel) const { return vectors(panel) * lanes_; }
  // Columns of this panel that are not padding.
  Index used(Index panel) const { return std::min(width(panel), columns_ - first_column(panel)); }
  Index vectors(Index panel) const { return vectors_.size(panel); }
  // Where panel p begins when all panels of `depth` rows stand one after the other.
  Index offset(Index panel, Index depth) const { return first_column(panel) * depth; }

 private:
  static EvenParts parts(Index vectors, Index widest) {
    return {vectors, ceil_divide(vectors, widest)};
  }

  Index lanes_ = 1, columns_ = 0;
  EvenParts vectors_;  // of each panel
};

}  // namespace convolite
