// Command line options of the form --name value and --flag.
#pragma once

#include <cstdlib>
#include <map>
#include <set>
#include <stdexcept>
#include <string>

class Options {
public:
    /// Throws std::invalid_argument for what is not in `with_value` or `flags`.
    Options(int argc, char** argv, const std::set<std::string>& with_value, const std::set<std::string>& flags) {
        for (int i = 1; i < argc; ++i) {
            const std::string name = argv[i];
            if (flags.count(name) != 0) {
                values_[name] = "";
            } else if (with_value.count(name) == 0) {
                throw std::invalid_argument("unknown option " + name);
            } else if (++i == argc) {
                throw std::invalid_argument(name + " needs a value");
            } else {
                values_[name] = argv[i];
            }
        }
    }

    [[nodiscard]] bool has(const std::string& name) const { return values_.count(name) != 0; }

    [[nodiscard]] std::string text(const std::string& name, const std::string& otherwise) const {
        const auto found = values_.find(name);
        return found == values_.end() ? otherwise : found->second;
    }

    [[nodiscard]] double number(const std::string& name, double otherwise) const {
        const auto found = values_.find(name);
        if (found == values_.end()) return otherwise;
        char* end = nullptr;
        const double value = std::strtod(found->second.c_str(), &end);
        if (end == found->second.c_str() || *end != '\0') {
            throw std::invalid_argument(name + " needs a number, not `" + found->second + "`");
        }
        return value;
    }

    [[nodiscard]] int integer(const std::string& name, int otherwise) const {
        const double value = number(name, otherwise);
        if (value != static_cast<double>(static_cast<int>(value))) {
            throw std::invalid_argument(name + " needs a whole number");
        }
        return static_cast<int>(value);
    }

private:
    std::map<std::string, std::string> values_;
};
