// A line for people, from a thread that must not wait for whoever reads it.
#pragma once

#include <string>

#include <poll.h>
#include <unistd.h>

namespace gaitd {

/// Writes a line of at most 4096 bytes, or nothing where it would have to wait: for a pipe that nobody empties, or a
/// terminal that is held by Ctrl-S. A program whose reader may go must ignore SIGPIPE.
inline void writeLine(int fd, const std::string& line) {
    pollfd writable{fd, POLLOUT, 0};
    if (poll(&writable, 1, 0) != 1 || writable.revents != POLLOUT) return;
    const std::string text = line + "\n";
    if (::write(fd, text.data(), text.size()) < 0) return;
}

}  // namespace gaitd
