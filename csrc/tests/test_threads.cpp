// Parallel loops: every task once, workers within bounds, nesting, forks, callers on several
// threads.
#include <convolite/linear.h>
#include <convolite/runtime.h>
#include <gtest/gtest.h>
#ifdef __linux__
#include <sched.h>
#endif
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <new>
#include <thread>
#include <vector>

#include "runtime/threads.h"
#include "support/arrays.h"
#include "support/settings.h"

namespace convolite::testing {
namespace {

class Threads : public ::testing::Test {
 private:
  SettingsGuard guard_;
};

TEST_F(Threads, every_task_runs_once_on_a_worker_that_exists) {
  for (const int threads : {1, 2, 3, 8}) {
    set_num_threads(threads);
    for (const Index tasks : {0, 1, 2, 7, 100}) {
      std::vector<std::atomic<int>> runs(tasks);
      const int workers = worker_count(tasks, kSerialWork);
      std::atomic<bool> in_bounds{true};
      parallel_for(tasks, kSerialWork, [&](Index task, int worker) {
        ++runs[task];
        if (worker < 0 || worker >= workers) in_bounds = false;
      });
      for (const std::atomic<int>& count : runs) EXPECT_EQ(1, count.load());
      EXPECT_TRUE(in_bounds.load());
    }
  }
}

TEST_F(Threads, large_loops_use_the_threads_that_were_asked_for) {
  set_num_threads(3);
  EXPECT_EQ(3, worker_count(100, kSerialWork));
  EXPECT_EQ(2, worker_count(2, kSerialWork));
  std::atomic<int> arrived{0};
  parallel_for(3, kSerialWork, [&](Index, int) {
    ++arrived;
    while (arrived < 3) std::this_thread::yield();
  });
  EXPECT_EQ(3, arrived.load());
}

#ifdef __linux__
TEST_F(Threads, workers_keep_the_cpus_that_they_were_allowed) {
  set_num_threads(3);
  cpu_set_t allowed;
  ASSERT_EQ(0, sched_getaffinity(0, sizeof allowed, &allowed));
  std::atomic<int> other_masks{0};
  for (int repeat = 0; repeat < 200; ++repeat) {
    parallel_for(3, kSerialWork, [&](Index, int) {
      cpu_set_t mask;
      if (sched_getaffinity(0, sizeof mask, &mask) != 0 || !CPU_EQUAL(&mask, &allowed)) {
        ++other_masks;
      }
    });
  }
  EXPECT_EQ(0, other_masks.load());
}
#endif

TEST_F(Threads, an_exception_of_any_task_reaches_the_caller) {
  for (const int threads : {1, 3}) {
    set_num_threads(threads);
    EXPECT_THROW(parallel_for(50, kSerialWork,
                              [](Index task, int) {
                                if (task % 7 == 3) throw std::bad_alloc();
                              }),
                 std::bad_alloc);
    std::atomic<int> runs{0};
    parallel_for(50, kSerialWork, [&](Index, int) { ++runs; });
    EXPECT_EQ(50, runs.load());
  }
}

TEST_F(Threads, small_loops_run_inline) {
  set_num_threads(4);
  EXPECT_EQ(1, worker_count(100, kSerialWork - 1));
  const auto caller = std::this_thread::get_id();
  parallel_for(100, kSerialWork - 1, [&](Index, int worker) {
    EXPECT_EQ(caller, std::this_thread::get_id());
    EXPECT_EQ(0, worker);
  });
}

TEST_F(Threads, a_loop_inside_a_task_runs_inline) {
  set_num_threads(4);
  std::atomic<int> total{0};
  parallel_for(4, kSerialWork, [&](Index, int) {
    const auto caller = std::this_thread::get_id();
    parallel_for(5, kSerialWork, [&](Index, int worker) {
      if (caller == std::this_thread::get_id() && worker == 0) ++total;
    });
  });
  EXPECT_EQ(20, total.load());
}

TEST_F(Threads, blocks_cover_the_range_without_overlap) {
  set_num_threads(3);
  std::vector<std::atomic<int>> visits(1003);
  parallel_blocks(1003, 10, kSerialWork, [&](Index begin, Index end, int) {
    for (Index i = begin; i < end; ++i) ++visits[i];
  });
  for (const std::atomic<int>& count : visits) EXPECT_EQ(1, count.load());
}

TEST_F(Threads, the_count_must_be_positive) {
  EXPECT_EQ("set_num_threads: count must be from 1 to 4096, got 0",
            message_of([] { set_num_threads(0); }));
}

constexpr Index kSide = 96;

std::vector<float> product(const std::vector<float>& a, const std::vector<float>& b) {
  std::vector<float> result(kSide * kSide);
  matmul<float>(MatmulShape::infer(kSide, kSide, kSide, kSide), {a.data(), kSide * kSide},
                {b.data(), kSide * kSide}, {result.data(), kSide * kSide});
  return result;
}

std::vector<float> random_matrix(std::uint64_t seed) {
  const std::vector<double> values = Numbers(seed).normals(kSide * kSide);
  return {values.begin(), values.end()};
}

TEST_F(Threads, several_callers_at_once_get_the_same_bits) {
  set_num_threads(2);
  const auto a = random_matrix(1), b = random_matrix(2);
  const auto expected = product(a, b);
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int caller = 0; caller < 3; ++caller) {
    callers.emplace_back([&] {
      for (int repeat = 0; repeat < 10; ++repeat) {
        if (product(a, b) != expected) ++wrong;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(0, wrong.load());
}

// True when the process ended with status 0 within 60 seconds; it is killed otherwise.
bool ends_well(pid_t child) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::seconds(60);
  int status = 0;
  while (Clock::now() < deadline) {
    if (waitpid(child, &status, WNOHANG) == child) {
      return WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
  return false;
}

TEST_F(Threads, a_forked_child_computes_the_same_bits) {
  set_num_threads(3);
  const auto a = random_matrix(3), b = random_matrix(4);
  const auto expected = product(a, b);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) _exit(product(a, b) == expected ? 0 : 1);
  EXPECT_TRUE(ends_well(child));
  EXPECT_EQ(expected, product(a, b));
}

}  // namespace
}  // namespace convolite::testing
