// The ring of messages: a reader gets what was written, or nothing, whatever the writer does or how far it came.
#include <cstring>
#include <random>
#include <thread>

#include <sys/ptrace.h>
#include <sys/wait.h>

#include <gaitd/ring.hpp>

#include "check.hpp"
#include "fake_lanes.hpp"

using namespace gaitd;

namespace {

constexpr std::size_t kRoom = 400;

/// A message of which every byte tells its number.
std::size_t lengthOf(std::uint64_t number) { return 8 + number * 37 % (kRoom - 8); }

void write(ring::Writer& writer, std::uint64_t number) {
    auto* bytes = static_cast<unsigned char*>(writer.buffer());
    std::memcpy(bytes, &number, sizeof(number));
    for (std::size_t i = 8; i < lengthOf(number); ++i) bytes[i] = static_cast<unsigned char>(number * 31 + i);
    writer.append(lengthOf(number));
}

/// The number of a message that is whole; 0 of any other.
std::uint64_t numberOf(const void* data, std::size_t size) {
    const auto* bytes = static_cast<const unsigned char*>(data);
    std::uint64_t number = 0;
    if (size < sizeof(number)) return 0;
    std::memcpy(&number, bytes, sizeof(number));
    if (size != lengthOf(number)) return 0;
    for (std::size_t i = 8; i < size; ++i) {
        if (bytes[i] != static_cast<unsigned char>(number * 31 + i)) return 0;
    }
    return number;
}

/// What the reader has: the number of its message, 0 for none; fails when it is not whole.
std::uint64_t take(ring::NewestReader& reader) {
    const std::size_t size = reader.take();
    if (size == 0) return 0;
    const std::uint64_t number = numberOf(reader.data(), size);
    CHECK(number != 0);
    return number;
}

}  // namespace

CASE(the_checksum_is_zlibs) {
    CHECK_EQUAL(ring::checksum("123456789", 9, 0), 0xcbf43926U);
    CHECK_EQUAL(ring::checksum("The quick brown fox jumps over the lazy dog", 43, 0), 0x414fa339U);
    CHECK_EQUAL(ring::checksum("gaitd", 5, 7), 0xbde79bf4U);  // zlib.crc32(b"gaitd", 7 * 0x9e3779b1 % 2**32)
}

CASE(a_reader_takes_the_newest_once) {
    const RingFile file(ring::Kind::Command, 4, kRoom);
    ring::Writer writer = file.writer();
    write(writer, 1);
    ring::NewestReader reader = file.reader();
    CHECK_EQUAL(take(reader), 0U);  // Was there before it came.
    write(writer, 2);
    write(writer, 3);
    CHECK_EQUAL(take(reader), 3U);
    CHECK_EQUAL(take(reader), 0U);
    for (std::uint64_t number = 4; number < 30; ++number) {
        write(writer, number);
        CHECK_EQUAL(take(reader), number);
    }
}

CASE(a_writer_goes_on_where_the_one_before_it_died) {
    const RingFile file(ring::Kind::Command, 4, kRoom);
    ring::NewestReader reader = file.reader();
    for (std::uint64_t number = 1; number < 10; ++number) {
        ring::Writer writer = file.writer();
        write(writer, number);
        CHECK_EQUAL(take(reader), number);
    }
}

CASE(whatever_part_of_the_stores_has_become_visible) {
    // More than any processor can do: each word of a write, the counter among them, is there or not, in any combination.
    const RingFile before(ring::Kind::Command, 2, kRoom);
    ring::Writer writer = before.writer();
    for (std::uint64_t number = 1; number < 8; ++number) write(writer, number);
    std::vector<unsigned char> old(before.memory, before.memory + before.size);
    write(writer, 8);
    std::vector<std::size_t> changed;
    for (std::size_t at = 0; at < before.size; at += 8) {
        if (std::memcmp(&old[at], before.memory + at, 8) != 0) changed.push_back(at);
    }
    const std::vector<unsigned char> now(before.memory, before.memory + before.size);
    CHECK(changed.size() > 10);
    std::mt19937 random(1);
    unsigned seen = 0;
    for (int trial = 0; trial < 20000; ++trial) {
        std::memcpy(before.memory, old.data(), before.size);
        ring::NewestReader reader = before.reader();
        const unsigned few = random() % 16;  // Nearly all, half, or nearly none.
        std::size_t visible = 0;
        for (const std::size_t at : changed) {
            if (random() % 16 < few || trial == 0) {
                std::memcpy(before.memory + at, &now[at], 8);
                ++visible;
            }
        }
        const std::uint64_t number = take(reader);
        CHECK_EQUAL(number, visible == changed.size() ? 8U : 0U);
        seen += number == 8;
        std::memcpy(before.memory, now.data(), before.size);
        if (number == 0) CHECK_EQUAL(take(reader), 8U);  // All of it is there now, and nothing was lost.
    }
    CHECK(seen > 0);
}

