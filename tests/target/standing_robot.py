"""A Lite3 that stands still: sends what its sensors say to a controller's UDP port, 200 times a second.

For places without a simulator; only the standard library. Usage: standing_robot.py PORT
"""

import random
import socket
import struct
import sys
import time

PERIOD_S = 0.005
JOINTS = 12


def packet(time_s: float) -> bytes:
    """One sample (proto/cpp/examples/lite3_udp.hpp): no two are the same, as from real sensors."""

    def noisy(values: list[float], sigma: float) -> list[float]:
        return [random.gauss(value, sigma) for value in values]

    posture = [*noisy([0.0] * 3, 0.001), *noisy([0.0, 0.0, 9.81], 0.05), *noisy([0.0] * 3, 0.01)]
    joints = [
        *noisy([0.0, -0.65, 1.3] * 4, 0.001),
        *noisy([0.0] * JOINTS, 0.02),
        *noisy([0.0] * JOINTS, 0.1),
    ]
    return struct.pack("<d45f", time_s, *posture, *joints)


def main() -> None:
    port = int(sys.argv[1])
    wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    begin_s = next_s = time.monotonic()
    while True:
        wire.sendto(packet(next_s - begin_s), ("127.0.0.1", port))
        next_s = max(next_s + PERIOD_S, time.monotonic())
        time.sleep(max(0.0, next_s - time.monotonic()))


if __name__ == "__main__":
    main()
