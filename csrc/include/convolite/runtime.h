// What a program may ask of, or tell, the library as a whole: threads, instruction set, memory.
#pragma once

#include <convolite/types.h>

#include <string>
#include <vector>

namespace convolite {

const char* version();

// Threads. The default is CONVOLITE_NUM_THREADS, else OMP_NUM_THREADS, else what affinity and the
// container's quota allow. Results do not depend on it.
int get_num_threads();
void set_num_threads(int count);  // fails unless 1 <= count <= 4096

// Instruction sets, lowest first. `isa()` is chosen at first use: the highest that this CPU
// supports, or the one that CONVOLITE_ISA names.
std::vector<std::string> compiled_isas();
std::vector<std::string> supported_isas();
std::string isa();
void set_isa(const std::string& name);  // fails unless supported; for tests and measurements

// Whether float32 convolutions may run by methods with other rounding than the plain sum
// (Winograd): on unless turned off.
bool get_fast_math();
void set_fast_math(bool on);

// Bytes held by the buffer cache.
struct MemoryStats {
  Index in_use = 0, peak_in_use = 0, cached = 0, reused = 0, allocated = 0;
};
MemoryStats memory_stats();
void release_memory();            // frees every cached buffer
void set_buffer_poison(bool on);  // tests: fresh buffers hold NaN and a guard that release checks

}  // namespace convolite
