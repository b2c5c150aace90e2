// What the controller did in every tick, kept in memory that is allocated and touched before the loop.
#pragma once

#include <cstdint>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <gaitd/messages.hpp>

class TickLog {
public:
    explicit TickLog(std::size_t capacity) : ticks_(capacity) {}

    /// Keeps one tick; when the log is full, later ones are left out.
    void add(std::uint64_t monotonic_ns, const gaitd::JointCommand& command) noexcept {
        if (used_ == ticks_.size()) return;
        ticks_[used_++] = {monotonic_ns, command.seq, command.age_ns, command.mode, command.reason};
    }

    /// CSV: monotonic_ns,mode,reason,seq,age_us.
    void write(const std::string& path) const {
        std::ofstream file(path);
        file << "monotonic_ns,mode,reason,seq,age_us\n";
        for (std::size_t i = 0; i < used_; ++i) {
            const Tick& tick = ticks_[i];
            file << tick.monotonic_ns << ',' << gaitd::toString(tick.mode) << ',' << gaitd::toString(tick.reason) << ','
                 << tick.seq << ',' << static_cast<double>(tick.age_ns) / 1000.0 << '\n';
        }
        if (!file.flush()) throw std::runtime_error("cannot write the log " + path);
    }

private:
    struct Tick {
        std::uint64_t monotonic_ns;
        std::uint64_t seq;
        std::uint64_t age_ns;
        gaitd::Mode mode;
        gaitd::Reason reason;
    };
    std::vector<Tick> ticks_;
    std::size_t used_ = 0;
};
