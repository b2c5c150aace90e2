"""What gaitd's messages ask of the joints: which command is taken, and what holds. No sockets, no clock.

Epoch, sequence and age decide, as in the C++ client. What that one has beyond it is missing here: nothing is
latched but what gaitd itself has said, and gaitd is not told when its commands stay away.
"""

from __future__ import annotations

import enum
from collections import deque

import numpy as np

from gaitd.wire.causes import NO_CAUSE
from gaitd.wire.generated import FUTURE_TOLERANCE_NS, GUARD_SLOT, MAX_SLOTS, Mode, Reason
from gaitd.wire.messages import Float32Array, JointCommand
from gaitforge.client.contract import Contract

_REMEMBERED = 256
"""Published states; an answer to an older one is beyond any deadline."""
_ARRAYS = ("joint_position", "joint_velocity", "stiffness", "damping", "torque", "action")


class Refusal(enum.Enum):
    """Why a received command is not taken; the names are those of the C++ client."""

    MALFORMED = "malformed"
    """Not the layout of this message."""
    NOT_FINITE = "not_finite"
    FOREIGN_SESSION = "foreign_session"
    """Of a session that is not ours."""
    OLD_EPOCH = "old_epoch"
    """Of a worker that another one has taken over from."""
    FOREIGN_SLOT = "foreign_slot"
    """Not of the worker that has the joints in this epoch."""
    REPLAYED = "replayed"
    """Answers a state that is not newer than the last one answered."""
    UNPUBLISHED = "unpublished"
    """Answers a state that was never published, or with another stamp."""
    FUTURE_STAMP = "future_stamp"
    LATE = "late"
    """Answers a state older than the deadline."""
    LATCHED = "latched"
    """Active command after gaitd's damping of its session."""


class Orders:
    """One session after the other; times are CLOCK_MONOTONIC ns."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._joints = len(contract.fallback_damping)
        self._position = self._held = contract.default_joint_position
        self._begin(0, 0, 0)

    def begin(self, session: int, epoch: int, slot: int) -> None:
        """A session, granted to the worker in ``slot`` under ``epoch``; the one before is forgotten."""
        self._begin(session, epoch, slot)

    def end(self) -> None:
        """The session is over by the controller's own wish."""
        self._begin(0, 0, 0)

    def _begin(self, session: int, epoch: int, slot: int) -> None:
        self._session, self._epoch, self._slot = session, epoch, slot
        self._published: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)
        self._seq = 0
        self._active: JointCommand | None = None
        self._damping: JointCommand | None = None

    @property
    def session(self) -> int:
        """0 without one."""
        return self._session

    @property
    def sample_session(self) -> int:
        """What states are published under: 0 when gaitd has damped the session."""
        return 0 if self._damping is not None else self._session

    def published(self, stamp_ns: int, joint_position: Float32Array) -> int:
        """Counts one published state; its number in the session."""
        self._seq += 1
        self._published.append((self._seq, stamp_ns))
        self._position = joint_position
        self._held = self._contract.brakes.hold(self._held, joint_position)
        return self._seq

    def offer(self, command: JointCommand, now_ns: int) -> Refusal | None:
        """Take a received command, or say why not."""
        if command.mode is Mode.IDLE:
            return None  # says only that gaitd has no session
        if command.session != self._session:
            return Refusal.FOREIGN_SESSION
        if command.mode is Mode.DAMPING:
            self._damping = command  # whatever its epoch and age
            return None
        refusal = self._judge(command, now_ns)
        if refusal is None:
            self._epoch, self._slot, self._active = command.epoch, command.slot, command
        return refusal

    def at(self, now_ns: int) -> JointCommand:
        """What holds at that moment, of the newest messages; safe in every mode."""
        damping, active = self._damping, self._active
        if damping is not None:
            fresh = now_ns - damping.publish_stamp_ns <= self._contract.times.deadline_ns
            return self._rest(damping, stands=fresh and bool(damping.stiffness.any()))
        if active is None:
            return self._limp(Mode.IDLE, Reason.NONE)
        if now_ns - active.state_stamp_ns > self._contract.times.deadline_ns:
            return self._limp(Mode.DAMPING, Reason.CLIENT_DEADLINE)
        return active

    def _judge(self, command: JointCommand, now_ns: int) -> Refusal | None:
        last = self._active
        newest_ns = now_ns + FUTURE_TOLERANCE_NS
        if self._session == 0:
            return Refusal.FOREIGN_SESSION
        if self._damping is not None:
            return Refusal.LATCHED
        if command.epoch < self._epoch:
            return Refusal.OLD_EPOCH
        if command.slot >= MAX_SLOTS or (command.epoch == self._epoch and command.slot != self._slot):
            return Refusal.FOREIGN_SLOT
        if not all(np.isfinite(getattr(command, name)).all() for name in _ARRAYS):
            return Refusal.NOT_FINITE
        if command.seq <= (0 if last is None else last.seq):
            return Refusal.REPLAYED
        if (command.seq, command.state_stamp_ns) not in self._published:
            return Refusal.UNPUBLISHED
        if command.publish_stamp_ns > newest_ns or command.state_stamp_ns > newest_ns:
            return Refusal.FUTURE_STAMP
        if now_ns - command.state_stamp_ns > self._contract.times.deadline_ns:
            return Refusal.LATE
        return None

    def _rest(self, damping: JointCommand, *, stands: bool) -> JointCommand:
        """gaitd's damping; the stance and the gains are those of hello, whatever the message holds."""
        command = self._limp(Mode.DAMPING, damping.reason)
        command.cause = damping.cause
        if stands:
            contract = self._contract
            braked = contract.brakes.stiffness > 0
            command.joint_position = np.where(braked, self._held, contract.default_joint_position)
            command.stiffness = np.where(braked, contract.brakes.stiffness, contract.stiffness)
            command.damping = np.where(braked, contract.fallback_damping, contract.damping)
        return command

    def _limp(self, mode: Mode, reason: Reason) -> JointCommand:
        zero = np.zeros(self._joints, np.float32)
        return JointCommand(
            session=self._session,
            epoch=self._epoch,
            slot=GUARD_SLOT,
            seq=0,
            state_stamp_ns=0,
            publish_stamp_ns=0,
            mode=mode,
            reason=reason,
            cause=NO_CAUSE,
            policy=0,
            joint_position=self._held,
            joint_velocity=zero,
            stiffness=self._contract.brakes.stiffness,
            damping=self._contract.fallback_damping,
            torque=zero,
            action=np.zeros(self._contract.action_dim, np.float32),
        )
