"""The client: hello, activate, publish, command, in the shape of the C++ one (proto/cpp)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import zmq

from gaitd.ctl.route import Route
from gaitd.errors import GaitdError, InputError, UnreachableError
from gaitd.wire.codec import decode_command, encode_state
from gaitd.wire.frame import WireError
from gaitd.wire.generated import STATE_VALUES, Reason
from gaitd.wire.messages import Float32Array, JointCommand, RobotState
from gaitforge.client.connection import Connection
from gaitforge.client.contract import Contract, read_contract
from gaitforge.client.orders import Orders, Refusal

FIELDS = tuple(name for name in STATE_VALUES if name != "linear_velocity")
"""Of a state that a robot without an estimate of its own velocity fills in."""
UPRIGHT = (1.0, 0.0, 0.0, 0.0)
RUNTIME_DIR = Path("/run/gaitd")
_RECEIVES = 8
"""At a look: two connections with one message each; more only if a publisher is faster than this loop."""
_ASK_AGAIN_S = 0.05


@dataclass(slots=True, kw_only=True)
class Sample:
    """One sample of the robot; joint arrays (n,) in the client's order. Any array will do.

    None: not measured. ``publish`` refuses that where the policy needs it, and else sends what is neutral.
    """

    joint_position: npt.ArrayLike
    """(n,) rad."""
    joint_velocity: npt.ArrayLike
    """(n,) rad/s."""
    joint_torque: npt.ArrayLike | None = None
    """(n,) Nm"""
    orientation: npt.ArrayLike | None = None
    """(4,) unit quaternion w, x, y, z: base frame to world frame."""
    angular_velocity: npt.ArrayLike | None = None
    """(3,) rad/s, base frame."""
    linear_acceleration: npt.ArrayLike | None = None
    """(3,) m/s^2, base frame, gravity included."""
    linear_velocity: npt.ArrayLike | None = None
    """(3,) m/s, base frame; sent only if named in the client's fields."""
    velocity_command: npt.ArrayLike = (0.0, 0.0, 0.0)
    """(3,) forward, left, turn left, in the contract's unit."""
    inputs: Mapping[str, npt.ArrayLike] = field(default_factory=dict)
    """The contract's named inputs, (length,) each."""
    stamp_ns: int | None = None
    """CLOCK_MONOTONIC when it was sampled; None: now."""


