"""Which states are taken: session, sequence, stamps, content. Time is an argument."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gaitd.errors import InputError
from gaitd.policy.bounds import position_range
from gaitd.policy.joints import default_position, positive_joint_array, some_joints_array
from gaitd.policy.manifest import Float32Array, Manifest
from gaitd.policy.sources import projected_gravity, term_field
from gaitd.wire.causes import Cause
from gaitd.wire.generated import (
    FUTURE_TOLERANCE_NS,
    MAX_ORIENTATION_NORM_SQUARED,
    MAX_SEQUENCE_JUMP_NS,
    MAX_STATE_RATE,
    MIN_ORIENTATION_NORM_SQUARED,
    MIN_STATE_SPACING_PERIODS,
    STATE_MAX_AGE_PERIODS,
    CauseKind,
)
from gaitd.wire.messages import RawObservation, RobotState

_FLOAT32_MAX = np.finfo(np.float32).max

INTERVAL_WINDOW_NS = 1_000_000_000
"""The controller's interval between states is measured over this long."""


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """Bounds on a state's stamp."""

    max_age_ns: int
    """A state older than this when it would be answered is refused."""

    @classmethod
    def for_period(cls, period_ns: int) -> AdmissionLimits:
        """Two control periods: at command 1.0, 20 ms of constant delay double the velocity error."""
        return cls(max_age_ns=round(STATE_MAX_AGE_PERIODS * period_ns))


