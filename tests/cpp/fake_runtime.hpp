// What the fake runtime may be told to do; it is one for all tests of a process.
#pragma once

#include <dlfcn.h>

#include <stdexcept>
#include <string>

enum class Order : int { Works, Fails, Nan, Repeats, Far, Hangs };

/// The fake runtime's file, opened beside the library under test: its orders.
class FakeRuntime {
public:
    explicit FakeRuntime(const std::string& path) : path_(path), handle_(dlopen(path.c_str(), RTLD_NOW)) {
        if (handle_ == nullptr) throw std::runtime_error(dlerror());
        order_ = reinterpret_cast<void (*)(Order)>(dlsym(handle_, "fake_order"));
        runs_ = reinterpret_cast<unsigned long (*)()>(dlsym(handle_, "fake_runs"));
    }
    FakeRuntime(const FakeRuntime&) = delete;
    FakeRuntime& operator=(const FakeRuntime&) = delete;
    ~FakeRuntime() { order(Order::Works); }

    [[nodiscard]] const std::string& path() const { return path_; }
    void order(Order what) const { order_(what); }
    [[nodiscard]] unsigned long runs() const { return runs_(); }

private:
    const std::string path_;
    void* handle_;
    void (*order_)(Order) = nullptr;
    unsigned long (*runs_)() = nullptr;
};
