// convolite_bench: prints what runs and what the machine can do, then the rows of cases/.
//   CONVOLITE_NUM_THREADS=1 convolite_bench --benchmark_filter=gemm/peak
#include <benchmark/benchmark.h>
#include <convolite/runtime.h>

#include <cstdio>
#include <string>

#include "peak.h"
#include "register.h"

namespace convolite::benchmarks {
namespace {

constexpr Index kLargeCopy = Index{1} << 28;  // beyond the caches

void describe_machine() {
  const std::string gigaflops = std::to_string(multiply_add_peak() / 1e9);
  const std::string gigabytes = std::to_string(copy_bandwidth(kLargeCopy) / 1e9);
  benchmark::AddCustomContext("convolite", version());
  benchmark::AddCustomContext("instruction set", isa());
  benchmark::AddCustomContext("threads", std::to_string(get_num_threads()));
  benchmark::AddCustomContext("multiply-add peak, GFLOP/s", gigaflops);
  benchmark::AddCustomContext("large copy, GB/s", gigabytes);
  if (get_num_threads() > 1) {
    const std::string nanoseconds = std::to_string(round_trip() * 1e9);
    benchmark::AddCustomContext("round trip between threads, ns", nanoseconds);
  }
}

}  // namespace
}  // namespace convolite::benchmarks

int main(int argc, char** argv) {
  using namespace convolite::benchmarks;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  register_gemm();
  register_conv2d();
  register_pool2d();
  register_norm();
  register_elementwise();
  describe_machine();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
