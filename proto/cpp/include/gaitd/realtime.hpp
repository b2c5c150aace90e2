// Scheduling of threads on Linux.
#pragma once

#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <thread>

#include <pthread.h>
#include <sched.h>

namespace gaitd::realtime {

/// Puts the calling thread under SCHED_FIFO; the error text when the system refuses.
inline std::optional<std::string> useFifo(int priority) {
    sched_param parameter{};
    parameter.sched_priority = priority;
    const int error = pthread_setschedparam(pthread_self(), SCHED_FIFO, &parameter);
    if (error == 0) return std::nullopt;
    return "SCHED_FIFO priority " + std::to_string(priority) + " refused (" + std::strerror(error) +
           "): grant CAP_SYS_NICE or a large enough RLIMIT_RTPRIO";
}

/// Pins the calling thread to one CPU; the error text when the system refuses.
inline std::optional<std::string> pinTo(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<unsigned>(cpu), &set);
    const int error = pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
    if (error == 0) return std::nullopt;
    return "pinning to CPU " + std::to_string(cpu) + " refused (" + std::strerror(error) + ")";
}

/// Asks on a thread of its own whether the system grants a setting. libzmq aborts the process when its I/O thread is
/// refused one, so it is asked first.
template <class Setting>
std::optional<std::string> probe(Setting setting) {
    std::optional<std::string> refused;
    std::thread([&] { refused = setting(); }).join();
    return refused;
}

}  // namespace gaitd::realtime
