"""A walk with something wrong in it: for a while the motors get something else than the policy's command."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gaitforge.simulate.body import STANDING_RAD
from gaitforge.simulate.robot import MotorCommand, Robot

What: TypeAlias = Literal["policy", "hold", "damping", "stance"]

STANCE_STIFFNESS_NM_PER_RAD, STANCE_DAMPING_NMS_PER_RAD = 30.0, 1.0
"""Of the default stance as a fallback: the gains that the policy itself walks with."""


@dataclass(frozen=True, slots=True)
class Phase:
    """From ``start_s`` until the next phase begins, the motors get this."""

    start_s: float
    """Simulated time, from the robot's start."""
    what: What


class InterruptedRobot(Robot):
    """A robot whose motors follow the phases, and otherwise what they were told ``delay_ticks`` ago."""

    def __init__(self, seed: int, phases: tuple[Phase, ...] = (), delay_ticks: int = 0) -> None:
        self._phases = phases
        self._told: deque[MotorCommand] = deque([MotorCommand.damped()], maxlen=delay_ticks + 1)
        self._held = MotorCommand.damped()
        self._newest = MotorCommand.damped()
        super().__init__(seed)

    @property
    def what(self) -> What:
        """What the motors get at this moment."""
        begun: list[What] = [phase.what for phase in self._phases if phase.start_s <= self.time_s + 1e-9]
        return begun[-1] if begun else "policy"

    @property
    def command(self) -> MotorCommand:
        """What the motors follow; setting it tells them, and the phase decides whether they listen."""
        what = self.what
        if what == "damping":
            return MotorCommand.damped()
        if what == "stance":
            return MotorCommand.hold(STANDING_RAD, STANCE_STIFFNESS_NM_PER_RAD, STANCE_DAMPING_NMS_PER_RAD)
        return self._held if what == "hold" else self._told[0]

    @command.setter
    def command(self, command: MotorCommand) -> None:
        self._newest = command

    def step(self, ticks: int = 1) -> None:
        """Let milliseconds pass, as Robot does."""
        for _ in range(ticks):
            self._told.append(self._newest)
            if self.what == "policy":
                self._held = self._told[0]
            super().step()
