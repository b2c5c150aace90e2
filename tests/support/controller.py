"""A controller in Python that speaks the wire contract over real sockets, and misbehaves on demand."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gaitd.ctl.route import Route
from gaitd.wire.codec import decode_command, encode_state
from gaitd.wire.generated import Mode
from gaitd.wire.messages import JointCommand, RobotState
from gaitforge.client.connection import Connection

QUEUED_STATES = 1000
"""Also what comes faster than any robot goes out."""
ALL_FIELDS = [
    "angular_velocity",
    "orientation",
    "linear_acceleration",
    "velocity_command",
    "joint_position",
    "joint_velocity",
    "joint_torque",
]


def standing_state(joint_position: np.ndarray, seed: int = 0) -> RobotState:
    """An upright robot with a little sensor noise; session, seq and stamp are the caller's to set."""
    rng = np.random.default_rng(seed)
    n = len(joint_position)

    def noise(size: int, scale: float) -> np.ndarray:
        return (rng.normal(size=size) * scale).astype(np.float32)

    return RobotState(
        session=0,
        seq=0,
        stamp_ns=0,
        angular_velocity=noise(3, 0.05),
        orientation=np.array([1, 0, 0, 0], np.float32),
        linear_acceleration=np.array([0, 0, 9.81], np.float32) + noise(3, 0.1),
        linear_velocity=None,
        velocity_command=np.zeros(3, np.float32),
        joint_position=joint_position + noise(n, 0.01),
        joint_velocity=noise(n, 0.1),
        joint_torque=noise(n, 0.5),
    )


@dataclass
class Controller:
    """Publishes states and reads commands as the C++ client does, without its own safety net."""

    where: Path | Route
    joints: list[str]
    name: str = "test"

    def __post_init__(self) -> None:
        connection = Connection(self.where, timeout_s=5.0, queued_states=QUEUED_STATES)
        self._connection = connection
        self.route, self.control = connection.route, connection.control
        self.states, self.commands = connection.states, connection.commands
        self.socket = connection.socket
        self.session = 0
        self.seq = 0
        self.sent: RobotState | None = None
        """The last state that went out."""
        self.contract: dict[str, Any] = {}

    def hello(self, **changes: Any) -> dict[str, Any]:
        body = {"controller": self.name, "joints": self.joints, "fields": ALL_FIELDS, "message": "state"}
        self.contract = self._connection.hello(**{**body, **changes})
        return self.contract

    def activate(self) -> int:
        self.session = self.control.demand("activate")["session"]
        self.seq = 0
        return self.session

    @property
    def period_s(self) -> float:
        return float(self.contract["period_ns"]) / 1e9

    def settle(self, timeout_s: float = 10.0) -> None:
        """Without a session: return once states reach gaitd and its commands reach us."""
        until_s = time.monotonic() + timeout_s
        before = self.status()["counters"]["standby"]
        while self.status()["counters"]["standby"] == before or self.receive(self.period_s) is None:
            assert time.monotonic() < until_s, "the sockets did not connect"
            self.send(standing_state(self.default_position()))

    def default_position(self) -> np.ndarray:
        return np.frombuffer(self.contract["default_joint_position"], np.float32)

    def next_state(self, **changes: Any) -> RobotState:
        self.seq += 1
        state = standing_state(self.default_position(), seed=self.seq)
        stamped = replace(state, session=self.session, seq=self.seq, stamp_ns=time.monotonic_ns())
        return replace(stamped, **changes)

    def send(self, state: RobotState) -> None:
        self.sent = state
        self.states.send(encode_state(state))

    def receive(self, timeout_s: float) -> JointCommand | None:
        """The next command from either endpoint, or None."""
        if not self.commands.poll(round(timeout_s * 1000)):
            return None
        return decode_command(self.commands.recv(), len(self.joints))

    def step(self, **changes: Any) -> JointCommand | None:
        """One control period: send a state, wait for its answer or damping, keep the pace."""
        until_s = time.monotonic() + self.period_s
        state = self.next_state(**changes)
        self.send(state)
        answer = None
        while (left_s := until_s - time.monotonic()) > 0:
            command = self.receive(left_s)
            if command is None:
                break
            if command.session == self.session and (command.mode is Mode.DAMPING or command.seq == state.seq):
                answer = command
        return answer

    def walk(self, steps: int, **changes: Any) -> list[JointCommand | None]:
        return [self.step(**changes) for _ in range(steps)]

    def wait_for(self, mode: Mode, timeout_s: float = 5.0) -> JointCommand:
        """The first command of that mode, without sending anything."""
        until_s = time.monotonic() + timeout_s
        while (left_s := until_s - time.monotonic()) > 0:
            command = self.receive(left_s)
            if command is not None and command.mode is mode:
                return command
        raise AssertionError(f"no {mode.name} command within {timeout_s} s")

    def status(self) -> dict[str, Any]:
        return self.control.demand("status")

    def close(self) -> None:
        self._connection.close()
