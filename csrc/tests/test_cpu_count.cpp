// How many threads a process gets: container quota files of both kinds, and the environment.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "runtime/cpu_count.h"
#include "support/settings.h"

namespace convolite::testing {
namespace {

namespace fs = std::filesystem;

// A folder with files in it, gone at the end of the scope.
class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "convolite_XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
  }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  Folder& write(const std::string& name, const std::string& text) {
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name) << text;
    return *this;
  }
  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

int limit_of_v2(const std::string& cpu_max) {
  return cgroup_cpu_limit(Folder().write("cpu.max", cpu_max).path());
}

int limit_of_v1(const std::string& quota, const std::string& period) {
  Folder folder;
  folder.write("cpu/cpu.cfs_quota_us", quota).write("cpu/cpu.cfs_period_us", period);
  return cgroup_cpu_limit(folder.path());
}

TEST(CgroupCpuLimit, reads_version_2) {
  EXPECT_EQ(2, limit_of_v2("200000 100000\n"));
  EXPECT_EQ(8, limit_of_v2("400000 50000\n"));
}

TEST(CgroupCpuLimit, reads_version_1) {
  EXPECT_EQ(3, limit_of_v1("300000\n", "100000\n"));
}

TEST(CgroupCpuLimit, a_part_of_a_cpu_counts_as_one) {
  EXPECT_EQ(2, limit_of_v2("150000 100000\n"));
  EXPECT_EQ(1, limit_of_v2("50000 100000\n"));
  EXPECT_EQ(1, limit_of_v1("1000\n", "100000\n"));
}

TEST(CgroupCpuLimit, no_quota_is_no_limit) {
  EXPECT_EQ(0, limit_of_v2("max 100000\n"));
  EXPECT_EQ(0, limit_of_v1("-1\n", "100000\n"));
  EXPECT_EQ(0, cgroup_cpu_limit(Folder().path()));
}

TEST(CgroupCpuLimit, damaged_files_are_no_limit) {
  EXPECT_EQ(0, limit_of_v2(""));
  EXPECT_EQ(0, limit_of_v2("200000"));
  EXPECT_EQ(0, limit_of_v2("200000 0"));
  EXPECT_EQ(0, limit_of_v1("300000", "nonsense"));
}

// Sets a variable of the environment, or unsets it for "", until the end of the scope.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    if (const char* old = std::getenv(name)) former_ = old;
    set(value);
  }
  ~Variable() { set(former_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  void set(const std::string& value) {
    if (value.empty()) {
      unsetenv(name_);
    } else {
      setenv(name_, value.c_str(), 1);
    }
  }
  const char* name_;
  std::string former_;
};

int threads_with(const std::string& ours, const std::string& openmp, int bound_cpus = 0) {
  const Variable first("CONVOLITE_NUM_THREADS", ours), second("OMP_NUM_THREADS", openmp);
  return default_thread_count(bound_cpus);
}

TEST(DefaultThreadCount, our_variable_comes_before_openmps) {
  EXPECT_EQ(5, threads_with("5", "3"));
  EXPECT_EQ(3, threads_with("", "3"));
}

TEST(DefaultThreadCount, openmps_list_counts_by_its_first_number) {
  EXPECT_EQ(4, threads_with("", "4,2"));
}

TEST(DefaultThreadCount, without_variables_it_is_at_most_the_machine) {
  const int count = threads_with("", "");
  EXPECT_GE(count, 1);
  EXPECT_LE(count, static_cast<int>(std::thread::hardware_concurrency()));
  EXPECT_EQ(count, threads_with("", "many"));
}

TEST(DefaultThreadCount, bound_cpus_count_instead_of_the_mask_and_after_the_variables) {
  const int several = 1 + threads_with("", "");
  const int limit = cgroup_cpu_limit("/sys/fs/cgroup");
  EXPECT_EQ(limit > 0 ? std::min(limit, several) : several, threads_with("", "", several));
  EXPECT_EQ(1, threads_with("", "", 1));
  EXPECT_EQ(5, threads_with("5", "3", 1));
  EXPECT_EQ(3, threads_with("", "3", 1));
}

TEST(DefaultThreadCount, refuses_what_is_no_positive_integer) {
  for (const std::string text : {"0", "-1", "two", "2.5", "2 threads", "99999"}) {
    EXPECT_EQ("CONVOLITE_NUM_THREADS=" + text + " is not an integer from 1 to 4096",
              message_of([&] { threads_with(text, ""); }));
  }
}

}  // namespace
}  // namespace convolite::testing
