"""The supervisor's sockets: the control ROUTER and the guardian's command PUB."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

import numpy as np
import zmq

from gaitd.guardian.rules import GuardState
from gaitd.guardian.sessions import JointGoal
from gaitd.system.access import Doors
from gaitd.system.log import fields
from gaitd.wire.causes import NO_CAUSE
from gaitd.wire.codec import encode_command
from gaitd.wire.contract import GUARD_SLOT, MAX_MESSAGE_BYTES
from gaitd.wire.control import ForeignRequestError, Reply, Request, decode_request, encode_reply
from gaitd.wire.frame import WireError
from gaitd.wire.messages import JointCommand

log = logging.getLogger("gaitd")

MAX_REQUESTS_PER_WAKE = 8
"""A flood of requests must not keep the guard from its tick."""
STRANGER_LOG_NS = 1_000_000_000
"""A peer with a wrong key tries again and again: at most one line in this time."""


class ControlChannel:
    """Binds both endpoints; reads requests, sends replies, publishes the guardian's commands."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], doors: Doors) -> None:
        """Raises InputError when an endpoint cannot be had."""
        self._doors = doors
        self._control = self._bind(context, zmq.ROUTER, "control")
        self._guard = self._bind(context, zmq.PUB, "guard")
        self._stranger_logged_ns = -STRANGER_LOG_NS

    def serve(self, answer: Callable[[bytes, Request], Reply]) -> tuple[int, int]:
        """Let in who may, and answer waiting requests, a bounded number of each.

        Returns how many requests came and how many of them were refused.
        """
        self._admit()
        requests = refused = 0
        while requests < MAX_REQUESTS_PER_WAKE and int(self._control.get(zmq.EVENTS)) & zmq.POLLIN:
            peer, *delimiter, data = self._control.recv_multipart(zmq.DONTWAIT)
            requests += 1
            try:
                if delimiter not in ([], [b""]):
                    raise WireError("message", "one frame", f"{len(delimiter) + 1} frames")
                reply = answer(peer, decode_request(data))
            except ForeignRequestError as error:
                reply = error.reply
            except WireError:
                refused += 1  # nothing in it can be trusted, not even a request id to answer to
                continue
            refused += not reply.ok
            # A peer that went away or does not read is not waited for.
            with contextlib.suppress(zmq.ZMQError):
                self._control.send_multipart([peer, *delimiter, encode_reply(reply)], zmq.DONTWAIT)
        return requests, refused

    def publish(self, state: GuardState, goal: JointGoal, now_ns: int) -> None:
        """Say IDLE or DAMPING, and what the joints are to do."""
        zeros = np.zeros_like(goal.damping)
        command = JointCommand(
            session=state.session,
            epoch=0,
            slot=GUARD_SLOT,
            seq=0,
            state_stamp_ns=0,
            publish_stamp_ns=now_ns,
            mode=state.mode,
            # What ends a stance must reach the controller, even behind the reason that stands.
            reason=state.limp_by or state.reason,
            cause=NO_CAUSE,
            policy=0,
            joint_position=goal.position,
            joint_velocity=zeros,
            stiffness=goal.stiffness,
            damping=goal.damping,
            torque=zeros,
            action=zeros,
        )
        self._guard.send(encode_command(command), zmq.DONTWAIT)

    def _admit(self) -> None:
        stranger = self._doors.admit()
        now_ns = time.monotonic_ns()
        if stranger is not None and now_ns - self._stranger_logged_ns >= STRANGER_LOG_NS:
            self._stranger_logged_ns = now_ns
            log.warning(
                "peer refused, its key is not in network.allowed_keys %s", fields(**stranger._asdict())
            )

    def _bind(self, context: zmq.Context[zmq.Socket[bytes]], kind: int, channel: str) -> zmq.Socket[bytes]:
        socket = context.socket(kind)
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        self._doors.open(socket, channel)
        return socket
