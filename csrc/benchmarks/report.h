// What every benchmark does alike: check once, repeat, and report a rate and its share of the peak.
#pragma once

#include <benchmark/benchmark.h>
#include <convolite/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/buffer.h"
#include "support/cases.h"

namespace convolite::benchmarks {

using testing::Case;

// Adds GFLOP/s of the timing loop, and `peak%` (median_share_of_peak) of run() measured apart.
// `operations` are those of the definition, whatever the method: Winograd's may pass 100 %.
void report_operations(benchmark::State& state, double operations,
                       const std::function<void()>& run);

// Adds GB/s and `copy%` (of copy_bandwidth for as many bytes) of `bytes` read and written per
// iteration.
void report_bytes(benchmark::State& state, Index bytes);

// Arrays stand in memory from the library's own cache, aligned as its results are.
template <class T>
struct CacheAllocator {
  using value_type = T;
  T* allocate(std::size_t count) {
    return static_cast<T*>(acquire_bytes(static_cast<Index>(count * sizeof(T))));
  }
  void deallocate(T* pointer, std::size_t) noexcept { release_bytes(pointer); }
  bool operator==(const CacheAllocator&) const { return true; }
  bool operator!=(const CacheAllocator&) const { return false; }
};
using Array = std::vector<float, CacheAllocator<float>>;

template <class T, class Allocator>
Span<T> span(std::vector<T, Allocator>& values) {
  return {values.data(), static_cast<Index>(values.size())};
}

// Registers body(state) under `name`, timed by the clock on the wall.
template <class Body>
void add(const std::string& name, Body body) {
  benchmark::RegisterBenchmark(name.c_str(), body)->UseRealTime()->Unit(benchmark::kMicrosecond);
}

// The problem of one row, made when it is first asked for; only the last one asked for is kept.
template <class Problem>
Problem& problem_of(const Case& row) {
  static std::unique_ptr<Problem> current;
  static std::string name;
  if (current == nullptr || name != row.name()) {
    current.reset();
    current = std::make_unique<Problem>(row);
    name = row.name();
  }
  return *current;
}

// The timing loop, after the result was checked: check() returns whether it is right.
template <class Check, class Run>
bool checked_loop(benchmark::State& state, Check check, Run run) {
  run();
  if (!check()) {
    state.SkipWithError("wrong result");
    return false;
  }
  for (auto _ : state) run();
  return true;
}

// checked_loop for what is bound by arithmetic.
template <class Check, class Run>
void checked_operations(benchmark::State& state, double operations, Check check, Run run) {
  if (checked_loop(state, check, run)) report_operations(state, operations, run);
}

}  // namespace convolite::benchmarks
