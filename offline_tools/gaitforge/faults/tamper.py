"""A proxy between controller and gaitd that alters states and commands on command.

The controller is given the proxy's directory. States and commands pass through here; the guardian's and the
control endpoint are links to gaitd's own. Every state and command is one message, so what passes is counted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from gaitd.system.realtime import may_use_fifo
from gaitd.wire.codec import decode_command, decode_state, encode_command, encode_state
from gaitd.wire.endpoints import Endpoints
from gaitd.wire.messages import JointCommand, RobotState
from gaitforge.faults.orders import Order, Orders

PRIORITY = 55
SECOND_NS = 1_000_000_000
HONEST: Order = {"kind": "honest"}


@dataclass
class Tamper:
    """What is done with each message; pure apart from the random numbers."""

    period_ns: int
    order: Order = field(default_factory=lambda: HONEST)
    _frozen: RobotState | None = None
    _kept_state: RobotState | None = None
    _kept: deque[bytes] = field(default_factory=deque)
    _count: int = 0
    _commands: int = 0
    _sent_seq: int = 0
    _original: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Where the numbers are changed on the way: the controller's own sequence number and stamp, by ours."""
    _session: int = 0

    def obey(self, order: Order) -> None:
        """Apply this order from now on."""
        self.order = order
        self._frozen, self._kept_state, self._count, self._commands = None, None, 0, 0
        self._kept.clear()

    def state(self, state: RobotState) -> Iterator[tuple[int, RobotState]]:
        """What goes to gaitd instead: each with how long to wait before (ns)."""
        if state.session != self._session:
            self._session = state.session
            self._original.clear()
            self.order = HONEST
        self._count += 1
        renumbers = self.order["kind"] in ("half rate", "double rate") or bool(self._original)
        for wait_ns, changed in self._spoil(state):
            self._sent_seq = self._sent_seq + 1 if self._original else changed.seq
            if renumbers:
                self._original[self._sent_seq] = (state.seq, state.stamp_ns)
                changed = replace(changed, seq=self._sent_seq)
            yield wait_ns, changed

    def command(self, frame: bytes, joints: int) -> Iterator[bytes]:
        """What comes to the controller instead."""
        kind = self.order["kind"]
        if kind == "lose commands":
            self._commands += 1
            if self._commands % self.order["every"] == 0:
                return
        elif kind == "repeat commands":
            yield frame
        elif kind == "reorder commands":
            self._kept.append(frame)
            if len(self._kept) < 2:
                return
            yield self._kept.pop()
            frame = self._kept.popleft()
        elif kind == "delay commands":
            self._kept.append(frame)
            if len(self._kept) <= self.order["periods"]:
                return
            frame = self._kept.popleft()
        elif kind == "truncate commands":
            frame = frame[: len(frame) // 2]
        elif kind == "command value":
            command = decode_command(frame, joints)
            position = command.joint_position.copy()
            position[0] = float(self.order["value"])
            frame = encode_command(replace(command, joint_position=position))
        elif kind == "foreign commands":
            command = decode_command(frame, joints)
            frame = encode_command(replace(command, session=command.session - 1))
        elif self._original:
            frame = self._back(decode_command(frame, joints))
        yield frame

    def _back(self, command: JointCommand) -> bytes:
        seq, stamp_ns = self._original.get(command.seq, (command.seq, command.state_stamp_ns))
        return encode_command(replace(command, seq=seq, state_stamp_ns=stamp_ns))

    def _spoil(self, state: RobotState) -> Iterator[tuple[int, RobotState]]:
        kind, order = self.order["kind"], self.order
        if self._count > order.get("states", 2**62):
            kind = "honest"
        if kind == "freeze content":
            self._frozen = self._frozen or state
            yield 0, replace(self._frozen, seq=state.seq, stamp_ns=state.stamp_ns)
        elif kind == "shift stamp":
            yield 0, replace(state, stamp_ns=max(0, state.stamp_ns + order["ns"]))
        elif kind == "state value":
            values = np.array(getattr(state, order["field"]))
            value = order["value"]
            if isinstance(value, list):
                values[:] = value
            else:
                values[0] = float(value)
            changed: dict[str, Any] = {order["field"]: values}
            yield 0, replace(state, **changed)
        elif kind == "lose states":
            if self._count % order["every"]:
                yield 0, state
        elif kind == "repeat states":
            yield 0, state
            yield 0, state
        elif kind == "reorder states":
            kept, self._kept_state = self._kept_state, state
            if kept is not None:
                yield 0, state
                yield 0, kept
                self._kept_state = None
        elif kind == "delay states":
            yield order["periods"] * self.period_ns, state
        elif kind == "half rate":
            if self._count % 2:
                yield 0, state
        elif kind == "double rate":
            yield 0, state
            later_ns = self.period_ns // 2
            wobble = (state.joint_velocity + 1e-3).astype(np.float32)
            yield later_ns, replace(state, stamp_ns=state.stamp_ns + later_ns, joint_velocity=wobble)
        else:
            yield 0, state


class Proxy:
    """The sockets around it, and the messages that have to wait."""

    def __init__(self, outer: Path, inner: Path, joints: int, orders: Orders, tamper: Tamper) -> None:
        self._joints = joints
        self._orders = orders
        self._tamper = tamper
        self._waiting: list[tuple[int, bytes]] = []
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        if may_use_fifo():
            context.set(zmq.THREAD_SCHED_POLICY, os.SCHED_FIFO)
            context.set(zmq.THREAD_PRIORITY, PRIORITY)
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
        sockets = [context.socket(kind) for kind in (zmq.SUB, zmq.PUB, zmq.SUB, zmq.PUB)]
        for socket in sockets:
            socket.set(zmq.LINGER, 0)
            socket.set(zmq.RECONNECT_IVL, 5)
        self._states_in, self._states_out, self._commands_in, self._commands_out = sockets
        self._states_in.set(zmq.SUBSCRIBE, b"")
        self._commands_in.set(zmq.SUBSCRIBE, b"")
        ours, theirs = Endpoints.in_directory(outer), Endpoints.in_directory(inner)
        self._states_in.bind(ours.state)
        self._commands_out.bind(ours.command)
        self._states_out.connect(theirs.state)
        self._commands_in.connect(theirs.command)
        for name in ("guard.sock", "control.sock"):
            (outer / name).symlink_to(inner / name)
        self._poller = zmq.Poller()
        self._poller.register(self._states_in, zmq.POLLIN)
        self._poller.register(self._commands_in, zmq.POLLIN)

    def run(self) -> None:
        """Pass messages until killed."""
        while True:
            due_ns = min((due for due, _ in self._waiting), default=time.monotonic_ns() + SECOND_NS // 100)
            wait_ms = max(0, (due_ns - time.monotonic_ns()) // 1_000_000)
            ready = dict(self._poller.poll(wait_ms))
            order = self._orders.take()
            if order is not None:
                self._tamper.obey(order)
            if self._states_in in ready:
                self._pass_state(self._states_in.recv())
            if self._commands_in in ready:
                for frame in self._tamper.command(self._commands_in.recv(), self._joints):
                    self._commands_out.send(frame)
            self._send_due()

    def _pass_state(self, frame: bytes) -> None:
        now_ns = time.monotonic_ns()
        for wait_ns, state in self._tamper.state(decode_state(frame, self._joints)):
            self._waiting.append((now_ns + wait_ns, encode_state(state)))

    def _send_due(self) -> None:
        now_ns = time.monotonic_ns()
        for due_ns, frame in [item for item in self._waiting if item[0] <= now_ns]:
            self._states_out.send(frame)
            self._waiting.remove((due_ns, frame))


def main() -> None:
    """Run the proxy."""
    parser = argparse.ArgumentParser()
    parser.add_argument("outer", type=Path, help="directory of the proxy's sockets")
    parser.add_argument("inner", type=Path, help="gaitd's runtime directory")
    parser.add_argument("--orders", type=Path, required=True)
    parser.add_argument("--joints", type=int, required=True)
    parser.add_argument("--period-ns", type=int, required=True)
    options = parser.parse_args()
    options.outer.mkdir(parents=True, exist_ok=True)
    proxy = Proxy(
        options.outer, options.inner, options.joints, Orders(options.orders), Tamper(options.period_ns)
    )
    with contextlib.suppress(KeyboardInterrupt):
        proxy.run()


if __name__ == "__main__":
    main()
