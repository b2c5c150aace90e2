"""Does the robot lie down softly under a bundle's fallback damping, let go in the middle of a walk?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gaitd.backends.base import Backend
from gaitd.policy.manifest import Manifest
from gaitforge.common.arrays import Stats
from gaitforge.simulate.body import Body, lite3
from gaitforge.simulate.direct import full_command, run_direct
from gaitforge.simulate.measure import HARD_TILT_RAD, measure
from gaitforge.simulate.script import CommandScript
from gaitforge.simulate.stature import LITE3

WALK_S = 3.0
"""The robot is at its full speed by then."""
LANDING_S = 2.5
"""A robot that is not down by then does not lie down."""
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Landing:
    """How one robot went down."""

    seed: int
    down: bool
    speed_m_per_s: float
    """Largest downward speed on the way."""
    tilt_deg: float
    """Largest tilt on the way."""
    soft: bool

    def describe(self) -> str:
        """Such as "went down at 0.85 m/s, tilted by 31 deg"."""
        if not self.down:
            return f"was not down after {LANDING_S:g} s"
        return f"went down at {self.speed_m_per_s:.2f} m/s, tilted by {self.tilt_deg:.0f} deg"


def land(
    manifest: Manifest,
    backend: Backend,
    stats: Stats | None,
    seeds: Sequence[int] = SEEDS,
    body: Body | None = None,
) -> list[Landing]:
    """Let the robot go out of its fastest walk forward, once a seed; none where the policy fell before that.

    ``body`` is by default the Lite3's. Raises InputError when the policy cannot be simulated.
    """
    body = body or lite3()
    script = CommandScript((0.0,), ((float(manifest.velocity_command.max[0]), 0.0, 0.0),))
    found = []
    for seed in seeds:
        run = run_direct(
            manifest,
            backend,
            script=script,
            seconds=WALK_S + LANDING_S,
            seed=seed,
            obs_stats=stats,
            body=body,
            let_go_s=WALK_S,
        )
        descents = measure(run.trace, full_command(manifest), body.stature).descents
        if any(descent.time_s < WALK_S for descent in descents):
            continue
        speed = max((descent.speed_m_per_s for descent in descents), default=0.0)
        tilt = max((descent.tilt_deg for descent in descents), default=0.0)
        soft = bool(descents) and not any(descent.hard for descent in descents)
        found.append(Landing(seed, bool(descents), speed, tilt, soft))
    return found


def landing_failures(
    landings: Sequence[Landing], allowed: int, hard_m_per_s: float = LITE3.hard_m_per_s
) -> list[str]:
    """Say how the fallback damping lets the robot fall; empty when all but ``allowed`` landings are soft.

    ``hard_m_per_s``: from which speed a landing is hard for this robot.
    """
    hard = [landing for landing in landings if not landing.soft]
    if len(hard) <= allowed:
        return []
    bounds = f"{hard_m_per_s:.2g} m/s and {HARD_TILT_RAD * 57.29578:.0f} deg"
    return [
        f"fallback_damping_nms_per_rad: let go out of a walk, the robot {hard[0].describe()} (seed "
        f"{hard[0].seed}); {len(hard)} of {len(landings)} times it was not down softly, within {bounds}; "
        f"allowed is {allowed}; try another damping, or for a robot that cannot lie down softly, a humanoid: "
        f"--gate with floor: {{hard_landings: {len(landings)}}}"
    ]