CASE(a_writer_dead_at_any_instruction) {
    const RingFile file(ring::Kind::Command, 4, kRoom);
    ring::Writer writer = file.writer();
    for (std::uint64_t number = 1; number < 6; ++number) write(writer, number);
    const pid_t child = fork();
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(3);
        raise(SIGSTOP);
        write(writer, 6);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (!WIFSTOPPED(status)) {
        std::printf("  not done: ptrace is not allowed here\n");
        return;
    }
    ring::NewestReader reader = file.reader();
    long steps = 0;
    std::uint64_t found = 0;
    while (ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr) == 0 && waitpid(child, &status, 0) == child &&
           WIFSTOPPED(status)) {
        ++steps;
        const std::uint64_t number = take(reader);
        CHECK(number == 0 || (number == 6 && found == 0));
        found = number == 0 ? found : number;
    }
    CHECK_EQUAL(found, 6U);
    CHECK(steps > 100);
}

CASE(a_writer_killed_at_any_time) {
    const RingFile file(ring::Kind::Command, 4, kRoom);
    std::mt19937 random(2);
    for (int life = 0; life < 60; ++life) {
        ring::NewestReader reader = file.reader();
        const pid_t child = fork();
        if (child == 0) {
            ring::Writer writer = file.writer();
            for (std::uint64_t number = 1;; ++number) write(writer, number);
        }
        std::uint64_t newest = 0;
        const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(500 + random() % 3000);
        while (newest == 0 || std::chrono::steady_clock::now() < end) newest = std::max(newest, take(reader));
        kill(child, SIGKILL);
        waitpid(child, nullptr, 0);
        const std::uint64_t last = take(reader);  // What it had published is there.
        CHECK(last == 0 || last > newest);
        ring::Writer writer = file.writer();
        write(writer, 1);
        CHECK_EQUAL(take(reader), 1U);
    }
}

CASE(two_threads_at_full_speed) {
    // A litmus test: with the smallest ring the writer overtakes the reader all the time. No message is torn, none goes
    // back, and the last one arrives.
    const RingFile file(ring::Kind::Command, 2, kRoom);
    constexpr std::uint64_t kMessages = 200'000;
    ring::NewestReader reader = file.reader();
    std::thread thread([&] {
        ring::Writer writer = file.writer();
        for (std::uint64_t number = 1; number <= kMessages; ++number) write(writer, number);
    });
    std::uint64_t newest = 0;
    std::uint64_t taken = 0;
    while (newest < kMessages) {
        const std::uint64_t number = take(reader);
        if (number == 0) continue;
        if (number <= newest) check::fail(__FILE__, __LINE__, "a message came twice, or late");
        newest = number;
        ++taken;
    }
    thread.join();
    CHECK(taken > 1);
}

CASE(a_scrambled_ring_gives_nothing_that_was_not_written) {
    const RingFile file(ring::Kind::Command, 4, kRoom);
    std::mt19937_64 random(3);
    for (int trial = 0; trial < 20000; ++trial) {
        file.clear();
        ring::Writer writer = file.writer();
        ring::NewestReader reader = file.reader();
        const std::uint64_t last = 1 + random() % 9;
        for (std::uint64_t number = 1; number <= last; ++number) write(writer, number);
        for (std::uint64_t i = 0; i <= random() % 4; ++i) {
            const std::size_t at = 64 + random() % (file.size - 64);
            const std::uint64_t word = random() >> random() % 64;
            std::memcpy(file.memory + at, &word, std::min<std::size_t>(1 + random() % 8, file.size - at));
        }
        take(reader);
        take(reader);
        // One that goes on is heard: a damaged counter is written anew with the next message.
        write(writer, last + 1);
        CHECK_EQUAL(take(reader), last + 1);
    }
}

int main() { return check::run(); }
