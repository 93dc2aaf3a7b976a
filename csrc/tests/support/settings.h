// Runs a computation under every instruction set and several thread counts, and compares what it
// gives with what an oracle gave. The only place of the C++ tests where a tolerance is written.
#pragma once

#include <convolite/runtime.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "support/arrays.h"

namespace convolite::testing {

// Brings instruction set, thread count, fast math and buffer poison back at the end of a scope.
class SettingsGuard {
 public:
  SettingsGuard() : isa_(isa()), threads_(get_num_threads()), fast_math_(get_fast_math()) {}
  ~SettingsGuard() {
    set_isa(isa_);
    set_num_threads(threads_);
    set_fast_math(fast_math_);
    set_buffer_poison(false);
  }
  SettingsGuard(const SettingsGuard&) = delete;
  SettingsGuard& operator=(const SettingsGuard&) = delete;

 private:
  std::string isa_;
  int threads_;
  bool fast_math_;
};

// What an oracle says: values, and for each the sum of its absolute terms, which bounds rounding.
// An empty scale demands equality.
struct Expected {
  std::vector<double> values;
  std::vector<double> scale;
};

// What rounding may change in a sum whose terms have this size in all.
template <class T>
double rounding(double size) {
  using Limits = std::numeric_limits<T>;
  return 4.0 * static_cast<double>(Limits::epsilon()) * size + static_cast<double>(Limits::min());
}

template <class T>
::testing::AssertionResult matches(const Span<T>& actual, const Expected& expected) {
  if (actual.size != static_cast<Index>(expected.values.size())) {
    return ::testing::AssertionFailure()
           << actual.size << " elements instead of " << expected.values.size();
  }
  for (Index i = 0; i < actual.size; ++i) {
    const double wanted = expected.values[static_cast<std::size_t>(i)];
    const double found = static_cast<double>(actual[i]);
    if (found == wanted || (std::isnan(found) && std::isnan(wanted))) continue;
    const double bound =
        expected.scale.empty() ? 0.0 : rounding<T>(expected.scale[static_cast<std::size_t>(i)]);
    if (std::fabs(found - wanted) <= bound) continue;
    return ::testing::AssertionFailure()
           << "element " << i << " of " << actual.size << " is " << found << " instead of "
           << wanted << " (bound " << bound << ")";
  }
  return ::testing::AssertionSuccess();
}

inline constexpr int kThreadCounts[] = {1, 2, 3};

// compute(edge, output) fills `output` from arguments placed at `edge`. It runs with poisoned
// buffers under every instruction set that this CPU supports; the bits must not depend on the
// thread count.
template <class T, class Compute>
void check_everywhere(const Expected& expected, Compute compute) {
  const SettingsGuard guard;
  set_buffer_poison(true);
  const Index size = static_cast<Index>(expected.values.size());
  for (const std::string& name : supported_isas()) {
    set_isa(name);
    std::vector<T> first;
    for (const int threads : kThreadCounts) {
      SCOPED_TRACE(name + ", " + std::to_string(threads) + " threads, " +
                   std::to_string(8 * sizeof(T)) + " bits");
      set_num_threads(threads);
      const Edge edge = threads % 2 == 1 ? Edge::end : Edge::begin;
      const Result<T> result(size, edge);
      compute(edge, result.span());
      ASSERT_TRUE(result.fence_is_intact()) << "written outside the result";
      ASSERT_TRUE(matches<T>(result.span(), expected));
      if (first.empty()) first = result.copy();
      if (first.empty()) continue;
      ASSERT_EQ(0, std::memcmp(first.data(), result.span().data, first.size() * sizeof(T)))
          << "bits depend on the thread count";
    }
  }
}

// The message of the std::exception that `call` throws, or "" when it throws none.
template <class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace convolite::testing
