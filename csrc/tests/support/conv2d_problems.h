// Convolutions to test: rows of cases/conv2d.csv and random sizes.
#pragma once

#include <convolite/conv2d.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "naive/conv2d.h"
#include "support/arrays.h"
#include "support/cases.h"

namespace convolite::testing {

inline NaiveConv2d problem_of(const Case& row) {
  return {row["n"],         row["c"],       row["h"],          row["w"],
          row["oc"],        row["kh"],      row["kw"],         row["stride_h"],
          row["stride_w"],  row["pad_top"], row["pad_bottom"], row["pad_left"],
          row["pad_right"], row["dil_h"],   row["dil_w"],      row["groups"]};
}

// The rows of "test" alone: those of "both" are as large as layers, and take the same methods.
inline std::vector<Case> small_cases() {
  std::vector<Case> rows = load_cases("conv2d", "test");
  rows.erase(std::remove_if(rows.begin(), rows.end(),
                            [](const Case& row) { return row.text("use") == "both"; }),
             rows.end());
  return rows;
}

inline Conv2dShape shape_of(const NaiveConv2d& p) {
  return Conv2dShape::infer({p.n, p.c, p.h, p.w}, {p.oc, p.c / p.groups, p.kh, p.kw},
                            {p.stride_h, p.stride_w}, {p.top, p.bottom, p.left, p.right},
                            {p.dil_h, p.dil_w}, p.groups);
}

inline std::string method_of(const NaiveConv2d& p, Pass pass = Pass::forward) {
  return conv2d_explain<float>(shape_of(p), pass).back().method;
}

// The same size with the usual attributes: square kernel, stride and padding, one group.
inline NaiveConv2d plain(Index n, Index c, Index size, Index oc, Index kernel, Index stride,
                         Index padding) {
  return {n,      c,       size,    size,    oc,      kernel, kernel, stride,
          stride, padding, padding, padding, padding, 1,      1,      1};
}

inline NaiveConv2d random_problem(Numbers& numbers) {
  NaiveConv2d p{};
  const auto draw = [&](Index least, Index most) { return numbers.between(least, most); };
  p.groups = draw(1, 3);
  p.n = draw(1, 4);
  p.c = p.groups * draw(1, 20);
  p.oc = p.groups * draw(1, 40);
  p.kh = draw(1, 4);
  p.kw = draw(1, 4);
  p.stride_h = draw(1, 3);
  p.stride_w = draw(1, 3);
  p.dil_h = draw(1, 3);
  p.dil_w = draw(1, 3);
  p.top = draw(0, 4);
  p.bottom = draw(0, 4);
  p.left = draw(0, 4);
  p.right = draw(0, 4);
  p.h = std::max<Index>(1, (p.kh - 1) * p.dil_h + 1 - p.top - p.bottom) + draw(0, 20);
  p.w = std::max<Index>(1, (p.kw - 1) * p.dil_w + 1 - p.left - p.right) + draw(0, 20);
  return p;
}

inline std::string described(const NaiveConv2d& p) {
  std::ostringstream text;
  for (const Index value : {p.n, p.c, p.h, p.w, p.oc, p.kh, p.kw, p.stride_h, p.stride_w, p.top,
                            p.bottom, p.left, p.right, p.dil_h, p.dil_w, p.groups}) {
    text << value << ",";
  }
  return "row for cases/conv2d.csv: random," + text.str() + "test";
}

// check(problem, seed) for what `draw` makes of the seeds from `first` on, to the first failure.
template <class Draw, class Check>
void check_random(std::uint64_t first, std::uint64_t count, Draw&& draw, Check&& check) {
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    Numbers numbers(seed);
    const NaiveConv2d p = draw(numbers);
    SCOPED_TRACE(described(p));
    check(p, seed);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace convolite::testing
