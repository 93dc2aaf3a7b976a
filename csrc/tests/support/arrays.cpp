#include "support/arrays.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

namespace convolite::testing {
namespace {

constexpr unsigned char kPattern = 0xa5;

}  // namespace

GuardedBytes::GuardedBytes(std::size_t size, Edge edge) {
  const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t usable = (size + page - 1) / page * page + page;
  mapped_ = usable + page;
  void* pages = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  pages_ = static_cast<unsigned char*>(pages);
  std::memset(pages_, kPattern, mapped_);
  if (edge == Edge::end) {
    data_ = pages_ + usable - size;
    fence_ = pages_;
    mprotect(pages_ + usable, page, PROT_NONE);
  } else {
    data_ = pages_ + page;
    fence_ = data_ + size;
    mprotect(pages_, page, PROT_NONE);
  }
  fence_size_ = usable - size;
}

GuardedBytes::~GuardedBytes() {
  munmap(pages_, mapped_);
}

bool GuardedBytes::fence_is_intact() const {
  return std::all_of(fence_, fence_ + fence_size_,
                     [](unsigned char byte) { return byte == kPattern; });
}

std::vector<double> Numbers::integers(Index count) {
  std::vector<double> values(static_cast<std::size_t>(count));
  for (double& value : values) value = static_cast<double>(between(-3, 3));
  return values;
}

std::vector<double> Numbers::normals(Index count) {
  std::normal_distribution<float> distribution;
  std::vector<double> values(static_cast<std::size_t>(count));
  for (double& value : values) value = distribution(engine_);
  return values;
}

Index Numbers::between(Index least, Index most) {
  return std::uniform_int_distribution<Index>(least, most)(engine_);
}

std::vector<double> absolute(std::vector<double> values) {
  for (double& value : values) value = std::fabs(value);
  return values;
}

}  // namespace convolite::testing
