// A stream's producer: what a camera's or a lidar's process publishes frames with. It needs neither ZeroMQ nor a session.
//
//     gaitd::StreamProducer<float> height("/run/gaitd", "height", {11, 17});
//     height.publish(values, 11 * 17, captured_ns);   // CLOCK_MONOTONIC; neither waits nor allocates
//
// proto/README.md, "Streams", has the bytes. What is wrong with a frame, gaitd finds: to a policy it is a stale stream.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include <gaitd/errors.hpp>
#include <gaitd/handover.hpp>
#include <gaitd/ring.hpp>

namespace gaitd {

/// Has one stream for itself for as long as it exists. `Value` is float, std::int16_t, std::uint16_t or std::uint8_t, on a
/// little-endian machine.
template <class Value>
class StreamProducer {
    static_assert(std::is_same_v<Value, float> || std::is_same_v<Value, std::int16_t> ||
                      std::is_same_v<Value, std::uint16_t> || std::is_same_v<Value, std::uint8_t>,
                  "a stream has no values of this type");
    static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a frame's bytes are those of a little-endian machine");

public:
    /// `directory`: gaitd's, such as /run/gaitd. `name`, `shape`: as the policy's manifest has them. Throws UnreachableError,
    /// or RefusedError with gaitd's text: no such stream, of another kind, or with another producer.
    StreamProducer(const std::string& directory, const std::string& name, const std::vector<std::size_t>& shape,
                   std::chrono::milliseconds limit = std::chrono::seconds(2))
        : StreamProducer(handedFrom(directory + "/stream.sock", kGreeting + ("\n" + name + "\n" + kindOf(shape)), kGreeting,
                                    limit),
                         sizeOf(shape)) {}

    /// Publishes a frame of `count` values that was captured at `stamp_ns` of CLOCK_MONOTONIC. Neither waits nor allocates;
    /// false when that is not as many as the shape has.
    bool publish(const Value* values, std::size_t count, std::uint64_t stamp_ns) noexcept {
        if (count != count_) return false;
        auto* const frame = static_cast<char*>(writer_.buffer());
        std::memcpy(frame, &stamp_ns, sizeof(stamp_ns));
        std::memcpy(frame + sizeof(stamp_ns), values, count * sizeof(Value));
        writer_.append(sizeof(stamp_ns) + count * sizeof(Value));
        return true;
    }

    /// gaitd has ended: nobody will look at what is published here. Make another one.
    [[nodiscard]] bool isGone() const noexcept { return hungUp(connection_); }

private:
    static constexpr const char* kGreeting = "gaitd-stream 1";

    StreamProducer(Handed handed, std::size_t count)
        : connection_(std::move(handed.connection)),
          memory_(onlyOne(handed.fds), ring::Kind::Stream),
          writer_(memory_.memory(), memory_.head().records, memory_.head().room),
          count_(count) {
        if (writer_.room() != sizeof(std::uint64_t) + count * sizeof(Value)) {
            throw MappedRing::unusable("a stream with frames of another size");
        }
    }

    static const Descriptor& onlyOne(const std::vector<Descriptor>& fds) {
        if (fds.size() != 1) throw MappedRing::unusable(std::to_string(fds.size()) + " descriptors");
        return fds.front();
    }

    static std::size_t sizeOf(const std::vector<std::size_t>& shape) {
        std::size_t size = 1;
        for (const std::size_t each : shape) size *= each;
        return size;
    }

    static std::string kindOf(const std::vector<std::size_t>& shape) {
        std::string kind = std::is_same_v<Value, float>           ? "float32"
                           : std::is_same_v<Value, std::int16_t>  ? "int16"
                           : std::is_same_v<Value, std::uint16_t> ? "uint16"
                                                                  : "uint8";
        char between = ' ';
        for (const std::size_t each : shape) {
            kind += between + std::to_string(each);
            between = 'x';
        }
        return kind;
    }

    Descriptor connection_;
    MappedRing memory_;
    ring::Writer writer_;
    std::size_t count_;
};

}  // namespace gaitd
