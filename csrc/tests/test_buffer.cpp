// The reuse cache: alignment, reuse, its cap, and the poison that other tests rely on.
#include <convolite/runtime.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <thread>
#include <vector>

#include "runtime/buffer.h"
#include "support/settings.h"

namespace convolite::testing {
namespace {

constexpr Index kMegabyte = 1 << 20;

class BufferCache : public ::testing::Test {
 protected:
  void SetUp() override { release_memory(); }

 private:
  SettingsGuard guard_;
};

using BufferCacheDeathTest = BufferCache;

TEST_F(BufferCache, buffers_begin_on_a_cache_line) {
  for (Index count = 0; count < 300; ++count) {
    const Buffer<char> buffer(count);
    EXPECT_EQ(0u, reinterpret_cast<std::uintptr_t>(buffer.get()) % kAlignment);
  }
}

TEST_F(BufferCache, a_released_block_is_reused_for_about_the_same_size) {
  const void* first = Buffer<float>(1000).get();
  const MemoryStats before = memory_stats();
  const Buffer<float> again(990);
  EXPECT_EQ(first, again.get());
  EXPECT_EQ(before.reused + 1, memory_stats().reused);
  EXPECT_EQ(before.allocated, memory_stats().allocated);
}

TEST_F(BufferCache, a_small_request_does_not_take_a_large_block) {
  const void* large = Buffer<float>(1 << 20).get();
  const Buffer<float> small(100);
  EXPECT_NE(large, small.get());
}

TEST_F(BufferCache, counts_what_is_in_use_and_what_is_kept) {
  const MemoryStats before = memory_stats();
  {
    const Buffer<char> buffer(1 << 20);
    EXPECT_GE(memory_stats().in_use, before.in_use + (1 << 20));
  }
  EXPECT_EQ(before.in_use, memory_stats().in_use);
  EXPECT_GE(memory_stats().cached, 1 << 20);
  release_memory();
  EXPECT_EQ(0, memory_stats().cached);
}

// What may be cached: an eighth more than the peak of use, or 64 MiB.
Index most_cached() {
  return std::max(64 * kMegabyte, memory_stats().peak_in_use / 8 * 9);
}

TEST_F(BufferCache, keeps_64_megabytes_where_little_was_in_use) {
  for (Index extra = 0; extra < 8; ++extra) Buffer<char>((16 + extra * 3) * kMegabyte);
  const MemoryStats stats = memory_stats();
  EXPECT_EQ(64 * kMegabyte, most_cached());
  EXPECT_LE(stats.cached, std::max(64 * kMegabyte, stats.peak_in_use));
}

TEST_F(BufferCache, keeps_an_eighth_more_than_the_peak_of_use) {
  const Index small = 200 << 10;
  for (int i = 0; i < 5; ++i) {
    std::vector<Buffer<char>> large;
    for (int j = 0; j < 5; ++j) large.emplace_back(20 * kMegabyte);
    large.clear();
    std::vector<Buffer<char>> blocks;
    for (int j = 0; j < 100; ++j) blocks.emplace_back(small);
    blocks.clear();
    const MemoryStats stats = memory_stats();
    EXPECT_LT(stats.peak_in_use, 101 * kMegabyte);
    EXPECT_LE(stats.cached, most_cached());
    EXPECT_GT(stats.cached, most_cached() - 2 * small);
  }
}

TEST_F(BufferCache, after_a_burst_of_small_blocks_large_ones_keep_their_regions) {
  {
    std::vector<Buffer<char>> burst;
    for (int i = 0; i < 1000; ++i) burst.emplace_back(240 << 10);
  }
  const auto step = [] {
    const Buffer<char> input(48 * kMegabyte), output(48 * kMegabyte);
    const Buffer<char> small(240 << 10);
  };
  step();
  const MemoryStats before = memory_stats();
  for (int call = 0; call < 20; ++call) step();
  EXPECT_EQ(before.allocated, memory_stats().allocated);
  EXPECT_EQ(before.reused + 60, memory_stats().reused);
  EXPECT_LE(memory_stats().cached, most_cached());
}

TEST_F(BufferCache, large_blocks_share_what_one_left_and_join_again) {
  const Index piece = 3 << 20;
  const char* whole = Buffer<char>(8 * piece).get();
  const MemoryStats before = memory_stats();
  for (int turn = 0; turn < 3; ++turn) {
    std::vector<Buffer<char>> pieces;
    for (int i = 0; i < 7; ++i) {
      pieces.emplace_back(piece);
      EXPECT_EQ(0u, reinterpret_cast<std::uintptr_t>(pieces.back().get()) % kAlignment);
      EXPECT_GE(pieces.back().get(), whole);
      EXPECT_LE(pieces.back().get() + piece, whole + 8 * piece);
    }
    for (const int i : {3, 0, 6, 4, 2, 1, 5}) pieces[static_cast<std::size_t>(i)] = {};
    EXPECT_EQ(whole, Buffer<char>(8 * piece).get());
  }
  EXPECT_EQ(before.allocated, memory_stats().allocated);
  EXPECT_EQ(before.in_use, memory_stats().in_use);
}

TEST_F(BufferCache, large_blocks_in_use_overlap_nowhere) {
  std::mt19937 random(5);
  std::vector<Buffer<unsigned char>> blocks(24);
  std::vector<Index> sizes(blocks.size(), 0);
  for (int step = 0; step < 2000; ++step) {
    const std::size_t i = random() % blocks.size();
    for (Index at = 0; at < sizes[i]; at += 4096) ASSERT_EQ(i, blocks[i][at]);
    blocks[i] = {};
    sizes[i] = random() % 3 == 0 ? 0 : (256 << 10) + static_cast<Index>(random() % (2 << 20));
    blocks[i] = Buffer<unsigned char>(sizes[i]);
    for (Index at = 0; at < sizes[i]; at += 4096) blocks[i][at] = static_cast<unsigned char>(i);
    if (step % 500 == 0) release_memory();
  }
}

TEST_F(BufferCache, free_parts_of_a_region_in_use_are_given_back_and_used_again) {
  std::vector<Buffer<char>> pieces;
  for (int i = 0; i < 5; ++i) pieces.emplace_back(4 << 20);
  std::fill_n(pieces[2].get(), 4 << 20, 'c');
  const char* second = pieces[1].get();
  pieces[3] = {};
  pieces[1] = {};
  EXPECT_GE(memory_stats().cached, 8 << 20);
  release_memory();
  EXPECT_EQ(0, memory_stats().cached);
  const MemoryStats before = memory_stats();
  pieces[1] = Buffer<char>(4 << 20);
  EXPECT_EQ(second, pieces[1].get());
  EXPECT_EQ(before.allocated, memory_stats().allocated);
  EXPECT_EQ((4 << 20), std::count(pieces[2].get(), pieces[2].get() + (4 << 20), 'c'));
  pieces.clear();
  release_memory();
  EXPECT_EQ(0, memory_stats().cached);
}

TEST_F(BufferCache, pages_behind_others_that_were_given_back_stay_counted) {
  std::vector<Buffer<char>> pieces;
  for (int i = 0; i < 4; ++i) pieces.emplace_back(4 * kMegabyte);
  const char* second = pieces[1].get();
  pieces[1] = {};
  release_memory();
  pieces[2] = {};  // joins the second, which has no pages
  EXPECT_GE(memory_stats().cached, 4 * kMegabyte);
  pieces[1] = Buffer<char>(4 * kMegabyte);
  EXPECT_EQ(second, pieces[1].get());
  EXPECT_GE(memory_stats().cached, 4 * kMegabyte);
  pieces[2] = Buffer<char>(4 * kMegabyte);
  EXPECT_LT(memory_stats().cached, kMegabyte);
}

TEST_F(BufferCache, regions_without_a_block_are_given_back_beyond_the_limit) {
  { const Buffer<char> a(20 * kMegabyte), b(20 * kMegabyte), c(20 * kMegabyte); }
  EXPECT_GE(memory_stats().cached, 60 * kMegabyte);
  EXPECT_LT(most_cached(), 71 * kMegabyte);
  { const Buffer<char> larger(31 * kMegabyte); }
  EXPECT_LE(memory_stats().cached, most_cached());
}

TEST_F(BufferCache, an_impossible_size_is_bad_alloc) {
  EXPECT_THROW(acquire_bytes(-1), std::bad_alloc);
  EXPECT_THROW(acquire_bytes(Index{1} << 60), std::bad_alloc);
}

TEST_F(BufferCache, serves_many_threads) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (Index i = 1; i < 400; ++i) {
        const Buffer<Index> buffer(i * 7 % 100 + 1);
        buffer[0] = t;
        EXPECT_EQ(t, buffer[0]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(memory_stats().reused, 0);
}

TEST_F(BufferCache, poison_fills_with_nan) {
  set_buffer_poison(true);
  const Buffer<float> single(77);
  const Buffer<double> twice(77);
  for (Index i = 0; i < 77; ++i) {
    EXPECT_TRUE(std::isnan(single[i]));
    EXPECT_TRUE(std::isnan(twice[i]));
  }
}

TEST_F(BufferCacheDeathTest, poison_reports_a_write_past_the_end) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        set_buffer_poison(true);
        const Buffer<float> buffer(10);
        buffer[10] = 1;
      },
      "");
}

TEST_F(BufferCacheDeathTest, poison_reports_a_write_past_the_end_of_a_workers_buffer) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        set_buffer_poison(true);
        const Buffer<float> buffer = worker_buffer<float>(10);
        buffer[10] = 1;
      },
      "");
}

TEST_F(BufferCache, workers_stand_a_page_apart) {
  const WorkerScratch<float> scratch(3, 5);
  for (int worker = 1; worker < 3; ++worker) {
    EXPECT_GE(scratch.of(worker) - (scratch.of(worker - 1) + 5), 4096 / 4);
    EXPECT_EQ(0u, reinterpret_cast<std::uintptr_t>(scratch.of(worker)) % kAlignment);
  }
}

TEST_F(BufferCache, workers_share_no_cache_line_while_buffers_are_poisoned) {
  set_buffer_poison(true);
  const WorkerScratch<float> scratch(3, 5);
  for (int worker = 1; worker < 3; ++worker) {
    EXPECT_GE(scratch.of(worker) - scratch.of(worker - 1), kAlignment / 4);
  }
}

}  // namespace
}  // namespace convolite::testing
