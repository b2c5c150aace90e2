"""NMEA sentences from a log, in pieces and damaged, and the way to a goal."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gaitforge.client.gnss import Fix, Receiver, sentence, velocity_command

GGA = b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n"
RMC = b"$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A\r\n"


def line(body: str) -> bytes:
    checksum = 0
    for byte in body.encode():
        checksum ^= byte
    return f"${body}*{checksum:02X}\r\n".encode()


def test_position_speed_and_course_of_the_known_sentences() -> None:
    receiver = Receiver()
    receiver.take(GGA, 5)
    assert receiver.fix == Fix(pytest.approx(48.1173), pytest.approx(11.516667), 5, 8)
    receiver.take(RMC, 9)
    fix = receiver.fix
    assert fix is not None
    assert (fix.stamp_ns, fix.satellites, fix.course_deg) == (9, 8, 84.4)
    assert fix.speed_m_per_s == pytest.approx(22.4 * 0.514444, rel=1e-5)
    assert receiver.refused == 0


def test_a_log_in_pieces_is_the_log_at_once() -> None:
    """A walk of 100 m to the south-west of Rio de Janeiro: south and west are negative."""
    minutes = np.arange(60) * 0.001
    log = b"".join(
        line(f"GNRMC,000000,A,22{54 + more:07.4f},S,043{12.5 + more:07.4f},W,1.0,,,,") for more in minutes
    )
    whole, pieces = Receiver(), Receiver()
    whole.take(log, 1)
    rng = np.random.default_rng(1)
    rest = log
    while rest:
        size = int(rng.integers(1, 40))
        pieces.take(rest[:size], 1)
        rest = rest[size:]
    assert pieces.fix == whole.fix
    assert whole.fix is not None
    assert whole.fix.course_deg is None
    start = Fix(-(22 + 54 / 60), -(43 + 12.5 / 60), 0)
    east, north = whole.fix.east_north_m(start)
    assert north == pytest.approx(-59 * 0.001 / 60 * 111_195, rel=1e-3)
    assert east == pytest.approx(-59 * 0.001 / 60 * 111_195 * math.cos(math.radians(22.9)), rel=1e-3)


@pytest.mark.parametrize(
    "damaged",
    [
        GGA.replace(b"4807", b"4808"),
        GGA.replace(b"*47", b""),
        line("GPGGA,123519,4807.038,N"),
        line("GPGGA,123519,9907.038,N,01131.000,E,1,08,,,,,,,"),
        line("GPGGA,123519,4867.038,N,01131.000,E,1,08,,,,,,,"),
        line("GPGGA,123519,4807.038,,01131.000,E,1,08,,,,,,,"),
        line("GPGGA,123519,48nan,N,01131.000,E,1,08,,,,,,,"),
        b"$GPGGA" + b"," * 400 + b"*00\r\n",
        b"\xff\xfe\xfd\r\n",
    ],
)
def test_a_damaged_line_is_counted_and_changes_nothing(damaged: bytes) -> None:
    receiver = Receiver()
    receiver.take(RMC, 1)
    before = receiver.fix
    receiver.take(damaged, 2)
    assert (receiver.fix, receiver.refused) == (before, 1)
    receiver.take(GGA, 3)
    assert receiver.fix is not None
    assert receiver.fix.stamp_ns == 3


@pytest.mark.parametrize("lost", ["GPGGA,1,,,,,0,00,,,,,,,", "GPRMC,1,V,,,,,,,,,"])
def test_a_receiver_that_lost_its_satellites_has_no_fix(lost: str) -> None:
    receiver = Receiver()
    receiver.take(GGA + line(lost), 1)
    assert (receiver.fix, receiver.refused) == (None, 0)


def test_noise_does_no_harm() -> None:
    receiver, rng = Receiver(), np.random.default_rng(2)
    for _ in range(200):
        receiver.take(rng.bytes(100), 1)
    assert receiver.fix is None
    receiver.take(b"\n" + GGA, 2)
    assert receiver.fix is not None


def test_other_sentences_are_read_over() -> None:
    receiver = Receiver()
    receiver.take(line("GPGSV,1,1,00"), 1)
    assert (receiver.fix, receiver.refused) == (None, 0)
    assert sentence(GGA.strip())[0] == "GPGGA"  # type: ignore[index]


@pytest.mark.parametrize(
    ("heading_deg", "expected"),
    [(90, (0.8, 0.0)), (0, (0.0, -0.5)), (180, (0.0, 0.5)), (270, (0.0, -0.5)), (80, (0.788, -0.175))],
)
def test_it_turns_towards_the_goal_and_then_walks(heading_deg: float, expected: tuple[float, float]) -> None:
    """The goal is 100 m to the east."""
    here = Fix(0.0, 0.0, 0)
    goal = Fix(0.0, math.degrees(100 / 6_371_008.8), 0)
    forward, left, turn = velocity_command(here, goal, heading_deg, speed=0.8, turn=0.5, near_m=2.0)
    assert (forward, left, turn) == (
        pytest.approx(expected[0], abs=1e-3),
        0.0,
        pytest.approx(expected[1], abs=1e-3),
    )
    assert velocity_command(goal, goal, heading_deg, speed=0.8, turn=0.5, near_m=2.0) == (0.0, 0.0, 0.0)


def test_across_the_date_line_it_is_not_far() -> None:
    east, _ = Fix(0.0, -179.9999, 0).east_north_m(Fix(0.0, 179.9999, 0))
    assert east == pytest.approx(22.24, abs=0.01)
