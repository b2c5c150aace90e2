"""A satellite receiver's NMEA 0183 sentences: where the robot is, and the velocity command to a goal.

For a controller's own process, once or ten times a second: what comes of it is a command or a named input,
bounded by the policy's range like the operator's. Nothing here is for the fast policy's observation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

EARTH_RADIUS_M = 6_371_008.8
"""Mean radius of the WGS 84 ellipsoid (IUGG)."""
KNOT_M_PER_S = 1852.0 / 3600.0
MAX_LINE = 256
"""Bytes of a line; NMEA has 82."""


@dataclass(frozen=True, slots=True)
class Fix:
    """What the newest sentences say, each part with when its line came [ns]."""

    latitude_deg: float
    """North."""
    longitude_deg: float
    """East."""
    stamp_ns: int
    """When the position came."""
    satellites: int | None = None
    speed_m_per_s: float | None = None
    course_deg: float | None = None
    """Over ground, clockwise from north; None where the receiver does not say, as at a stand."""

    def east_north_m(self, origin: Fix) -> tuple[float, float]:
        """From there to here, on a plane that touches the earth: good for some kilometres."""
        north = math.radians(self.latitude_deg - origin.latitude_deg) * EARTH_RADIUS_M
        turned_deg = (self.longitude_deg - origin.longitude_deg + 180.0) % 360.0 - 180.0
        east = math.radians(turned_deg) * EARTH_RADIUS_M * math.cos(math.radians(origin.latitude_deg))
        return east, north


class Receiver:
    """Takes bytes as they come, and keeps the newest fix."""

    def __init__(self) -> None:
        self.fix: Fix | None = None
        """The newest; None: none yet, or the receiver has lost it."""
        self.refused = 0
        """Lines with a wrong checksum, or fields that are none."""
        self._rest = b""

    def take(self, data: bytes, now_ns: int) -> None:
        """What was read; a line may come in pieces."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest if len(rest) <= MAX_LINE else b""
        for line in lines:
            if line.strip():
                self._take_line(line.strip(), now_ns)

    def _take_line(self, line: bytes, now_ns: int) -> None:
        fields = sentence(line)
        if fields is None:
            self.refused += 1
            return
        kind = fields[0][2:]  # after who says it: GP, GN, BD
        try:
            if kind == "GGA":
                self._take_position(fields, now_ns)
            elif kind == "RMC":
                self._take_motion(fields, now_ns)
        except (ValueError, IndexError):
            self.refused += 1

    def _take_position(self, fields: list[str], now_ns: int) -> None:
        """$--GGA,time,lat,N,lon,E,quality,satellites,..."""
        if int(fields[6]) == 0:
            self.fix = None
            return
        before = self.fix
        self.fix = Fix(
            *_position(fields[2:6]),
            now_ns,
            int(fields[7]),
            None if before is None else before.speed_m_per_s,
            None if before is None else before.course_deg,
        )

    def _take_motion(self, fields: list[str], now_ns: int) -> None:
        """$--RMC,time,status,lat,N,lon,E,knots,course,date,..."""
        if fields[2] != "A":
            self.fix = None
            return
        satellites = None if self.fix is None else self.fix.satellites
        speed = _number(fields[7]) * KNOT_M_PER_S
        course = _number(fields[8]) if fields[8] else None
        self.fix = Fix(*_position(fields[3:7]), now_ns, satellites, speed, course)


def sentence(line: bytes) -> list[str] | None:
    """The fields of ``$...*HH``, the first one its name; None where the checksum is missing or wrong."""
    if not line.startswith(b"$") or len(line) > MAX_LINE or line[-3:-2] != b"*":
        return None
    body, checksum = line[1:-3], 0
    for byte in body:
        checksum ^= byte
    if line[-2:].upper() != b"%02X" % checksum:
        return None
    return body.decode("ascii", errors="replace").split(",")


def velocity_command(
    fix: Fix, goal: Fix, heading_deg: float, *, speed: float, turn: float, near_m: float
) -> tuple[float, float, float]:
    """Forward, left, turn left towards the goal: it turns first, and stands within ``near_m``.

    ``heading_deg``: where the robot looks, clockwise from north, from its compass or its course; ``speed``,
    ``turn``: the largest, in the unit of the policy's command.
    """
    east, north = goal.east_north_m(fix)
    if math.hypot(east, north) <= near_m:
        return 0.0, 0.0, 0.0
    bearing_rad = math.atan2(east, north)
    left_rad = (math.radians(heading_deg) - bearing_rad + math.pi) % (2.0 * math.pi) - math.pi
    return speed * max(0.0, math.cos(left_rad)), 0.0, turn * max(-1.0, min(1.0, 2.0 * left_rad))


def _position(fields: list[str]) -> tuple[float, float]:
    """Latitude and longitude [deg] of ``ddmm.mmmm``, N or S, ``dddmm.mmmm``, E or W. Raises ValueError."""
    found = []
    for text, side, digits, sides, most in (
        (fields[0], fields[1], 2, "NS", 90.0),
        (fields[2], fields[3], 3, "EW", 180.0),
    ):
        minutes = _number(text[digits:])
        degrees = int(text[:digits]) + minutes / 60.0
        if len(side) != 1 or side not in sides or not (0.0 <= minutes < 60.0 and 0.0 <= degrees <= most):
            raise ValueError(f"{text},{side}")
        found.append(degrees if side == sides[0] else -degrees)
    return found[0], found[1]


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value
