// Which instruction set runs: the choice at first use, the environment, and the forced one.
#include <convolite/runtime.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "runtime/isa.h"
#include "support/settings.h"

namespace convolite::testing {
namespace {

TEST(Isa, supported_levels_are_compiled_levels_in_the_same_order) {
  const auto compiled = compiled_isas(), supported = supported_isas();
  ASSERT_FALSE(supported.empty());
  EXPECT_EQ(compiled.front(), supported.front());
  EXPECT_TRUE(std::equal(supported.begin(), supported.end(), compiled.begin()));
}

TEST(Isa, the_forced_level_is_the_one_whose_tables_are_used) {
  const SettingsGuard guard;
  const KernelTable<float>* former = nullptr;
  for (const std::string& name : supported_isas()) {
    set_isa(name);
    EXPECT_EQ(name, isa());
    EXPECT_NE(former, &kernels<float>());
    former = &kernels<float>();
  }
}

TEST(Isa, set_isa_refuses_an_unknown_level) {
  std::string names;
  for (const std::string& name : supported_isas()) names += (names.empty() ? "" : ", ") + name;
  EXPECT_EQ("set_isa: name must be one of " + names + ", got avx1024",
            message_of([] { set_isa("avx1024"); }));
}

// Each statement runs in a fresh process, where nothing has asked for a kernel yet.
class IsaDeathTest : public ::testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

[[noreturn]] void report_isa(const char* forced) {
  setenv("CONVOLITE_ISA", forced, 1);
  const std::string error = message_of([] { std::fputs(isa().c_str(), stderr); });
  std::fputs(error.c_str(), stderr);
  std::exit(error.empty() ? 0 : 3);
}

TEST_F(IsaDeathTest, the_environment_forces_a_lower_level) {
  const std::string lowest = supported_isas().front();
  EXPECT_EXIT(report_isa(lowest.c_str()), ::testing::ExitedWithCode(0), lowest);
}

TEST_F(IsaDeathTest, an_empty_variable_means_the_highest_level) {
  EXPECT_EXIT(report_isa(""), ::testing::ExitedWithCode(0), supported_isas().back());
}

TEST_F(IsaDeathTest, an_unknown_level_is_an_error_at_first_use) {
  EXPECT_EXIT(report_isa("avx1024"), ::testing::ExitedWithCode(3),
              "CONVOLITE_ISA must be one of .*" + supported_isas().back() +
                  " on this CPU .compiled: .*" + compiled_isas().back() + ".*, got avx1024");
}

}  // namespace
}  // namespace convolite::testing
