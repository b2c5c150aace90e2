// A ring of messages in a memory file: one writer, any number of readers, none of which can hold up another.
//
// proto/README.md, "Shared memory", has the layout. A reader takes nothing on trust: it copies a record, and the copy
// is a message only with the index that was looked for and a checksum that fits. So a writer that died at any
// instruction, a damaged file and a writer without barriers (Python on ARM64) all look the same: not there yet.
//
// Memory order. The writer's stores to a record come before its store to the counter (release), the reader's load of
// the counter before its loads of the record (acquire): who sees a number sees that record. The other way round, a
// fence keeps the next record's stores behind the counter, and a second look at the counter behind the reader's loads,
// so a record that was overwritten while it was copied is dropped without any help of the checksum.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include <gaitd/contract.hpp>

namespace gaitd::ring {

/// What a memory file's messages are.
enum class Kind : std::uint64_t { State = 1, Command = 2, Guard = 3, Stream = 4 };

/// What a memory file begins with.
struct Head {
    std::uint64_t magic = kRingMagic;
    Kind kind = Kind::State;
    std::uint64_t number = 0;   ///< Of the lane, or the worker's slot; kGuardSlot for the guardian's.
    std::uint64_t records = 0;
    std::uint64_t room = 0;     ///< Bytes that a message may have.
};

inline constexpr std::size_t kCounterAt = 64;
inline constexpr std::size_t kRecordsAt = 128;
inline constexpr std::size_t kRecordHead = 16;  ///< Index, length and checksum.
inline constexpr std::size_t kMaxRecords = 2048;

/// Bytes from one record to the next.
constexpr std::size_t strideOf(std::size_t room) noexcept { return (kRecordHead + room + 63) / 64 * 64; }
/// Bytes of the whole file.
constexpr std::size_t sizeOf(std::size_t records, std::size_t room) noexcept {
    return kRecordsAt + records * strideOf(room);
}

namespace detail {

using CrcTables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr CrcTables makeCrcTables() noexcept {
    CrcTables tables{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        std::uint32_t rest = byte;
        for (int bit = 0; bit < 8; ++bit) rest = (rest >> 1U) ^ ((rest & 1U) != 0 ? 0xedb88320U : 0U);
        tables[0][byte] = rest;
    }
    for (std::size_t byte = 0; byte < 256; ++byte) {
        for (std::size_t table = 1; table < 8; ++table) {
            const std::uint32_t before = tables[table - 1][byte];
            tables[table][byte] = (before >> 8U) ^ tables[0][before & 0xffU];
        }
    }
    return tables;
}

inline constexpr CrcTables kCrc = makeCrcTables();

}  // namespace detail

/// The checksum of a message under its index: CRC-32 as zlib's, begun with a multiple of the index instead of 0. (With the
/// index itself, a change of the first four bytes could undo that of the index.)
inline std::uint32_t checksum(const void* data, std::size_t size, std::uint64_t index) noexcept {
    const auto& crc = detail::kCrc;
    const auto* next = static_cast<const std::uint8_t*>(data);
    std::uint32_t rest = ~static_cast<std::uint32_t>(index * 0x9e3779b1U);
    for (; size >= 8; size -= 8, next += 8) {  // Eight bytes at a time, by as many tables.
        std::uint32_t low = 0;
        std::uint32_t high = 0;
        std::memcpy(&low, next, 4);
        std::memcpy(&high, next + 4, 4);
        low ^= rest;
        rest = crc[7][low & 0xffU] ^ crc[6][(low >> 8U) & 0xffU] ^ crc[5][(low >> 16U) & 0xffU] ^ crc[4][low >> 24U] ^
               crc[3][high & 0xffU] ^ crc[2][(high >> 8U) & 0xffU] ^ crc[1][(high >> 16U) & 0xffU] ^ crc[0][high >> 24U];
    }
    for (; size > 0; --size, ++next) rest = (rest >> 8U) ^ crc[0][(rest ^ *next) & 0xffU];
    return ~rest;
}

/// A mapped ring. Another process may write any byte of it at any time, so every access is a whole atomic word.
class Words {
public:
    Words(void* mapped, std::size_t records, std::size_t room) noexcept
        : words_(static_cast<std::uint64_t*>(mapped)), records_(records), stride_(strideOf(room) / 8) {}

