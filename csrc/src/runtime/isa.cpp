// Detects the CPU, obeys CONVOLITE_ISA and hands out the kernel tables. The levels themselves are
// named once, in kLevels.
#include "runtime/isa.h"

#include <convolite/error.h>
#include <convolite/runtime.h>

#include <atomic>
#include <cstdlib>

namespace convolite {
namespace {

struct Level {
  const char* name;
  bool (*runs_here)();
  const KernelTable<float>* table_f32;
  const KernelTable<double>* table_f64;
};

bool always() {
  return true;
}

#if defined(CONVOLITE_EMULATE_ISA)
constexpr auto has_avx2 = always;
constexpr auto has_avx512 = always;
#elif defined(CONVOLITE_HAS_AVX2)
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}
#endif

// Lowest first; the first one runs everywhere.
const Level kLevels[] = {
#ifdef CONVOLITE_HAS_BASELINE
    {"baseline", always, &baseline::table_f32, &baseline::table_f64},
    {"avx2", has_avx2, &avx2::table_f32, &avx2::table_f64},
    {"avx512", has_avx512, &avx512::table_f32, &avx512::table_f64},
#else
    {"portable", always, &portable::table_f32, &portable::table_f64},
#endif
};

std::atomic<const Level*> chosen{nullptr};

std::string join(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

const Level* find_level(const std::string& name) {
  for (const Level& level : kLevels) {
    if (name == level.name && level.runs_here()) return &level;
  }
  return nullptr;
}

const Level* choose() {
  if (const char* forced = std::getenv("CONVOLITE_ISA"); forced && *forced) {
    if (const Level* level = find_level(forced)) return level;
    fail("CONVOLITE_ISA must be one of ", join(supported_isas()),
         " on this CPU (compiled: ", join(compiled_isas()), "), got ", forced);
  }
  return find_level(supported_isas().back());
}

const Level& level() {
  const Level* found = chosen.load();
  if (found == nullptr) {
    found = choose();
    chosen = found;
  }
  return *found;
}

}  // namespace

const char* version() {
  return CONVOLITE_VERSION;
}

std::vector<std::string> compiled_isas() {
  std::vector<std::string> names;
  for (const Level& level : kLevels) names.emplace_back(level.name);
  return names;
}

std::vector<std::string> supported_isas() {
  std::vector<std::string> names;
  for (const Level& level : kLevels) {
    if (level.runs_here()) names.emplace_back(level.name);
  }
  return names;
}

std::string isa() {
  return level().name;
}

void set_isa(const std::string& name) {
  const Level* found = find_level(name);
  if (found == nullptr) {
    fail("set_isa: name must be one of ", join(supported_isas()), ", got ", name);
  }
  chosen = found;
}

template <>
const KernelTable<float>& kernels<float>() {
  return *level().table_f32;
}
template <>
const KernelTable<double>& kernels<double>() {
  return *level().table_f64;
}

}  // namespace convolite