class StateAdmission:
    """Admits or refuses the states of one session, in the policy's joint order."""

    def __init__(self, manifest: Manifest, limits: AdmissionLimits) -> None:
        """Raises InputError when the manifest's limits contradict themselves."""
        self._limits = limits
        self._min_spacing_ns = math.floor(manifest.period_ns * MIN_STATE_SPACING_PERIODS)
        self._min_interval_ns = math.floor(manifest.period_ns / MAX_STATE_RATE)
        self._max_seq_jump = math.ceil(MAX_SEQUENCE_JUMP_NS / manifest.period_ns)
        self._needs_linear_velocity = any(
            term_field(term.term) == "linear_velocity" for term in manifest.observation.terms
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
            (-unlimited, unlimited)
            if state is None  # a continuous joint may be anywhere
            else (np.maximum(low - margin, -unlimited), np.minimum(high + margin, unlimited))
        )
        self.joints_low = np.concatenate((position_low, -velocity_max))
        self.joints_high = np.concatenate((position_high, velocity_max))
        """As ``joints_low`` (2 n,): positions [rad], then velocities [rad/s]."""
        self._low, self._high = self.joints_low, self.joints_high
        """The same, as long as the values of a state."""
        self._default = default_position(manifest)
        self.start_error = np.full_like(low, np.inf)
        """(n,) rad, allowed from the default position in the first state."""
        self.min_upright = -1.0
        """Least cosine of the angle between the base's and the world's vertical."""
        posture = manifest.limits.posture
        if posture is not None:
            if not 0 < posture.max_tilt_rad <= math.pi:
                raise InputError(
                    "limits.posture.max_tilt_rad: expected more than 0 and pi at most, "
                    f"got {posture.max_tilt_rad}"
                )
            self.min_upright = math.cos(posture.max_tilt_rad)
            key = "limits.posture.max_start_error_rad"
            bounded = manifest.bounded_joints
            positive_joint_array(posture.max_start_error_rad, bounded, key)
            self.start_error = some_joints_array(
                posture.max_start_error_rad, bounded, manifest.joints, key, np.inf
            )
        self.start(0)

    @property
    def last_seq(self) -> int:
        """Of the newest state that was admitted; 0: none yet."""
        return self._last_seq

    def start(self, session: int) -> None:
        """A new session: its states count from 1."""
        self.session = session
        self.missed = 0
        """Sequence numbers that never came, in this session."""
        self.interval_ns = 0
        """How far apart the controller samples its states, lost and refused ones too; 0 until known."""
        self._watches = False
        self._last_seq = 0
        self._last_stamp_ns = 0
        self._last_content = b""
        self._earliest_ns = 0
        self._window = (0, 0)

    def watch(self, *, another: bool) -> None:
        """``another`` worker has the session: where the joints are when it begins is its business, and what
        is seen here may begin anywhere and have any gap. Else it is ours, and both are faults."""
        self._watches = another

    def resume(self, seq: int, stamp_ns: int) -> None:
        """Go on behind the state of that number and stamp, as if it had just been admitted: for a replay."""
        self._last_seq, self._last_stamp_ns = seq, stamp_ns

    def admit(self, state: RobotState | RawObservation, now_ns: int) -> Cause | None:
        """Take note of the state and return None, or say why it is refused. Age is judged by ``too_old``."""
        values, inputs = _values(state)
        cause = self._judge(state, values, now_ns)
        if cause is not None:
            return cause
        content = values[:-inputs].tobytes()
        frozen = content == self._last_content
        self._measure_interval(state)
        # A state that comes late leaves the next one its own time; many that come early add up.
        reserve_ns = self._min_interval_ns - self._min_spacing_ns
        due_ns = max(self._earliest_ns + reserve_ns, state.stamp_ns) if self._last_seq else state.stamp_ns
        self._earliest_ns = due_ns + self._min_interval_ns - reserve_ns
        missed = state.seq - self._last_seq - 1
        self.missed += missed if missed < self._max_seq_jump else 0  # so many: it was not there to miss them
        self._last_seq = state.seq
        self._last_stamp_ns = state.stamp_ns
        self._last_content = content
        return Cause(CauseKind.FROZEN) if frozen else None

    def _judge(self, state: RobotState | RawObservation, values: Float32Array, now_ns: int) -> Cause | None:
        if state.session != self.session:
            return Cause(CauseKind.FOREIGN_SESSION)
        jumps = state.seq > self._last_seq + self._max_seq_jump
        if state.seq <= self._last_seq or (jumps and not self._watches):
            return Cause(CauseKind.SEQUENCE, number=float(state.seq), bound=float(self._last_seq))
        if state.stamp_ns > now_ns + FUTURE_TOLERANCE_NS:
            return Cause(
                CauseKind.FUTURE, number=_ms(state.stamp_ns - now_ns), bound=_ms(FUTURE_TOLERANCE_NS)
            )
        spacing_ns = state.stamp_ns - self._last_stamp_ns
        if self._last_seq and state.stamp_ns < self._earliest_ns:
            if spacing_ns <= 0:
                return Cause(CauseKind.SEQUENCE)
            bound_ns = self._earliest_ns - self._last_stamp_ns
            return Cause(CauseKind.EARLY, number=_ms(spacing_ns), bound=_ms(bound_ns))
        if isinstance(state, RobotState) and state.linear_velocity is None and self._needs_linear_velocity:
            return Cause(CauseKind.MISSING_FIELD)
        # NaN is in no range; what has no bounds has to be finite.
        if values.size != self._low.size:
            self._low, self._high = _padded(self.joints_low, self.joints_high, values.size)
        if np.count_nonzero((values >= self._low) & (values <= self._high)) != values.size:
            return self._values_cause(values)
        if isinstance(state, RobotState):
            norm = _norm_squared(state.orientation)
            if not MIN_ORIENTATION_NORM_SQUARED < norm < MAX_ORIENTATION_NORM_SQUARED:
                low = norm <= MIN_ORIENTATION_NORM_SQUARED
                bound = MIN_ORIENTATION_NORM_SQUARED if low else MAX_ORIENTATION_NORM_SQUARED
                return Cause(CauseKind.ORIENTATION_NORM, number=norm, bound=bound)
            upright = -projected_gravity(state.orientation)[2] / norm
            if upright < self.min_upright:
                tilt = math.acos(max(-1.0, upright))
                return Cause(CauseKind.TILT, number=tilt, bound=math.acos(self.min_upright))
        if self._last_seq == 0 and not self._watches:
            return self._start_cause(state)
        return None

    def too_old(self, stamp_ns: int, now_ns: int) -> Cause | None:
        """Why a state sampled at ``stamp_ns`` may no longer be answered; None while it may."""
        age_ns, max_age_ns = now_ns - stamp_ns, self._limits.max_age_ns
        if age_ns <= max_age_ns:
            return None
        return Cause(CauseKind.OLD, number=_ms(age_ns), bound=_ms(max_age_ns))

    def _measure_interval(self, state: RobotState | RawObservation) -> None:
        seq, stamp_ns = self._window
        if not seq:
            self._window = (state.seq, state.stamp_ns)
        elif state.stamp_ns - stamp_ns >= INTERVAL_WINDOW_NS:
            self.interval_ns = (state.stamp_ns - stamp_ns) // (state.seq - seq)
            self._window = (state.seq, state.stamp_ns)

    def _start_cause(self, state: RobotState | RawObservation) -> Cause | None:
        error = np.abs(state.joint_position - self._default)
        if not (error > self.start_error).any():
            return None
        joint = int(np.argmax(error - self.start_error))
        return Cause(CauseKind.START_POSTURE, joint, float(error[joint]), float(self.start_error[joint]))

    def _values_cause(self, values: Float32Array) -> Cause:
        joints = values[: self.joints_low.size]
        count = len(joints) // 2
        if not np.isfinite(joints).all():
            index = int(np.argmin(np.isfinite(joints)))
            return Cause(CauseKind.NOT_FINITE, index % count, float(joints[index]))
        if ((joints >= self.joints_low) & (joints <= self.joints_high)).all():
            return Cause(CauseKind.NOT_FINITE)
        excess = np.maximum(self.joints_low - joints, joints - self.joints_high)
        index = int(np.argmax(excess))
        bounds = self.joints_high if joints[index] > self.joints_high[index] else self.joints_low
        kind = CauseKind.OUT_OF_RANGE if index < count else CauseKind.VELOCITY_OUT_OF_RANGE
        return Cause(kind, index % count, float(joints[index]), float(bounds[index]))


def _ms(duration_ns: int) -> float:
    return duration_ns / 1e6


def _values(state: RobotState | RawObservation) -> tuple[Float32Array, int]:
    """All of a state's values: joints, other sensors, inputs; and how many of them are inputs.

    A living sensor changes from state to state; an input, what others fill in, need not.
    """
    if isinstance(state, RawObservation):
        parts = [state.joint_position, state.joint_velocity, state.observation]
    else:
        parts = [
            state.joint_position,
            state.joint_velocity,
            state.angular_velocity,
            state.orientation,
            state.linear_acceleration,
            state.joint_torque,
            state.velocity_command,
        ]
        if state.linear_velocity is not None:
            parts.insert(-1, state.linear_velocity)
        if state.inputs:
            parts += state.inputs
            return np.concatenate(parts), state.velocity_command.size + sum(
                values.size for values in state.inputs
            )
    return np.concatenate(parts), parts[-1].size


def _padded(low: Float32Array, high: Float32Array, size: int) -> tuple[Float32Array, Float32Array]:
    unlimited = np.full(size - low.size, _FLOAT32_MAX, np.float32)
    return np.concatenate((low, -unlimited)), np.concatenate((high, unlimited))


def _norm_squared(orientation: Float32Array) -> float:
    w, x, y, z = orientation.tolist()
    return float(w * w + x * x + y * y + z * z)
