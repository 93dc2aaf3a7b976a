// The padded copy of some rows of image planes from which the depthwise kernels read (contract:
// kernels/table.h), and where in it the taps of each phase of a TapLattice lie.
#pragma once

#include <convolite/conv2d.h>

#include <cstddef>
#include <vector>

#include "kernels/table.h"
#include "ops/conv2d/tap_lattice.h"

namespace convolite {

// Taps sorted by row and column.
struct BandTaps {
  std::vector<std::ptrdiff_t> offsets;  // from the place of a pixel in the band
  std::vector<std::ptrdiff_t> weights;  // element of the filters
  Index square = 0;                     // side of the square without gaps between rows, or 0

  Index count() const { return static_cast<Index>(offsets.size()); }
};

class DepthwiseBand {
 public:
  DepthwiseBand(const TapLattice& lattice, HW kernel, int lanes, Index element_size);

  // Result rows of one band, a multiple of the lattice's spacing unless all rows fit into one, so
  // that the planes of `channels` channels take about `bytes`.
  Index rows_within(Index bytes, Index channels) const;
  // Fixes the size of a band of so many result rows.
  void set_rows(Index rows);

  Index plane_size() const { return phase_stride_ * step_; }
  Index source_stride() const { return pitch_ * lattice_.step.h; }
  // The taps of lattice.phases[phase] in `planes` consecutive planes of the band, whose filters are
  // consecutive too.
  BandTaps taps(std::size_t phase, Index planes) const;

  // Copies what the result rows [row, row + rows) read of `planes` planes, source_stride apart. The
  // band was all zero before its first use.
  template <class T>
  void load(const KernelTable<T>& table, const T* source, const T* source_end, Index planes,
            Index source_stride, Index row, Index rows, T* band) const;

 private:
  Index pixel_rows(Index rows) const;
  Index band_rows(Index pixel_rows) const;

  const TapLattice& lattice_;
  HW kernel_;
  Index slack_, element_size_;
  Index row_offset_ = 0, row_span_ = 1;   // first row of the first pixel's taps, their extent
  Index column_begin_ = 0;                // first column of the first pixel's taps
  Index first_column_ = 0, columns_ = 0;  // of the image, that pixels read
  Index step_ = 1;                        // column phases
  Index pitch_ = 1, phase_stride_ = 0;
  Index lead_ = 0;  // aligns the first column of the image
};

}  // namespace convolite
