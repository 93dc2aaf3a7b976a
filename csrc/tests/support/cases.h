// The named problem sizes of cases/*.csv, which tests and benchmarks share. Knows no op.
#pragma once

#include <convolite/types.h>

#include <map>
#include <ostream>
#include <string>
#include <vector>

namespace convolite::testing {

// One row: its name, and a number for each other column but `use`.
class Case {
 public:
  Case(std::string name, std::map<std::string, std::string> fields)
      : name_(std::move(name)), fields_(std::move(fields)) {}

  const std::string& name() const { return name_; }
  // Throws std::out_of_range for an unknown column and std::invalid_argument for text.
  Index operator[](const std::string& column) const;
  const std::string& text(const std::string& column) const;

 private:
  std::string name_;
  std::map<std::string, std::string> fields_;
};

// The rows of cases/<stem>.csv whose `use` is `use` or "both"; throws when there is none.
std::vector<Case> load_cases(const std::string& stem, const std::string& use);

// GoogleTest prints a failing parameter with this.
inline std::ostream& operator<<(std::ostream& out, const Case& row) {
  return out << row.name();
}

}  // namespace convolite::testing
