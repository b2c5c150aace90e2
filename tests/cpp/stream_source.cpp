// A producer of the stream `height` of tests/support/streams.py: DIRECTORY VALUE, at 50 Hz until gaitd is gone.
#include <array>
#include <cstdio>
#include <ctime>
#include <exception>
#include <string>

#include <gaitd/stream.hpp>

namespace {

std::uint64_t monotonicNs() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(now.tv_nsec);
}

template <class Value>
int produce(const std::string& directory, Value value) {
    gaitd::StreamProducer<Value> producer(directory, "height", {2, 3});
    std::array<Value, 6> values{};
    values.fill(value);
    if (producer.publish(values.data(), 5, monotonicNs())) return 3;
    while (!producer.isGone()) {
        producer.publish(values.data(), values.size(), monotonicNs());
        const timespec pause{0, 20'000'000};
        nanosleep(&pause, nullptr);
    }
    return 0;
}

}  // namespace

int main(int count, char** arguments) {
    try {
        if (count == 3) return produce(arguments[1], std::stof(arguments[2]));
        return produce<std::uint8_t>(arguments[1], 1);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 2;
    }
}
