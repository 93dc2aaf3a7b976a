// Padding writes each row of the output once: a piece of border, a piece of input, and border
// again. Bound by memory.
#include <convolite/error.h>
#include <convolite/pad.h>

#include <algorithm>
#include <cassert>
#include <cstring>

#include "runtime/integers.h"
#include "runtime/threads.h"

namespace convolite {
namespace {

constexpr const char* kOp = "pad";
constexpr Index kBlock = 1 << 16;        // bytes of one task
constexpr Index kMost = Index{1} << 60;  // elements, so that their bytes can be counted
using Axis = PadShape::Axis;

// Repeats an element by doubling what is there.
void fill(Span<const unsigned char> element, unsigned char* to, Index bytes) {
  if (bytes == 0) return;
  std::memcpy(to, element.data, static_cast<std::size_t>(element.size));
  for (Index done = element.size; done < bytes;) {
    const Index more = std::min(done, bytes - done);
    std::memcpy(to + done, to, static_cast<std::size_t>(more));
    done += more;
  }
}

// Which row of the input belongs in row `row` of the output; -1 for a row of border.
Index source_row(const std::vector<Axis>& axes, Index row) {
  Index source = 0, stride = 1;
  for (std::size_t i = axes.size() - 1; i-- > 0;) {
    const Index place = row % axes[i].output - axes[i].before;
    row /= axes[i].output;
    if (place < 0 || place >= axes[i].input) return -1;
    source += place * stride;
    stride *= axes[i].input;
  }
  return source;
}

void check_widths(const std::vector<Index>& input, const std::vector<Index>& widths) {
  if (widths.size() % 2 != 0 || widths.size() > 2 * input.size()) {
    fail(kOp, ": pad must hold two widths for each of at most ", input.size(), " axes, got ",
         shape_text(widths));
  }
  for (const Index width : widths) {
    if (width <= -kMost || width >= kMost) {
      fail(kOp, ": widths must be smaller than 2^60, got ", shape_text(widths));
    }
  }
  for (std::size_t i = 0; i < widths.size(); i += 2) {
    const Index length = input[input.size() - 1 - i / 2];
    const Index cut = -(std::min<Index>(widths[i], 0) + std::min<Index>(widths[i + 1], 0));
    if (cut > length) {
      fail(kOp, ": cannot cut ", cut, " from an axis of ", length,
           " (input.shape = ", shape_text(input), ", pad = ", shape_text(widths), ")");
    }
  }
}

}  // namespace

PadShape PadShape::infer(const std::vector<Index>& input, const std::vector<Index>& widths) {
  check_widths(input, widths);
  PadShape shape;
  Index run = 1;  // elements of the axes inside, as long as none of them has a border
  for (std::size_t back = 0; back < input.size(); ++back) {
    const Index length = input[input.size() - 1 - back];
    const bool given = 2 * back < widths.size();
    const Index before = given ? widths[2 * back] : 0, after = given ? widths[2 * back + 1] : 0;
    const Index padded = length + before + after;
    shape.output.push_back(padded);
    if (__builtin_mul_overflow(shape.size, padded, &shape.size) || shape.size >= kMost) {
      fail(kOp, ": pad must give fewer than 2^60 elements, got ", shape_text(widths));
    }
    if (before != 0 || after != 0 || back + 1 == input.size()) {
      shape.axes.push_back({run * length, run * padded, run * before});
      run = 1;
    } else {
      run *= length;
    }
  }
  if (shape.axes.empty()) shape.axes.push_back({1, 1, 0});
  std::reverse(shape.output.begin(), shape.output.end());
  std::reverse(shape.axes.begin(), shape.axes.end());
  return shape;
}

void pad(const PadShape& shape, Index element_bytes, Span<const unsigned char> input,
         Span<const unsigned char> border, Span<unsigned char> output) {
  assert(border.size == element_bytes && output.size == shape.size * element_bytes);
  if (output.size == 0) return;
  const Axis& inner = shape.axes.back();
  const Index row_bytes = inner.output * element_bytes;
  const Index begin = std::clamp<Index>(inner.before, 0, inner.output);
  const Index end = std::clamp<Index>(inner.before + inner.input, begin, inner.output);
  const Index rows_per_task = std::max<Index>(1, kBlock / row_bytes);
  parallel_blocks(
      shape.size / inner.output, rows_per_task, shape.size, [&](Index first, Index last, int) {
        for (Index row = first; row < last; ++row) {
          unsigned char* to = output.data + row * row_bytes;
          const Index source = source_row(shape.axes, row);
          const Index from = source < 0 ? inner.output : begin, until = source < 0 ? from : end;
          fill(border, to, from * element_bytes);
          if (until > from) {
            std::memcpy(to + from * element_bytes,
                        input.data + (source * inner.input + from - inner.before) * element_bytes,
                        static_cast<std::size_t>((until - from) * element_bytes));
          }
          fill(border, to + until * element_bytes, (inner.output - until) * element_bytes);
        }
      });
}

}  // namespace convolite
