#include "support/cases.h"

#include <fstream>
#include <sstream>
#include <stdexcept>

namespace convolite::testing {
namespace {

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> fields;
  std::istringstream stream(line);
  for (std::string field; std::getline(stream, field, ',');) fields.push_back(field);
  return fields;
}

}  // namespace

Index Case::operator[](const std::string& column) const {
  return std::stoll(text(column));
}

const std::string& Case::text(const std::string& column) const {
  const auto found = fields_.find(column);
  if (found == fields_.end()) throw std::out_of_range(name_ + " has no column " + column);
  return found->second;
}

std::vector<Case> load_cases(const std::string& stem, const std::string& use) {
  const std::string path = std::string(CONVOLITE_CASES_FOLDER) + "/" + stem + ".csv";
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) throw std::runtime_error(path + " cannot be read");
  const std::vector<std::string> columns = split(line);
  std::vector<Case> rows;
  while (std::getline(file, line)) {
    const std::vector<std::string> fields = split(line);
    if (fields.size() != columns.size()) throw std::runtime_error(path + ": bad row: " + line);
    std::map<std::string, std::string> row;
    for (std::size_t i = 0; i < columns.size(); ++i) row[columns[i]] = fields[i];
    const std::string of_row = row.count("use") != 0 ? row["use"] : use;
    if (of_row == use || of_row == "both") rows.emplace_back(row.at("name"), row);
  }
  if (rows.empty()) throw std::runtime_error(path + " has no row for use = " + use);
  return rows;
}

}  // namespace convolite::testing
