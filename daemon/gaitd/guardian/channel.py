"""The guardian's sockets: the control ROUTER and its own command PUB."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import zmq

from gaitd.guardian.rules import GuardState
from gaitd.guardian.sessions import JointOrder
from gaitd.system.access import AccessControl
from gaitd.system.log import log
from gaitd.wire.codec import encode_command
from gaitd.wire.control import ForeignRequestError, Reply, Request, decode_request, encode_reply
from gaitd.wire.frame import WireError
from gaitd.wire.generated import GUARD_SLOT
from gaitd.wire.messages import JointCommand

MAX_REQUESTS_PER_WAKE = 8
"""A flood of requests must not keep the guard from its tick."""
UNAUTHORIZED_LOG_NS = 1_000_000_000
"""A peer with a wrong key tries again and again: at most one line in this time."""


class ControlChannel:
    """Binds both endpoints; reads requests, sends replies, publishes the guardian's commands."""

    def __init__(self, access: AccessControl) -> None:
        """Raises InputError when an endpoint cannot be bound."""
        self._access = access
        self._control = access.open(zmq.ROUTER, "control")
        self._guard = access.open(zmq.PUB, "guard")
        self._unauthorized_logged_ns = -UNAUTHORIZED_LOG_NS

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

    def publish(self, state: GuardState, order: JointOrder, *, standing: bool, now_ns: int) -> None:
        """Say IDLE or DAMPING, why, and what the joints are to do."""
        goal = order.stance if standing else order.limp
        zeros = np.zeros_like(goal.damping)
        cause = state.cause
        if cause.joint is not None:
            cause = replace(cause, joint=order.controller_from_policy[cause.joint])
        command = JointCommand(
            session=state.session,
            epoch=state.epoch,
            slot=GUARD_SLOT,
            seq=0,
            state_stamp_ns=0,
            publish_stamp_ns=now_ns,
            mode=state.mode,
            # What ends a stance must reach the controller, even behind the reason that stands.
            reason=state.limp_by or state.reason,
            cause=cause,
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
        peer = self._access.admit()
        now_ns = time.monotonic_ns()
        if peer is not None and now_ns - self._unauthorized_logged_ns >= UNAUTHORIZED_LOG_NS:
            self._unauthorized_logged_ns = now_ns
            log.warning("peer refused, its key is not in network.allowed_keys", **peer._asdict())