class Client:
    """One controller, used by one thread. Not for a robot: it has no timer and no watchdog of its own.

    ``command`` gives what gaitd's messages ask for, and damping while they are too old. What the C++ client
    does beyond that (its own latch, telling gaitd, a real-time thread) is what a robot needs.
    """

    def __init__(
        self,
        joints: Sequence[str],
        where: Path | Route = RUNTIME_DIR,
        *,
        name: str = "python",
        fields: Sequence[str] = FIELDS,
        inputs: Sequence[str] = (),
        timeout_s: float = 2.0,
    ) -> None:
        """Open the sockets; gaitd need not run yet.

        ``joints``: in the order of every joint array here. ``where``: gaitd's runtime directory, or a route.
        ``name``: shown to people who look at gaitd. ``fields``: those of a sample that are really filled in.
        ``inputs``: names of the inputs that samples bring along. ``timeout_s``: of a request.

        Raises InputError when no socket fits into the directory.
        """
        self.joints = tuple(joints)
        self.published = 0
        self.refused: Counter[Refusal] = Counter()
        """Received commands that were not taken, by cause."""
        self._sends_linear_velocity = "linear_velocity" in fields
        self._body = {"controller": name, "joints": list(joints), "fields": list(fields), "message": "state"}
        if inputs:
            self._body["inputs"] = list(inputs)
        self._connection = Connection(where, timeout_s)
        self._said: dict[str, Any] = {}
        self._contract: Contract | None = None
        self._orders: Orders | None = None

    # ---- requests: these wait ----

    def hello(self, timeout_s: float = 5.0) -> Contract:
        """Agree with gaitd on joints, fields, period and gains; without a session.

        Raises GaitdError in gaitd's words when the two do not fit, UnreachableError when it does not answer
        in time.
        """
        until_s = time.monotonic() + timeout_s
        while True:
            try:
                self._said = self._connection.hello(**self._body)
                break
            except UnreachableError:
                if time.monotonic() >= until_s:
                    raise
                time.sleep(_ASK_AGAIN_S)
        self._contract = read_contract(self._said, self.joints)
        self._orders = Orders(self._contract)
        return self._contract

    def activate(self) -> int:
        """Begin a session and return its number; the robot is to stand in the policy's default pose.

        Raises GaitdError in gaitd's words when it is refused, or when gaitd has changed since hello;
        UnreachableError.
        """
        orders = self._ready()
        if self._connection.hello(**self._body) != self._said:
            raise GaitdError("gaitd is not what it was at hello (another policy or version): say hello again")
        grant = self._connection.control.demand("activate")
        orders.begin(grant["session"], grant["epoch"], grant["slot"])
        return orders.session

    def damp(self, detail: str = "") -> None:
        """Ask gaitd for damping; its commands say so from then on. Raises GaitdError, UnreachableError."""
        session = self._ready().session
        body = {"session": session, "reason": int(Reason.OPERATOR), "detail": detail}
        self._connection.control.demand("damp", **body)

    def release(self) -> None:
        """End the session without a fault. Raises GaitdError when gaitd refuses, UnreachableError."""
        orders = self._ready()
        self._connection.control.demand("release", session=orders.session)
        orders.end()

    # ---- the loop: these do not wait ----

    def publish(self, sample: Sample) -> None:
        """Send one sample: one control step, once in each control period, before a session too.

        Raises InputError naming an array of the wrong length, or one that the policy needs and is not there.
        """
        orders, n = self._ready(), len(self.joints)
        for name in self.contract.fields:
            if getattr(sample, name) is None:
                raise InputError(f"{name}: the policy needs it of every sample, and this one has none")
        stamp_ns = time.monotonic_ns() if sample.stamp_ns is None else sample.stamp_ns
        position = _row("joint_position", sample.joint_position, n)
        velocity = None
        if self._sends_linear_velocity:
            if sample.linear_velocity is None:
                raise InputError("linear_velocity: this client has said that it fills it in")
            velocity = _row("linear_velocity", sample.linear_velocity, 3)
        state = RobotState(
            session=orders.sample_session,
            seq=0,
            stamp_ns=stamp_ns,
            angular_velocity=_row("angular_velocity", sample.angular_velocity, 3),
            orientation=_row("orientation", UPRIGHT if sample.orientation is None else sample.orientation, 4),
            linear_acceleration=_row("linear_acceleration", sample.linear_acceleration, 3),
            linear_velocity=velocity,
            velocity_command=_row("velocity_command", sample.velocity_command, 3),
            joint_position=position,
            joint_velocity=_row("joint_velocity", sample.joint_velocity, n),
            joint_torque=_row("joint_torque", sample.joint_torque, n),
            inputs=self._inputs(sample),
        )
        state.seq = orders.published(stamp_ns, position)
        self._connection.states.send(encode_state(state))
        self.published += 1

    def command(self, now_ns: int | None = None) -> JointCommand:
        """What the motors are to do at that moment (CLOCK_MONOTONIC; by default now): safe in every mode."""
        orders = self._ready()
        now_ns = time.monotonic_ns() if now_ns is None else now_ns
        for _ in range(_RECEIVES):
            try:
                data = self._connection.commands.recv(zmq.DONTWAIT)
            except zmq.Again:
                break
            if (refusal := self._offer(orders, data, now_ns)) is not None:
                self.refused[refusal] += 1
        return orders.at(now_ns)

    def wait(self, limit_s: float) -> None:
        """Sleep until something may have come for ``command``, at most so long."""
        self._connection.commands.poll(round(limit_s * 1000))

    # ---- the rest ----

    @property
    def session(self) -> int:
        """Our session, 0 without one."""
        return 0 if self._orders is None else self._orders.session

    @property
    def contract(self) -> Contract:
        """Of the newest hello. Raises InputError before the first."""
        self._ready()
        assert self._contract is not None
        return self._contract

    def close(self) -> None:
        """Close the sockets. A session that runs ends in damping, for gaitd then misses its states."""
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _inputs(self, sample: Sample) -> tuple[Float32Array, ...]:
        rows = []
        for declared in self.contract.inputs:
            if declared.name not in sample.inputs:
                raise InputError(f"inputs: {declared.name} is missing, which the policy needs")
            rows.append(_row(f"inputs.{declared.name}", sample.inputs[declared.name], declared.length))
        return tuple(rows)

    def _ready(self) -> Orders:
        if self._orders is None:
            raise InputError("there was no hello yet: call hello() first")
        return self._orders

    def _offer(self, orders: Orders, data: bytes, now_ns: int) -> Refusal | None:
        try:
            command = decode_command(data, len(self.joints), self.contract.action_dim)
        except WireError:
            return Refusal.MALFORMED
        return orders.offer(command, now_ns)


def _row(name: str, values: npt.ArrayLike | None, count: int) -> Float32Array:
    row = np.zeros(count, np.float32) if values is None else np.array(values, np.float32)
    if row.shape != (count,):
        raise InputError(f"{name}: expected {count} values, got an array of shape {row.shape}")
    return row
