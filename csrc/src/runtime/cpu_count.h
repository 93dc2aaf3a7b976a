// How many CPUs this process may really use: environment, affinity mask, container quota.
#pragma once

#include <string>

namespace convolite {

// CONVOLITE_NUM_THREADS, else OMP_NUM_THREADS (its first number), else the smaller of the CPUs and
// the cgroup quota; at least 1. The CPUs are those that threads are bound to, `bound_cpus`, or when
// that is 0 those of the calling thread's affinity mask. Fails when CONVOLITE_NUM_THREADS is not a
// positive integer.
int default_thread_count(int bound_cpus);

// CPUs granted by the cgroup quota files below `root` (v2 cpu.max, else v1 cpu.cfs_quota_us),
// rounded up; 0 when there is no limit.
int cgroup_cpu_limit(const std::string& root);

}  // namespace convolite
