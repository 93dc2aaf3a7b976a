// Layout and filling of the depthwise band.
#include "ops/conv2d/depthwise_band.h"

#include <algorithm>
#include <limits>

#include "runtime/buffer.h"
#include "runtime/integers.h"
#include "runtime/isa.h"

namespace convolite {
namespace {

std::vector<AxisTap> sorted(std::vector<AxisTap> taps) {
  std::sort(taps.begin(), taps.end(),
            [](const AxisTap& a, const AxisTap& b) { return a.offset < b.offset; });
  return taps;
}

bool are_consecutive(const std::vector<AxisTap>& taps) {
  for (std::size_t i = 1; i < taps.size(); ++i) {
    if (taps[i].offset != taps[i - 1].offset + 1) return false;
  }
  return true;
}

}  // namespace

DepthwiseBand::DepthwiseBand(const TapLattice& lattice, HW kernel, int lanes, Index element_size)
    : lattice_(lattice),
      kernel_(kernel),
      slack_(static_cast<Index>(kBandSlack) * lanes),
      element_size_(element_size) {
  Index row_begin = std::numeric_limits<Index>::max(), row_end = 0;
  Index column_begin = row_begin, column_end = 0;
  Index pixels = 1;  // of the longest row
  bool any = false;
  for (const Phase& phase : lattice.phases) {
    if (phase.taps() == 0) continue;
    row_begin = std::min(row_begin, phase.rows.least_offset());
    row_end = any ? std::max(row_end, phase.rows.greatest_offset() + 1)
                  : phase.rows.greatest_offset() + 1;
    column_begin = std::min(column_begin, phase.columns.least_offset());
    const Index end =
        (phase.columns.count - 1) * lattice.step.w + phase.columns.greatest_offset() + 1;
    column_end = any ? std::max(column_end, end) : end;
    pixels = std::max(pixels, phase.columns.count);
    any = true;
  }
  if (!any) return;
  row_offset_ = row_begin;
  row_span_ = row_end - row_begin;
  if (pixels > 1) step_ = lattice.step.w;
  column_begin_ = column_begin;
  first_column_ = std::max<Index>(column_begin, 0);
  columns_ = std::max<Index>(std::min(column_end, lattice.source.w) - first_column_, 0);
  if (columns_ == 0) first_column_ = column_begin;
  const Index left = first_column_ - column_begin;
  const Index right = column_end - (first_column_ + columns_);
  // The zeros to the right of a row serve the next row as those to its left.
  const Index pitch = ceil_divide(columns_ + std::max(left, right), step_) + (step_ > 1 ? 1 : 0);
  pitch_ = round_up(pitch, lanes);
  lead_ = round_up(left / step_, lanes) - left / step_;
}

Index DepthwiseBand::pixel_rows(Index rows) const {
  return ceil_divide(rows, lattice_.spacing.h);
}

Index DepthwiseBand::band_rows(Index pixel_rows) const {
  return (pixel_rows - 1) * lattice_.step.h + row_span_;
}

Index DepthwiseBand::rows_within(Index bytes, Index channels) const {
  const Index row_bytes = pitch_ * step_ * channels * element_size_;
  const Index band_rows = std::max(bytes / row_bytes, row_span_);
  const Index pixel_rows = (band_rows - row_span_) / lattice_.step.h + 1;
  const Index rows = std::min(pixel_rows * lattice_.spacing.h, lattice_.result.h);
  const Index blocks = ceil_divide(lattice_.result.h, rows);
  const Index even_share = round_up(ceil_divide(lattice_.result.h, blocks), lattice_.spacing.h);
  return std::min(even_share, lattice_.result.h);
}

void DepthwiseBand::set_rows(Index rows) {
  const Index line = kAlignment / element_size_;
  phase_stride_ = round_up(lead_ + (band_rows(pixel_rows(rows)) + 1) * pitch_ + slack_, line);
}

BandTaps DepthwiseBand::taps(std::size_t phase, Index planes) const {
  const std::vector<AxisTap> rows = sorted(lattice_.phases[phase].rows.taps);
  const std::vector<AxisTap> columns = sorted(lattice_.phases[phase].columns.taps);
  BandTaps taps;
  for (Index plane = 0; plane < planes; ++plane) {
    for (const AxisTap& row : rows) {
      for (const AxisTap& column : columns) {
        const Index q = column.offset - column_begin_;
        taps.offsets.push_back(lead_ + plane * plane_size() + (row.offset - row_offset_) * pitch_ +
                               q % step_ * phase_stride_ + q / step_);
        taps.weights.push_back((plane * kernel_.h + row.kernel) * kernel_.w + column.kernel);
      }
    }
  }
  if (planes == 1 && rows.size() == columns.size() && are_consecutive(rows)) {
    taps.square = static_cast<Index>(rows.size());
  }
  return taps;
}

template <class T>
void DepthwiseBand::load(const KernelTable<T>& table, const T* source, const T* source_end,
                         Index planes, Index source_stride, Index row, Index rows, T* band) const {
  const Nchw& image = lattice_.source;
  const Index first_row = row / lattice_.spacing.h * lattice_.step.h + row_offset_;
  const Index band_rows = this->band_rows(pixel_rows(rows));
  DepthwiseBandArguments<T> arguments{};
  arguments.source_end = source_end;
  arguments.planes = planes;
  arguments.source_stride = source_stride;
  arguments.source_pitch = image.w;
  arguments.above = std::clamp<Index>(-first_row, 0, band_rows);
  arguments.rows =
      std::clamp<Index>(image.h - first_row - arguments.above, 0, band_rows - arguments.above);
  arguments.left = first_column_ - column_begin_;
  arguments.columns = columns_;
  if (columns_ == 0) arguments.rows = 0;
  arguments.below = band_rows - arguments.above - arguments.rows;
  arguments.source = arguments.rows == 0
                         ? source
                         : source + (first_row + arguments.above) * image.w + first_column_;
  arguments.band = band + lead_;
  arguments.step = step_;
  arguments.pitch = pitch_;
  arguments.phase_stride = phase_stride_;
  arguments.band_stride = plane_size();
  table.depthwise.fill_band(arguments);
}

template void DepthwiseBand::load(const KernelTable<float>&, const float*, const float*, Index,
                                  Index, Index, Index, float*) const;
template void DepthwiseBand::load(const KernelTable<double>&, const double*, const double*, Index,
                                  Index, Index, Index, double*) const;

}  // namespace convolite
