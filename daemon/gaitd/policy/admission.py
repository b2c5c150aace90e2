"""Which states are taken: session, sequence, stamps, content. Time is an argument."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import numpy as np

from gaitd.errors import InputError
from gaitd.policy.contract import Float32Array, Manifest
from gaitd.policy.joints import positive_joint_array
from gaitd.policy.limits import position_range
from gaitd.wire.messages import RawObservation, Reason, RobotState


class Refusal(enum.IntEnum):
    """Why a state message is not taken."""

    MALFORMED = 0
    """Not a message of the contract: junk, another version or type, wrong lengths."""
    FOREIGN_SESSION = 1
    SEQUENCE = 2
    """Replayed, reordered, or a jump by more than a second's worth."""
    EARLY = 3
    """Sampled less than 0.6 control periods after the last state: the controller runs at a wrong rate."""
    FUTURE = 4
    OLD = 5
    FROZEN = 6
    """The sensors' content is the same, bit for bit, as in the state before."""
    NOT_FINITE = 7
    OUT_OF_RANGE = 8
    MISSING_FIELD = 9
    """A field that the policy needs and the hello promised is empty."""


REFUSAL_REASONS: dict[Refusal, Reason] = {
    Refusal.MALFORMED: Reason.STATE_INVALID,
    Refusal.FOREIGN_SESSION: Reason.CONTRACT,
    Refusal.SEQUENCE: Reason.STATE_INVALID,
    Refusal.EARLY: Reason.STATE_INVALID,
    Refusal.FUTURE: Reason.STATE_STALE,
    Refusal.OLD: Reason.STATE_STALE,
    Refusal.FROZEN: Reason.STATE_STALE,
    Refusal.NOT_FINITE: Reason.STATE_INVALID,
    Refusal.OUT_OF_RANGE: Reason.STATE_INVALID,
    Refusal.MISSING_FIELD: Reason.CONTRACT,
}
"""The reason that the guardian gives when such refusals are all that a session gets."""


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """Bounds on a state's stamp."""

    max_age_ns: int
    """A state older than this when it would be answered is refused."""
    future_tolerance_ns: int = 1_000_000
    """Stamps may be this far ahead: both peers read the same clock, on different cores."""

    @classmethod
    def for_period(cls, period_ns: int) -> AdmissionLimits:
        """Two control periods: at command 1.0, 20 ms of constant delay double the velocity error."""
        return cls(max_age_ns=2 * period_ns)


class StateAdmission:
    """Admits or refuses the states of one session, in the policy's joint order."""

    def __init__(self, manifest: Manifest, limits: AdmissionLimits) -> None:
        """Raises InputError when the manifest's limits contradict themselves."""
        self._limits = limits
        period_ns = round(manifest.control_period_s * 1e9)
        self._min_spacing_ns = period_ns * 3 // 5
        self._max_seq_jump = math.ceil(1e9 / period_ns)
        self._needs_linear_velocity = any(
            term.term == "base_linear_velocity" for term in manifest.observation.terms
        )
        low, high = position_range(manifest)
        state = manifest.limits.state
        margin = 0.0 if state is None else state.position_margin_rad
        if not 0 <= margin < math.inf:
            raise InputError(f"limits.state.position_margin_rad: expected at least 0, got {margin}")
        self._range_checked = state is not None
        self._position_min, self._position_max = low - margin, high + margin
        self._velocity_max = (
            np.full(len(manifest.joints), np.inf, np.float32)
            if state is None
            else positive_joint_array(
                state.max_velocity_rad_per_s, manifest.joints, "limits.state.max_velocity_rad_per_s"
            )
        )
        self.session = 0
        self.missed = 0
        """Sequence numbers that never came, in this session."""
        self._last_seq = 0
        self._last_stamp_ns = 0
        self._last_content = b""

    def start(self, session: int) -> None:
        """A new session: its states count from 1."""
        self.session = session
        self.missed = 0
        self._last_seq = 0
        self._last_stamp_ns = 0
        self._last_content = b""

    def admit(self, state: RobotState | RawObservation, now_ns: int) -> Refusal | None:
        """Return None and take note of the state, or why it is refused. Age is judged by ``too_old``."""
        if state.session != self.session:
            return Refusal.FOREIGN_SESSION
        if not self._last_seq < state.seq <= self._last_seq + self._max_seq_jump:
            return Refusal.SEQUENCE
        if state.stamp_ns > now_ns + self._limits.future_tolerance_ns:
            return Refusal.FUTURE
        if self._last_stamp_ns and state.stamp_ns < self._last_stamp_ns + self._min_spacing_ns:
            return Refusal.SEQUENCE if state.stamp_ns <= self._last_stamp_ns else Refusal.EARLY
        if isinstance(state, RobotState) and state.linear_velocity is None and self._needs_linear_velocity:
            return Refusal.MISSING_FIELD
        sensors = _sensors(state)
        if not (np.isfinite(sensors).all() and _finite_apart_from_sensors(state)):
            return Refusal.NOT_FINITE
        if not self._in_range(state):
            return Refusal.OUT_OF_RANGE
        content = sensors.tobytes()
        frozen = content == self._last_content
        self.missed += state.seq - self._last_seq - 1
        self._last_seq = state.seq
        self._last_stamp_ns = state.stamp_ns
        self._last_content = content
        return Refusal.FROZEN if frozen else None

    def too_old(self, stamp_ns: int, now_ns: int) -> bool:
        """Whether a state sampled at stamp_ns may no longer be answered."""
        return now_ns - stamp_ns > self._limits.max_age_ns

    def _in_range(self, state: RobotState | RawObservation) -> bool:
        if isinstance(state, RobotState):
            norm_squared = float(np.dot(state.orientation, state.orientation))
            if not 0.9 < norm_squared < 1.1:
                return False
        if not self._range_checked:
            return True
        position, velocity = state.joint_position, state.joint_velocity
        return bool(
            (position >= self._position_min).all()
            and (position <= self._position_max).all()
            and (np.abs(velocity) <= self._velocity_max).all()
        )


def _sensors(state: RobotState | RawObservation) -> Float32Array:
    """What a living sensor changes: neither the command nor what gaitd itself sent."""
    if isinstance(state, RawObservation):
        return np.concatenate((state.joint_position, state.joint_velocity))
    parts = [
        state.angular_velocity,
        state.orientation,
        state.linear_acceleration,
        state.joint_position,
        state.joint_velocity,
        state.joint_torque,
    ]
    if state.linear_velocity is not None:
        parts.append(state.linear_velocity)
    return np.concatenate(parts)


def _finite_apart_from_sensors(state: RobotState | RawObservation) -> bool:
    rest = state.observation if isinstance(state, RawObservation) else state.velocity_command
    return bool(np.isfinite(rest).all())
