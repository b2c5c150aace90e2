// What the real Python decides, from the tables that decisions.py makes; and the bounds of the search.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <initializer_list>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace model {

constexpr int kNone = 15;  // An age: never.
constexpr int kIdle = 0;
constexpr int kActive = 1;
constexpr int kDamping = 2;

inline std::map<std::string, std::vector<int>> tables;
inline int D, A, F;  // Deadline, oldest state answered, first command: in control steps.
inline std::uint64_t kUnit_ns;
inline bool movesLease = false;  // Two workers, and a guardian that moves the lease between their slots, at any time.
inline bool hasStandby = false;  // Two workers, and the real guardian's decision on when it does so.
inline bool switches = false;    // The real guardian also moves it on request, as often as anybody asks.
inline int guardAge, stateAge, commandAge, beatAge;  // The oldest age of its kind that is told apart.

inline void load(const char* path) {
    std::ifstream file(path);
    std::string name;
    for (std::size_t count = 0; file >> name >> count;) {
        std::vector<int> values(count);
        for (int& value : values) file >> value;
        tables[name] = values;
    }
    const auto& bounds = tables.at("bounds");
    D = bounds[0];
    A = bounds[1];
    F = bounds[2];
    kUnit_ns = static_cast<std::uint64_t>(bounds[3]);
    guardAge = std::max(D, F) + 2;
    stateAge = A + 1;
    commandAge = D + 2;
    beatAge = D + 1;
}

inline int decided(const char* name, std::initializer_list<std::pair<int, int>> index) {
    static std::map<const char*, const std::vector<int>*> known;
    auto& table = known[name];
    if (table == nullptr) table = &tables.at(name);
    std::size_t at = 0;
    for (const auto& [value, size] : index) {
        if (value < 0 || value >= size) std::abort();
        at = at * static_cast<std::size_t>(size) + static_cast<std::size_t>(value);
    }
    return table->at(at);
}

}  // namespace model
