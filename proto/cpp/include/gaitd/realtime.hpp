// Scheduling of threads on Linux.
#pragma once

#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <utility>

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

/// A thread that takes none of the program's signals, with a name of at most 15 letters.
template <class Body>
std::thread quietThread(const char* name, Body body) {
    // Signals belong to the program's own threads: a handler here would interrupt the waiting.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    std::thread thread(std::move(body));
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    pthread_setname_np(thread.native_handle(), name);
    return thread;
}

}  // namespace gaitd::realtime