    [[nodiscard]] std::uint64_t* counter() const noexcept { return words_ + kCounterAt / 8; }
    [[nodiscard]] std::uint64_t* record(std::uint64_t index) const noexcept {
        return words_ + kRecordsAt / 8 + index % records_ * stride_;
    }
    [[nodiscard]] std::size_t records() const noexcept { return records_; }

    static std::uint64_t load(const std::uint64_t* word) noexcept { return __atomic_load_n(word, __ATOMIC_RELAXED); }
    static void store(std::uint64_t* word, std::uint64_t value) noexcept {
        __atomic_store_n(word, value, __ATOMIC_RELAXED);
    }

private:
    std::uint64_t* words_;
    std::size_t records_;
    std::size_t stride_;
};

/// Length and checksum share a word.
constexpr std::uint64_t tagOf(std::size_t length, std::uint32_t checksum) noexcept {
    return static_cast<std::uint64_t>(checksum) << 32U | static_cast<std::uint32_t>(length);
}

class Writer {
public:
    /// Goes on after the newest message that is there. `room` bounds a message.
    Writer(void* mapped, std::size_t records, std::size_t room)
        : words_(mapped, records, room), room_(room), newest_(Words::load(words_.counter())), buffer_(room / 8 + 1) {}

    /// Where the next message is made: room() bytes.
    [[nodiscard]] void* buffer() noexcept { return buffer_.data(); }
    [[nodiscard]] std::size_t room() const noexcept { return room_; }

    /// Publishes the first `size` bytes of buffer().
    void append(std::size_t size) noexcept {
        const std::uint64_t index = newest_ + 1;
        std::uint64_t* const record = words_.record(index);
        std::atomic_thread_fence(std::memory_order_release);
        Words::store(record, index);
        Words::store(record + 1, tagOf(size, checksum(buffer_.data(), size, index)));
        for (std::size_t i = 0; i < (size + 7) / 8; ++i) Words::store(record + 2 + i, buffer_[i]);
        __atomic_store_n(words_.counter(), index, __ATOMIC_RELEASE);
        newest_ = index;
    }

private:
    Words words_;
    std::size_t room_;
    std::uint64_t newest_;
    std::vector<std::uint64_t> buffer_;
};

/// Takes the newest message and forgets those before it, as ZMQ_CONFLATE does.
class NewestReader {
public:
    /// Begins behind what is there.
    NewestReader(const void* mapped, std::size_t records, std::size_t room)
        : words_(const_cast<void*>(mapped), records, room),
          room_(room),
          taken_(__atomic_load_n(words_.counter(), __ATOMIC_ACQUIRE)),
          buffer_(room / 8 + 1) {}

    /// The bytes of a message that was not taken before, which are then at data(); 0: there is none.
    [[nodiscard]] std::size_t take() noexcept {
        const std::uint64_t index = __atomic_load_n(words_.counter(), __ATOMIC_ACQUIRE);
        if (index == taken_) return 0;
        const std::uint64_t* const record = words_.record(index);
        const std::uint64_t tag = Words::load(record + 1);
        const std::size_t length = tag & 0xffffffffU;
        if (Words::load(record) != index || length == 0 || length > room_) return 0;
        for (std::size_t i = 0; i < (length + 7) / 8; ++i) buffer_[i] = Words::load(record + 2 + i);
        std::atomic_thread_fence(std::memory_order_acquire);
        const std::uint64_t newer = Words::load(words_.counter()) - index;
        // A writer that is so far ahead may be writing here again. Looked at again at the next call.
        if (newer + 1 >= words_.records() || tag != tagOf(length, checksum(buffer_.data(), length, index))) return 0;
        taken_ = index;
        return length;
    }

    [[nodiscard]] const void* data() const noexcept { return buffer_.data(); }

private:
    Words words_;
    std::size_t room_;
    std::uint64_t taken_;
    std::vector<std::uint64_t> buffer_;
};

}  // namespace gaitd::ring
