"""Raw actions of every kind, and what the guard lets through to motors that follow positions, velocities
or torques.

The judge here is written from the manifest's reference and docs/safety.md, in plain numbers of double
precision, not from the guard. Where single precision may fall either way it says nothing.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fuzz.oracle import Peers
from gaitd.policy.action import ActionMapper
from gaitd.policy.limits import CommandGuard
from gaitd.policy.manifest import Manifest
from gaitd.wire.generated import CauseKind

if TYPE_CHECKING:
    from fuzz.campaign import Tally

SESSION_STEPS = 60
CLOSE = 1e-4
"""So near to a bound, relative to the numbers around it, either answer is right."""
ODD = (math.nan, math.inf, -math.inf, 3.4e38, -3.4e38, 1e30, -1e30, 1e6, -1e6)
LIMITS = {
    "position": ("slew", "position"),
    "velocity": ("acceleration", "velocity"),
    "torque": ("torque_rate", "torque"),
}
"""By what a joint follows: the limit on its rate, and the one on its range."""
Values = list[float]


@dataclass
class Joint:
    """One joint that the policy moves or that is held, as the manifest has it."""

    name: str
    kind: str = "position"
    held: bool = False
    scale: float = 0.0
    offset: float = 0.0
    clip: tuple[float, float] = (-math.inf, math.inf)
    stiffness: float = 0.0
    damping: float = 0.0
    low: float = -math.inf
    high: float = math.inf
    rate: float = math.inf
    """In a control step, in the unit of the target."""
    torque: float = math.inf
    motion: float = math.inf
    """How far it may move under one and the same answer."""

    def torque_range(self, position: float, velocity: float) -> tuple[float, float]:
        """The targets at which the motor applies the most that it may."""
        if self.kind == "position":
            centre, reach = position + self.damping / self.stiffness * velocity, self.torque / self.stiffness
        elif self.kind == "velocity":
            centre, reach = velocity, self.torque / self.damping
        else:
            centre, reach = self.damping * velocity, self.torque
        return centre - reach, centre + reach


def joints_of(manifest: Manifest) -> list[Joint]:
    """Of a manifest whose values for joints are one number, or lists or maps of them."""
    made = {name: Joint(name) for name in manifest.joints}
    limits, held = manifest.limits, manifest.held_joints
    held_names = [] if held is None else list(held.joints)

    def put(values: Any, names: list[str], key: str, factor: float = 1.0) -> None:
        for index, name in enumerate(names):
            value = values.get(name) if isinstance(values, dict) else values
            setattr(made[name], key, factor * float(value[index] if isinstance(value, list) else value))

    bounded = [name for name in manifest.joints if name not in manifest.continuous_joints]
    put(manifest.default_joint_position_rad, bounded, "offset")
    put(limits.position.min_rad, bounded, "low")
    put(limits.position.max_rad, bounded, "high")
    if held is not None:
        put(held.stiffness_nm_per_rad, held_names, "stiffness")
        put(held.damping_nms_per_rad, held_names, "damping")
        for name in held_names:
            made[name].held = True
    moved = [name for name in manifest.joints if name not in held_names]
    groups: list[Any] = manifest.action if isinstance(manifest.action, list) else [manifest.action]
    for group in groups:
        names = getattr(group, "joints", moved)
        kind = group.__struct_config__.tag if isinstance(manifest.action, list) else "position"
        for name in names:
            made[name].kind = kind
            made[name].clip = group.clip or made[name].clip
            if kind != "position":
                made[name].low, made[name].high = -math.inf, math.inf
        put(group.scale, names, "scale")
        if group.offset != "default_joint_position":
            put(group.offset, names, "offset")
        put(getattr(group, "stiffness_nm_per_rad", 0.0), names, "stiffness")
        put(group.damping_nms_per_rad, names, "damping")
    by_kind = {kind: [name for name in moved if made[name].kind == kind] for kind in LIMITS}
    period_s = manifest.control_period_s
    if limits.torque is not None:
        put(limits.torque.max_nm, moved, "torque")
    if limits.slew is not None:
        put(limits.slew.max_rad_per_step, by_kind["position"], "rate")
    if limits.acceleration is not None:
        put(limits.acceleration.max_rad_per_s2, by_kind["velocity"], "rate", period_s)
    if limits.torque_rate is not None:
        put(limits.torque_rate.max_nm_per_s, by_kind["torque"], "rate", period_s)
    if limits.velocity is not None:
        put(limits.velocity.max_rad_per_s, by_kind["velocity"], "high")
        put(limits.velocity.max_rad_per_s, by_kind["velocity"], "low", -1.0)
    for name in by_kind["torque"]:
        made[name].low, made[name].high = -made[name].torque, made[name].torque
    if limits.repetition is not None:
        put(limits.repetition.max_joint_motion_rad, bounded, "motion")
        if limits.repetition.max_turn_rad is not None:
            put(limits.repetition.max_turn_rad, list(manifest.continuous_joints), "motion")
    return list(made.values())


@dataclass
class Verdict:
    """What the guard must say of an action."""

    targets: Values
    causes: set[CauseKind] = field(default_factory=set)
    """It must be refused for one of these; empty: it must be let through."""
    unsure: bool = False


class ActionRun:
    """A model that answers anything at all, session after session, to a robot that moves."""

    def __init__(self, manifest: Manifest, rng: random.Random) -> None:
        """A joint's limits must be numbers that a test's bundle has; a low pass is not known here."""
        self._rng = rng
        self._joints = joints_of(manifest)
        self._responses = {
            name: limit.response
            for name in ("slew", "acceleration", "torque_rate", "torque", "position", "velocity")
            if (limit := getattr(manifest.limits, name)) is not None
        }
        self._mapper = ActionMapper(manifest)
        self._guard = CommandGuard(manifest, self._mapper)
        self._moved = [joint for joint in self._joints if not joint.held]
        self._begin()

    def judge(self, count: int, tally: Tally, seed: int) -> None:
        """So many more answers, counted as kind ``action``."""
        for _ in range(count):
            if self._left == 0:
                self._begin()
            self._left -= 1
            answer, position, velocity = self._next()
            expected = self._verdict(answer, position, velocity)
            decision = self._guard.check(answer, _f32(position), _f32(velocity))
            if expected.unsure:
                continue
            (tally.violating if expected.causes else tally.good)["action"] += 1
            tally.readings["action"] += bool(expected.causes)
            what = self._wrong(decision, expected)
            tally.accepted += bool(what and expected.causes and decision.accepted)
            if what:
                where = Peers(len(self._joints), len(answer))
                tally.find(
                    f"the guard {what} ({decision}, {expected})", "action", answer.tobytes(), where, seed
                )
                return
            if decision.accepted and self._rng.random() < 0.8:
                self._guard.commit(decision, _f32(position))
                self._last = [float(value) for value in decision.target]
                if answer.tobytes() != self._answer:
                    self._answer, self._answered_at = answer.tobytes(), position

    def _begin(self) -> None:
        self._left = SESSION_STEPS
        self._guard.reset()
        self._last = [joint.offset if joint.kind == "position" else 0.0 for joint in self._joints]
        self._position = [joint.offset if joint.kind == "position" else 0.0 for joint in self._joints]
        self._answer, self._answered_at, self._newest = b"", self._position, np.zeros(0, np.float32)

    def _next(self) -> tuple[np.ndarray, Values, Values]:
        rng = self._rng
        self._position = [_single(at + rng.gauss(0, rng.choice((0.001, 0.05, 1.0)))) for at in self._position]
        velocity = [_single(rng.gauss(0, rng.choice((0.1, 10.0)))) for _ in self._joints]
        spread = rng.choice((0.1, 1.0, 30.0))
        answer = np.array([rng.gauss(0, spread) for _ in self._moved], np.float32)
        dice = rng.random()
        if dice < 0.15:
            answer[rng.randrange(len(answer))] = rng.choice(ODD)
        elif dice < 0.2:
            answer = np.resize(
                answer, rng.choice((0, 1, len(answer) - 1, len(answer) + 1, len(self._joints) + 2))
            )
        elif dice < 0.3 and self._newest.size == len(self._moved):
            answer = self._newest.copy()
        self._newest = answer
        return answer, self._position, velocity

    def _verdict(self, answer: np.ndarray, position: Values, velocity: Values) -> Verdict:
        """Of docs/safety.md: shape, finite, repeated; then rate, torque and range, each of which may damp."""
        verdict = Verdict(list(self._last))
        if len(answer) != len(self._moved):
            verdict.causes = {CauseKind.ACTION_SHAPE}
            return verdict
        if not all(map(math.isfinite, answer.tolist())):
            verdict.causes = {CauseKind.ACTION_NOT_FINITE}
            return verdict
        if answer.tobytes() == self._answer:
            for joint, at, before in zip(self._joints, position, self._answered_at, strict=True):
                verdict.unsure |= _near(abs(at - before), joint.motion, 1.0)
                if abs(at - before) > joint.motion:
                    verdict.causes = {CauseKind.ACTION_REPEATED}
            if verdict.causes or verdict.unsure:
                return verdict
        raw = iter(answer.tolist())
        asked: Values = []
        for joint in self._joints:
            low, high = joint.clip
            asked.append(
                joint.offset if joint.held else min(max(next(raw), low), high) * joint.scale + joint.offset
            )
        for stage in ("rate", "torque", "range"):
            found = self._hold(stage, verdict, asked, position, velocity)
            verdict.causes = verdict.causes or found
        verdict.targets = asked
        return verdict

    def _hold(
        self, stage: str, verdict: Verdict, asked: Values, position: Values, velocity: Values
    ) -> set[CauseKind]:
        """Holds back what is asked for; the limits that damp and were met."""
        met = set()
        for index, joint in enumerate(self._joints):
            rate_name, range_name = LIMITS[joint.kind]
            name = {"rate": rate_name, "torque": "torque", "range": range_name}[stage]
            if stage == "rate":
                low, high = self._last[index] - joint.rate, self._last[index] + joint.rate
            elif stage == "torque":
                low, high = joint.torque_range(position[index], velocity[index])
            else:
                low, high = joint.low, joint.high
            target = asked[index]
            near = _near(target, low, target) or _near(target, high, target)
            if not low <= target <= high:
                asked[index] = min(max(target, low), high)
                if self._responses[name] == "damp":
                    verdict.unsure |= near
                    met.add(CauseKind[f"{name.upper()}_LIMIT"])
            elif near and self._responses.get(name) == "damp":
                verdict.unsure = True
        return met

    def _wrong(self, decision: Any, expected: Verdict) -> str:
        """What the guard did that it must not; empty when nothing."""
        if expected.causes:
            if decision.accepted:
                return "lets through what must be refused"
            return "" if decision.cause.kind in expected.causes else "gives another cause"
        if not decision.accepted:
            return "refuses a good action"
        for value, wanted in zip(decision.target.tolist(), expected.targets, strict=True):
            if not abs(value - wanted) <= CLOSE * (1.0 + abs(wanted)):
                return "lets through another target"
        sent = self._mapper.motor_targets(decision.target)
        for index, joint in enumerate(self._joints):
            for kind in LIMITS:
                value = float(getattr(sent, kind)[index])
                if value != (float(decision.target[index]) if kind == joint.kind else 0.0):
                    return f"tells {joint.name}, which follows a {joint.kind}, a {kind} of {value}"
        return ""


def _near(value: float, bound: float, scale: float) -> bool:
    return math.isfinite(bound) and abs(value - bound) <= CLOSE * (1.0 + abs(bound) + abs(scale) * 1e-2)


def _single(value: float) -> float:
    return float(np.float32(value))


def _f32(values: Values) -> np.ndarray:
    return np.array(values, np.float32)
