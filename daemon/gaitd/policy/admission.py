"""Which states are taken: session, sequence, stamps, content. Time is an argument."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import numpy as np

from gaitd.errors import InputError
from gaitd.policy.contract import Float32Array, Manifest
from gaitd.policy.joints import joint_array, positive_joint_array
from gaitd.policy.limits import position_range
from gaitd.wire.contract import Reason
from gaitd.wire.messages import RawObservation, RobotState

_FLOAT32_MAX = np.finfo(np.float32).max
_NOTHING = np.zeros(0, np.float32)


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
    POSTURE = 10
    """The robot lies, or a session begins with a joint far from its default position."""


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
    Refusal.POSTURE: Reason.LIMIT,
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
        velocity_max = (
            np.full(len(manifest.joints), _FLOAT32_MAX, np.float32)
            if state is None
            else positive_joint_array(
                state.max_velocity_rad_per_s, manifest.joints, "limits.state.max_velocity_rad_per_s"
            )
        )
        unlimited = np.full_like(low, _FLOAT32_MAX)
        position_low, position_high = (
            (-unlimited, unlimited) if state is None else (low - margin, high + margin)
        )
        self._joints_low = np.concatenate((position_low, -velocity_max))
        self._joints_high = np.concatenate((position_high, velocity_max))
        self._default = joint_array(
            manifest.default_joint_position_rad, manifest.joints, "default_joint_position_rad"
        )
        self._start_error = np.full_like(low, np.inf)
        self._min_upright = -1.0
        posture = manifest.limits.posture
        if posture is not None:
            if not 0 < posture.max_tilt_rad <= math.pi:
                raise InputError(
                    "limits.posture.max_tilt_rad: expected more than 0 and pi at most, "
                    f"got {posture.max_tilt_rad}"
                )
            self._min_upright = math.cos(posture.max_tilt_rad)
            self._start_error = positive_joint_array(
                posture.max_start_error_rad, manifest.joints, "limits.posture.max_start_error_rad"
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
        if self._last_seq and state.stamp_ns < self._last_stamp_ns + self._min_spacing_ns:
            return Refusal.SEQUENCE if state.stamp_ns <= self._last_stamp_ns else Refusal.EARLY
        if isinstance(state, RobotState) and state.linear_velocity is None and self._needs_linear_velocity:
            return Refusal.MISSING_FIELD
        joints = np.concatenate((state.joint_position, state.joint_velocity))
        others = _sensors_beside_joints(state)
        if not (np.isfinite(others).all() and self._joints_in_range(joints) and _is_unit(state)):
            finite = np.isfinite(others).all() and np.isfinite(joints).all()
            return Refusal.OUT_OF_RANGE if finite else Refusal.NOT_FINITE
        if not _inputs_finite(state):
            return Refusal.NOT_FINITE
        if _upright(state) < self._min_upright or (self._last_seq == 0 and self._far_off(state)):
            return Refusal.POSTURE
        content = joints.tobytes() + others.tobytes()
        frozen = content == self._last_content
        self.missed += state.seq - self._last_seq - 1
        self._last_seq = state.seq
        self._last_stamp_ns = state.stamp_ns
        self._last_content = content
        return Refusal.FROZEN if frozen else None

    def too_old(self, stamp_ns: int, now_ns: int) -> bool:
        """Whether a state sampled at stamp_ns may no longer be answered."""
        return now_ns - stamp_ns > self._limits.max_age_ns

    def _far_off(self, state: RobotState | RawObservation) -> bool:
        return bool((np.abs(state.joint_position - self._default) > self._start_error).any())

    def _joints_in_range(self, joints: Float32Array) -> bool:
        """NaN is in no range."""
        return bool(((joints >= self._joints_low) & (joints <= self._joints_high)).all())


def _sensors_beside_joints(state: RobotState | RawObservation) -> Float32Array:
    """What a living sensor changes: neither the command nor what gaitd itself sent."""
    if isinstance(state, RawObservation):
        return _NOTHING
    parts = [state.angular_velocity, state.orientation, state.linear_acceleration, state.joint_torque]
    if state.linear_velocity is not None:
        parts.append(state.linear_velocity)
    return np.concatenate(parts)


def _is_unit(state: RobotState | RawObservation) -> bool:
    """Whether the orientation is a rotation, to 5 %."""
    if isinstance(state, RawObservation):
        return True
    w, x, y, z = state.orientation.tolist()
    return bool(0.9 < w * w + x * x + y * y + z * z < 1.1)


def _upright(state: RobotState | RawObservation) -> float:
    """Cosine of the angle between the base's and the world's vertical."""
    if isinstance(state, RawObservation):
        return 1.0
    w, x, y, z = state.orientation.tolist()
    return float((w * w - x * x - y * y + z * z) / (w * w + x * x + y * y + z * z))


def _inputs_finite(state: RobotState | RawObservation) -> bool:
    """Whether what does not come from the sensors is finite."""
    inputs = state.observation if isinstance(state, RawObservation) else state.velocity_command
    return bool(np.isfinite(inputs).all())
