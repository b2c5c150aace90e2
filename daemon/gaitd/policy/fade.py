"""The way from another policy's commands to this one's: targets and gains, over a number of steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gaitd.policy.manifest import Float32Array


@dataclass(frozen=True, slots=True, eq=False)
class Gains:
    """What the motors follow a target with."""

    stiffness: Float32Array
    """(n,) Nm/rad."""
    damping: Float32Array
    """(n,) Nm s/rad."""


@dataclass(frozen=True, slots=True, eq=False)
class Fade:
    """One change of policies, as of the next command."""

    target: Float32Array
    """(n,) rad, the last one that went out of the policy before."""
    gains: Gains
    """Of the policy before."""
    steps: int
    """The last of so many commands is the new policy's alone."""
    longest: int
    """While slew holds that one back, the policy is not there yet: it ends after so many at the latest."""
    done: int = 0
    """Commands that went out since the change."""

    def blend(self, before: Float32Array, now: Float32Array) -> Float32Array:
        """What lies between the two (n,) at the next command."""
        share = np.float32(min(1.0, (self.done + 1) / self.steps))
        between: Float32Array = (np.float32(1) - share) * before + share * now
        return between

    def gains_with(self, now: Gains) -> Gains:
        """The gains of the next command, on the way to those of the new policy."""
        return Gains(
            self.blend(self.gains.stiffness, now.stiffness), self.blend(self.gains.damping, now.damping)
        )

    def after_one(self, *, held: bool) -> Fade | None:
        """A command went out, which slew ``held`` back or not; None: it was the last one."""
        last = self.longest if held else self.steps
        return replace(self, done=self.done + 1) if self.done + 1 < last else None
