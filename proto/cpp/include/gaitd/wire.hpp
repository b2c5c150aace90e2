// Reading and writing msgpack in place, without allocation.
//
// Writing uses msgpack-cxx's packer on a fixed buffer. Reading does not use its unpacker: unpack() builds an object
// tree in a heap zone and parse() keeps its nesting stack in a std::vector of its own, so both allocate for every
// message, and both accept layouts that this contract refuses. A flat array of integers, blobs and one string needs
// no more than the reader below.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#ifndef MSGPACK_NO_BOOST
#define MSGPACK_NO_BOOST
#endif
#include <msgpack.hpp>

#include <gaitd/messages.hpp>

namespace gaitd::wire {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "float blobs are little-endian and copied as they are");

/// A stream for msgpack::packer over a buffer given by the caller; writing past its end sets overflow.
class FixedBuffer {
public:
    FixedBuffer(void* data, std::size_t size) noexcept : data_(static_cast<char*>(data)), size_(size) {}

    void write(const char* bytes, std::size_t count) noexcept {
        if (count > size_ - used_) {
            overflow_ = true;
            return;
        }
        std::memcpy(data_ + used_, bytes, count);
        used_ += count;
    }

    /// Bytes written, or 0 when they did not fit.
    [[nodiscard]] std::size_t used() const noexcept { return overflow_ ? 0 : used_; }

private:
    char* data_;
    std::size_t size_;
    std::size_t used_ = 0;
    bool overflow_ = false;
};

using Packer = msgpack::packer<FixedBuffer>;

inline void packFloats(Packer& packer, const float* values, std::size_t count) {
    packer.pack_bin(static_cast<std::uint32_t>(count * sizeof(float)));
    packer.pack_bin_body(reinterpret_cast<const char*>(values), static_cast<std::uint32_t>(count * sizeof(float)));
}

inline void packJoints(Packer& packer, const JointArray& values, std::size_t joints) {
    packFloats(packer, values.data(), std::min(joints, values.size()));
}

/// Size of a blob of `count` float32 with its msgpack header.
constexpr std::size_t floatsSize(std::size_t count) noexcept {
    const std::size_t bytes = count * sizeof(float);
    return bytes + (bytes < 256 ? 2U : bytes < 65536 ? 3U : 5U);
}

struct Bytes {
    const std::uint8_t* data = nullptr;
    std::size_t size = 0;
};

/// Takes one element after another from a message; false means that the next element is not of that kind.
class Reader {
public:
    Reader(const void* data, std::size_t size) noexcept
        : next_(static_cast<const std::uint8_t*>(data)), end_(next_ + size) {}

    [[nodiscard]] bool atEnd() const noexcept { return next_ == end_; }

    bool array(std::size_t& count) noexcept {
        const int tag = takeTag();
        if (tag >= 0x90 && tag <= 0x9f) return assign(count, static_cast<std::size_t>(tag & 0x0f));
        return tag == 0xdc ? bigEndian(count, 2) : tag == 0xdd && bigEndian(count, 4);
    }

    bool unsignedInteger(std::uint64_t& value) noexcept {
        const int tag = takeTag();
        if (tag >= 0x00 && tag <= 0x7f) return assign(value, static_cast<std::uint64_t>(tag));
        if (tag >= 0xcc && tag <= 0xcf) return bigEndian(value, 1U << (tag - 0xcc));
        // The signed formats, which some writers use for every integer: taken unless the sign is set.
        const bool not_negative = left() > 0 && *next_ < 0x80;
        return tag >= 0xd0 && tag <= 0xd3 && not_negative && bigEndian(value, 1U << (tag - 0xd0));
    }

    bool binary(Bytes& bytes) noexcept {
        const int tag = takeTag();
        return tag >= 0xc4 && tag <= 0xc6 && bigEndian(bytes.size, 1U << (tag - 0xc4)) && take(bytes);
    }

    bool string(Bytes& bytes) noexcept {
        const int tag = takeTag();
        if (tag >= 0xa0 && tag <= 0xbf) {
            bytes.size = static_cast<std::size_t>(tag & 0x1f);
            return take(bytes);
        }
        return tag >= 0xd9 && tag <= 0xdb && bigEndian(bytes.size, 1U << (tag - 0xd9)) && take(bytes);
    }

private:
    template <class T>
    static bool assign(T& target, T value) noexcept {
        target = value;
        return true;
    }

    [[nodiscard]] std::size_t left() const noexcept { return static_cast<std::size_t>(end_ - next_); }

    int takeTag() noexcept { return next_ == end_ ? -1 : *next_++; }

    template <class T>
    bool bigEndian(T& value, std::size_t width) noexcept {
        if (left() < width) return false;
        std::uint64_t sum = 0;
        for (std::size_t i = 0; i < width; ++i) sum = (sum << 8U) | *next_++;
        value = static_cast<T>(sum);
        return true;
    }

    bool take(Bytes& bytes) noexcept {
        if (left() < bytes.size) return false;
        bytes.data = next_;
        next_ += bytes.size;
        return true;
    }

    const std::uint8_t* next_;
    const std::uint8_t* end_;
};

}  // namespace gaitd::wire
