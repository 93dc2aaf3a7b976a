// What the machine can do, measured by the run that reports shares of it: multiply-adds out of the
// first cache and copies of a given size, with as many threads as the library uses, and how far
// apart two threads are.
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

// Seconds in which two threads hand a flag to each other and back, the median of some rounds: tens
// of nanoseconds on cores with a common cache, hundreds on others.
double round_trip();

// Bytes per second, read and written together, of a parallel copy that moves `bytes` in all.
double copy_bandwidth(Index bytes);

}  // namespace convolite::benchmarks
