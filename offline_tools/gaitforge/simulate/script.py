"""What the operator asks of the robot over time, and the pushes it takes."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gaitd.errors import InputError
from gaitd.system.plain_file import read_plain

Float32Array = npt.NDArray[np.float32]

COLUMNS = ("t_s", "forward", "left", "yaw")
MAX_BYTES = 1024 * 1024
"""Of a script."""


@dataclass(frozen=True)
class CommandScript:
    """Velocity commands in steps: each holds from its time until the next one's.

    Times count from the hand-over; before the first one the command is zero. The unit is the policy's:
    a stick -1..1, or m/s and rad/s.
    """

    times_s: tuple[float, ...]
    commands: tuple[tuple[float, float, float], ...]

    def at(self, time_s: float) -> Float32Array:
        """Return the command (3,) forward, left, turn left at a time after the hand-over."""
        index = bisect_right(self.times_s, time_s) - 1
        return np.array(self.commands[index] if index >= 0 else (0.0, 0.0, 0.0), dtype=np.float32)

    @staticmethod
    def constant(forward: float, left: float = 0.0, yaw: float = 0.0) -> CommandScript:
        """One command from the hand-over on."""
        return CommandScript((0.0,), ((forward, left, yaw),))


def parse_command(text: str) -> tuple[float, float, float]:
    """Read ``forward,left,yaw``, as of the option --command. Raises InputError."""
    forward, left, yaw = _numbers(text, 3, f"--command {text!r}", "forward,left,yaw such as 1,0,0")
    return forward, left, yaw


def read_script(path: Path) -> CommandScript:
    """Read a CSV file with the columns t_s,forward,left,yaw; a header and # comments may stand in it.

    Raises InputError that names the line when a row is not four numbers, or its time does not increase.
    """
    try:
        lines = read_plain(path, MAX_BYTES).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read the command script: {error}") from error
    times: list[float] = []
    commands: list[tuple[float, float, float]] = []
    for number, line in enumerate(lines, start=1):
        row = line.split("#", 1)[0].strip()
        if not row or (not times and row.replace(" ", "") == ",".join(COLUMNS)):
            continue
        where = f"{path}:{number}"
        time_s, forward, left, yaw = _numbers(row, 4, where, ",".join(COLUMNS))
        if times and time_s <= times[-1]:
            raise InputError(
                f"{where}: time {time_s:g} s does not come after {times[-1]:g} s; sort the rows by time"
            )
        times.append(time_s)
        commands.append((forward, left, yaw))
    if not times:
        raise InputError(f"{path}: the command script has no rows; each row is {','.join(COLUMNS)}")
    return CommandScript(tuple(times), tuple(commands))


@dataclass(frozen=True)
class Push:
    """A kick: the trunk's velocity changes at once, in the world frame."""

    time_s: float
    """After the hand-over."""
    forward_m_per_s: float
    left_m_per_s: float


def parse_push(text: str) -> Push:
    """Read ``t:vx,vy``, as of the option --push. Raises InputError."""
    expected = "SECONDS:VX,VY such as 6:0,0.8"
    time_text, colon, velocity = text.partition(":")
    if not colon:
        raise InputError(f"--push {text!r}: expected {expected}")
    (time_s,) = _numbers(time_text, 1, f"--push {text!r}", expected)
    vx, vy = _numbers(velocity, 2, f"--push {text!r}", expected)
    if time_s < 0:
        raise InputError(f"--push {text!r}: the time counts from the hand-over and cannot be negative")
    return Push(time_s, vx, vy)


class PushSchedule:
    """Hands out each push once, when its time has come."""

    def __init__(self, pushes: tuple[Push, ...]) -> None:
        self._waiting = sorted(pushes, key=lambda push: push.time_s)

    def due(self, time_s: float) -> list[Push]:
        """Return the pushes whose time after the hand-over has come."""
        due: list[Push] = []
        while self._waiting and self._waiting[0].time_s <= time_s:
            due.append(self._waiting.pop(0))
        return due


def _numbers(text: str, count: int, where: str, expected: str) -> list[float]:
    parts = text.split(",")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if len(values) != count or not all(map(math.isfinite, values)):
        raise InputError(f"{where}: expected {expected}, found {text.strip()!r}")
    return values
