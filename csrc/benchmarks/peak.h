// What the machine can do at best, measured by the run that reports shares of it: multiply-adds out
// of the first cache, and copies of a given size. Both use as many threads as the library.
#pragma once

#include <convolite/types.h>

#include <functional>

namespace convolite::benchmarks {

// Floating-point operations per second of the widest micro-kernel on operands in the first cache:
// the best of several bursts of some 2 ms.
double multiply_add_peak();

// The operations per second of run() by those of the bursts before and after it: the median over
// turns of both, so that a machine whose speed wanders slows them alike.
double median_share_of_peak(double operations, const std::function<void()>& run);

// Bytes per second, read and written together, of a parallel copy that moves `bytes` in all.
double copy_bandwidth(Index bytes);

}  // namespace convolite::benchmarks
