// The few lines of a test framework that these tests need: cases that register themselves, checks that go on.
#pragma once

#include <chrono>
#include <cstdio>
#include <exception>
#include <functional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace check {

struct Case {
    const char* name;
    void (*body)();
};

inline std::vector<Case>& cases() {
    static std::vector<Case> all;
    return all;
}

inline int& failures() {
    static int count = 0;
    return count;
}

inline bool add(const char* name, void (*body)()) {
    cases().push_back({name, body});
    return true;
}

inline void fail(const char* file, int line, const std::string& what) {
    ++failures();
    std::printf("  %s:%d: %s\n", file, line, what.c_str());
}

template <class Left, class Right>
void equal(const char* file, int line, const char* text, const Left& left, const Right& right) {
    if (left == right) return;
    std::ostringstream out;
    if constexpr (std::is_enum_v<Left>) {
        out << text << ": " << toString(left) << " is not " << toString(right);
    } else {
        out << text << ": " << left << " is not " << right;
    }
    fail(file, line, out.str());
}

/// Waits on a condition; false when it does not come true in time.
inline bool eventually(const std::function<bool()>& condition,
                       std::chrono::milliseconds limit = std::chrono::milliseconds(5000)) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end) return false;
        std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    return true;
}

/// An exception's text. A function of its own, for the sake of tsan.supp.
[[gnu::noinline]] inline std::string textOf(const std::exception& error) { return error.what(); }

inline int run() {
    for (const Case& test : cases()) {
        std::printf("%s\n", test.name);
        std::fflush(stdout);
        try {
            test.body();
        } catch (const std::exception& error) {
            fail(test.name, 0, std::string("threw: ") + textOf(error));
        }
    }
    std::printf("%zu cases, %d failed checks\n", cases().size(), failures());
    return failures() == 0 && !cases().empty() ? 0 : 1;
}

}  // namespace check

#define CASE(name)                                             \
    static void name();                                        \
    static const bool registered_##name = check::add(#name, name); \
    static void name()

#define CHECK(condition) \
    do { \
        if (!(condition)) check::fail(__FILE__, __LINE__, #condition); \
    } while (false)

#define CHECK_EQUAL(left, right) check::equal(__FILE__, __LINE__, #left " == " #right, left, right)

#define CHECK_THROWS(type, text, expression)                                                            \
    do {                                                                                                \
        try {                                                                                           \
            expression;                                                                                 \
            check::fail(__FILE__, __LINE__, #expression " did not throw");                              \
        } catch (const type& error) {                                                                   \
            if (check::textOf(error).find(text) == std::string::npos)                                   \
                check::fail(__FILE__, __LINE__, std::string("text is: ") + check::textOf(error));       \
        }                                                                                               \
    } while (false)
