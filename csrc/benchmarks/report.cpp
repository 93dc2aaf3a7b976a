#include "report.h"

#include "peak.h"

namespace convolite::benchmarks {
namespace {

using benchmark::Counter;

Counter rate(double value) {
  return Counter(value, Counter::kIsIterationInvariantRate);
}

}  // namespace

void report_operations(benchmark::State& state, double operations,
                       const std::function<void()>& run) {
  state.counters["GFLOP/s"] = rate(operations / 1e9);
  state.counters["peak%"] = 100 * median_share_of_peak(operations, run);
}

void report_bytes(benchmark::State& state, Index bytes) {
  state.counters["GB/s"] = rate(static_cast<double>(bytes) / 1e9);
  state.counters["copy%"] = rate(100 * static_cast<double>(bytes) / copy_bandwidth(bytes));
}

}  // namespace convolite::benchmarks
