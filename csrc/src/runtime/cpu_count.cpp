// The default number of threads: what was asked for, else the CPUs that this process may use.
#include "runtime/cpu_count.h"

#include <convolite/error.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <thread>
#ifdef __linux__
#include <sched.h>
#endif

namespace convolite {
namespace {

int affinity_count() {
#ifdef __linux__
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return CPU_COUNT(&allowed);
#endif
  return static_cast<int>(std::thread::hardware_concurrency());
}

int quota_to_cpus(double quota, double period) {
  if (quota <= 0 || period <= 0) return 0;
  return std::max(1, static_cast<int>(std::ceil(quota / period)));
}

// The number that `text` begins with, or 0; the whole text must be a number when `strict`.
int positive_number(const char* text, bool strict) {
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  if (end == text || value < 1 || value > 4096 || (strict && *end != '\0')) return 0;
  return static_cast<int>(value);
}

}  // namespace

int cgroup_cpu_limit(const std::string& root) {
  double quota = 0, period = 0;
  std::ifstream v2(root + "/cpu.max");
  if (v2)
    return v2 >> quota >> period ? quota_to_cpus(quota, period) : 0;  // "max 100000": no limit
  std::ifstream v1_quota(root + "/cpu/cpu.cfs_quota_us");
  std::ifstream v1_period(root + "/cpu/cpu.cfs_period_us");
  return v1_quota >> quota && v1_period >> period ? quota_to_cpus(quota, period) : 0;
}

int default_thread_count(int bound_cpus) {
  if (const char* text = std::getenv("CONVOLITE_NUM_THREADS"); text && *text) {
    const int count = positive_number(text, true);
    if (count == 0) fail("CONVOLITE_NUM_THREADS=", text, " is not an integer from 1 to 4096");
    return count;
  }
  if (const char* text = std::getenv("OMP_NUM_THREADS")) {
    if (const int count = positive_number(text, false)) return count;
  }
  int count = std::max(1, bound_cpus > 0 ? bound_cpus : affinity_count());
  if (const int limit = cgroup_cpu_limit("/sys/fs/cgroup")) count = std::min(count, limit);
  return count;
}

}  // namespace convolite
