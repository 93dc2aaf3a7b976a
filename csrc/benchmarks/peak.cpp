#include "peak.h"

#include <convolite/runtime.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <map>
#include <thread>
#include <vector>

#include "runtime/buffer.h"
#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite::benchmarks {
namespace {

constexpr Index kOperandBytes = 24 << 10;  // leaves room in a first cache of 32 KB
constexpr Index kTilesPerTask = 20;        // about 10 us
constexpr Index kTasksPerThread = 160;
constexpr Index kEnoughWork = Index{1} << 40;  // never run inline
constexpr Index kCopyBlock = 1 << 16;
constexpr int kRounds = 20;
constexpr int kTripsOfRound = 500, kTrips = 21 * kTripsOfRound;
constexpr std::size_t kFewestTurns = 5, kTurns = 21;
constexpr double kTurnSeconds = 2e-3;
constexpr double kTurnsSeconds = 0.3;

template <class Body>
double seconds(const Body& body) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  body();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// One worker's operands of the micro-kernel: one column of A for all k, so that B may fill the
// cache and the loop over k is as long as the library's own.
class Tile {
 public:
  Tile()
      : table_(kernels<float>()),
        width_(static_cast<Index>(table_.lanes) * table_.gemm.vectors),
        depth_(kOperandBytes / static_cast<Index>(sizeof(float)) / width_),
        a_(table_.gemm.rows),
        b_(depth_ * width_),
        c_(table_.gemm.rows * width_),
        a_cols_(depth_) {
    std::fill_n(a_.get(), table_.gemm.rows, 1.0f);
    std::fill_n(b_.get(), depth_ * width_, 1.0f);
    std::fill_n(a_cols_.get(), depth_, 0);
    for (Index m = 0; m < table_.gemm.rows; ++m) {
      a_rows_[m] = static_cast<std::int32_t>(m);
      c_rows_[m] = static_cast<std::int32_t>(m * width_);
    }
  }

  double operations() const {
    return 2.0 * static_cast<double>(table_.gemm.rows * width_ * depth_);
  }

  void run() const {
    GemmTileArguments<float> arguments{};
    arguments.depth = depth_;
    arguments.a = a_.get();
    arguments.a_rows = a_rows_;
    arguments.a_cols = a_cols_.get();
    arguments.b = b_.get();
    arguments.c = c_.get();
    arguments.c_rows = c_rows_;
    arguments.columns = width_;
    table_.gemm.tile[table_.gemm.vectors - 1][table_.gemm.rows - 1](arguments);
  }

 private:
  const KernelTable<float>& table_;
  Index width_, depth_;
  Buffer<float> a_, b_, c_;
  Buffer<std::int32_t> a_cols_;
  std::int32_t a_rows_[kMaxTileRows], c_rows_[kMaxTileRows];
};

// Operations per second of the widest micro-kernel, over some 2 ms.
double multiply_add_burst() {
  static const std::vector<Tile> tiles(static_cast<std::size_t>(get_num_threads()));
  const Index tasks = kTasksPerThread * get_num_threads();
  const double operations = tiles.front().operations() * static_cast<double>(kTilesPerTask * tasks);
  const double time = seconds([&] {
    parallel_for(tasks, kEnoughWork, [&](Index, int worker) {
      const Tile& tile = tiles[static_cast<std::size_t>(worker)];
      for (Index i = 0; i < kTilesPerTask; ++i) tile.run();
    });
  });
  return operations / time;
}

}  // namespace

double multiply_add_peak() {
  double best = 0;
  for (int round = 0; round < kRounds; ++round) best = std::max(best, multiply_add_burst());
  return best;
}

double median_share_of_peak(double operations, const std::function<void()>& run) {
  std::vector<double> shares;
  double before = multiply_add_burst(), total = 0;
  while (shares.size() < kFewestTurns || (shares.size() < kTurns && total < kTurnsSeconds)) {
    int runs = 0;
    double time = 0;
    for (; time < kTurnSeconds; ++runs) time += seconds(run);
    const double after = multiply_add_burst();
    shares.push_back(operations * runs / time / ((before + after) / 2));
    before = after;
    total += time;
  }
  const auto middle = shares.begin() + static_cast<std::ptrdiff_t>(shares.size() / 2);
  std::nth_element(shares.begin(), middle, shares.end());
  return *middle;
}

double round_trip() {
  std::atomic<int> flag{0};
  std::thread other([&] {
    for (int trip = 0; trip < kTrips; ++trip) {
      while (flag.load() != 2 * trip + 1) continue;
      flag = 2 * trip + 2;
    }
  });
  std::vector<double> times;
  for (int trip = 0; trip < kTrips;) {
    times.push_back(seconds([&] {
      for (const int end = trip + kTripsOfRound; trip < end; ++trip) {
        flag = 2 * trip + 1;
        while (flag.load() != 2 * trip + 2) continue;
      }
    }));
  }
  other.join();
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle / kTripsOfRound;
}

double copy_bandwidth(Index bytes) {
  static std::map<Index, double> known;
  double& best = known[bytes];
  if (best != 0) return best;
  const Index half = std::max<Index>(bytes / 2, 1);
  const Buffer<char> from(half), to(half);
  std::memset(from.get(), 1, static_cast<std::size_t>(half));
  const Index repeats = 1 + (Index{1} << 26) / bytes;
  for (int round = 0; round < kRounds; ++round) {
    const double time = seconds([&] {
      for (Index repeat = 0; repeat < repeats; ++repeat) {
        parallel_blocks(half, kCopyBlock, half, [&](Index begin, Index end, int) {
          std::memcpy(to.get() + begin, from.get() + begin, static_cast<std::size_t>(end - begin));
        });
      }
    });
    best = std::max(best, static_cast<double>(2 * half * repeats) / time);
  }
  return best;
}

}  // namespace convolite::benchmarks
