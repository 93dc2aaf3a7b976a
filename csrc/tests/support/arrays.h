// Arrays for tests: memory that reports every access past its ends, and numbers to fill it with.
#pragma once

#include <convolite/types.h>

#include <random>
#include <string>
#include <vector>

namespace convolite::testing {

// Which end of an array touches a page that may be neither read nor written.
enum class Edge { end, begin };

// Bytes with a forbidden page at one edge and a known pattern between the other edge and its page.
class GuardedBytes {
 public:
  GuardedBytes(std::size_t size, Edge edge);
  ~GuardedBytes();
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;

  unsigned char* data() const { return data_; }
  bool fence_is_intact() const;

 private:
  std::size_t mapped_, fence_size_;
  unsigned char *pages_, *data_, *fence_;
};

// A result: all NaN before it is computed.
template <class T>
class Result {
 public:
  Result(Index count, Edge edge) : count_(count), bytes_(sizeof(T) * count, edge) {
    for (Index i = 0; i < count; ++i) span()[i] = std::numeric_limits<T>::quiet_NaN();
  }
  Span<T> span() const { return {reinterpret_cast<T*>(bytes_.data()), count_}; }
  bool fence_is_intact() const { return bytes_.fence_is_intact(); }
  std::vector<T> copy() const { return {span().data, span().data + count_}; }

 private:
  Index count_;
  GuardedBytes bytes_;
};

// An argument: the same values at both edges. Values given as double must be representable in T.
template <class T>
class Argument {
 public:
  template <class Value>
  explicit Argument(const std::vector<Value>& values)
      : at_end_(static_cast<Index>(values.size()), Edge::end),
        at_begin_(static_cast<Index>(values.size()), Edge::begin) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      at_end_.span().data[i] = at_begin_.span().data[i] = static_cast<T>(values[i]);
    }
  }
  Span<const T> operator()(Edge edge) const {
    return edge == Edge::end ? at_end_.span() : at_begin_.span();
  }

 private:
  Result<T> at_end_, at_begin_;
};

// Repeatable numbers; every one of them is a float.
class Numbers {
 public:
  explicit Numbers(std::uint64_t seed) : engine_(seed) {}
  // Whole numbers of -3..3: their sums of products are exact, also in float.
  std::vector<double> integers(Index count);
  // Zero mean, unit variance.
  std::vector<double> normals(Index count);
  // Uniform in [least, most].
  Index between(Index least, Index most);

 private:
  std::mt19937_64 engine_;
};

std::vector<double> absolute(std::vector<double> values);

}  // namespace convolite::testing
