// What the machine can do at best, measured by the run that reports shares of it: multiply-adds out
// of the first cache, and copies of a given size. Both use as many threads as the library.
#pragma once

#include <convolite/types.h>

namespace convolite::benchmarks {

// Floating-point operations per second of the widest micro-kernel on operands in the first cache.
// Every call measures again for some milliseconds and returns the best so far.
double multiply_add_peak();

// Bytes per second, read and written together, of a parallel copy that moves `bytes` in all.
double copy_bandwidth(Index bytes);

}  // namespace convolite::benchmarks
