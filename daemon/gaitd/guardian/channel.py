"""The guardian's sockets: the control ROUTER and its own stream of commands, and the proof that both work."""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import zmq

from gaitd.guardian.lanes import Lanes
from gaitd.guardian.policies import JointOrder
from gaitd.guardian.probe import Probe
from gaitd.guardian.rules import GuardState
from gaitd.system.access import AccessControl, is_over_network
from gaitd.system.log import log
from gaitd.system.peers import (
    MAX_CONNECTIONS,
    MAX_SUBSCRIBER_BYTES,
    MAX_SUBSCRIPTIONS,
    CommandPublisher,
    PeerLimits,
)
from gaitd.wire.codec import encode_command
from gaitd.wire.control import (
    ForeignRequestError,
    Reply,
    Request,
    asks_for_damping,
    decode_request,
    encode_reply,
)
from gaitd.wire.frame import WireError
from gaitd.wire.generated import GUARD_SLOT, MAX_REQUEST_BYTES
from gaitd.wire.messages import JointCommand

REQUESTS_PER_PEER = 4
"""That may wait in libzmq, and again here. A controller has three under way at most; more is refused."""
MAX_FRAMES = 2
"""Of a request: an empty one, as a REQ socket sends it, and the request."""
MAX_GROWTH_BYTES = 8 << 20
"""Of this process's memory, before all peers are disconnected: a message may have frames without end."""
LOG_NS = 1_000_000_000
"""A peer that is refused tries again and again: at most one line in this time."""


class _Waiting(NamedTuple):
    delimiter: list[bytes]
    data: bytes
    over_network: bool


class ControlChannel:
    """Binds both endpoints; reads requests, sends replies, publishes the guardian's commands."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        access: AccessControl,
        period_ns: int,
        budget_ns: int,
        lanes: Lanes | None = None,
    ) -> None:
        """``budget_ns``: for the requests of one call of ``serve``. ``lanes``: where commands go, too.

        Raises InputError when an endpoint cannot be bound.
        """
        self._lanes = lanes
        self._access = access
        self._budget_ns = budget_ns
        self._control = access.open(zmq.ROUTER, "control", REQUESTS_PER_PEER, MAX_REQUEST_BYTES)
        self._control.set(zmq.ROUTER_MANDATORY, 1)
        guard = access.open(zmq.XPUB, "guard", MAX_SUBSCRIPTIONS, MAX_SUBSCRIBER_BYTES)
        self.probe = Probe(context, access.local, period_ns)
        limits = PeerLimits(access.bound, MAX_GROWTH_BYTES)
        self._guard = CommandPublisher(guard, access.bound["guard"], limits)
        self._peer = b""
        self._frames: list[bytes] = []
        """Of a message that has not been read whole."""
        self._over_network = False
        """It came over TCP."""
        self._waiting: OrderedDict[bytes, deque[_Waiting]] = OrderedDict()
        """By peer; each has its turn."""
        self._logged_ns = -LOG_NS
        self.disconnected = 0
        """How often peers were disconnected because they asked for too much."""

    def serve(self, answer: Callable[[bytes, Request], Reply]) -> tuple[int, int]:
        """Answer waiting requests: those for damping first, the others in turn.

        Returns how many requests came and how many of them were refused. It takes little more than the
        budget, whatever waits; one request is answered in any case.
        """
        until_ns = time.monotonic_ns() + self._budget_ns
        requests = refused = 0
        while (message := self._receive(until_ns)) is not None:
            if self.probe.is_question(message.data):
                self._send(self._peer, message, message.data)
                continue
            requests += 1
            if asks_for_damping(message.data):
                if self._answer(self._peer, message, answer):
                    # What was asked before must not end the damping that was asked for after it.
                    refused += sum(map(len, self._waiting.values()))
                    self._waiting.clear()
                else:
                    refused += 1
            else:
                refused += not self._keep(message)
        while self._waiting:
            peer, messages = self._waiting.popitem(last=False)
            refused += not self._answer(peer, messages.popleft(), answer)
            if messages:
                self._waiting[peer] = messages
            if time.monotonic_ns() >= until_ns:
                break
        return requests, refused

    def look_at_peers(self) -> None:
        """Let in who may, and disconnect who asks for too much. It costs as much as a few requests."""
        now_ns = time.monotonic_ns()
        unauthorized, disconnected = self._access.admit(), self._guard.look_at_peers()
        self.disconnected += disconnected != ""
        if now_ns - self._logged_ns < LOG_NS:
            return
        if unauthorized is not None:
            self._logged_ns = now_ns
            log.warning("peer refused, its key is not in network.allowed_keys", **unauthorized._asdict())
        if disconnected:
            self._logged_ns = now_ns
            log.warning("peers disconnected, they ask for too much", peers=disconnected)

    def is_connected(self, peer: bytes) -> bool:
        """Whether a connection is still there: what is sent to it, an empty message, asks nothing of it."""
        try:
            self._control.send_multipart([peer, b""], zmq.DONTWAIT)
        except zmq.ZMQError as error:
            return error.errno != zmq.EHOSTUNREACH
        return True

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
        data = encode_command(command)
        if self._lanes is not None:
            self._lanes.send(data)
        self._guard.send(data)
        self.probe.note_published(now_ns)

    def _receive(self, until_ns: int) -> _Waiting | None:
        """The next request, whose sender is then ``_peer``; None when there is none or the time is over.

        Frame by frame: a message may have any number of them.
        """
        while time.monotonic_ns() < until_ns and int(self._control.get(zmq.EVENTS)) & zmq.POLLIN:
            frame = self._control.recv(zmq.DONTWAIT, copy=False)
            if not self._frames:
                self._over_network = is_over_network(frame)
            if len(self._frames) <= MAX_FRAMES + 1:
                self._frames.append(frame.bytes)
            if self._control.get(zmq.RCVMORE):
                continue
            self._peer, *delimiter, data = self._frames
            self._frames = []
            return _Waiting(delimiter, data, self._over_network)
        return None

    def _keep(self, message: _Waiting) -> bool:
        messages = self._waiting.get(self._peer)
        if messages is None:
            if len(self._waiting) >= MAX_CONNECTIONS:
                return False
            messages = self._waiting[self._peer] = deque()
        elif len(messages) >= REQUESTS_PER_PEER:
            return False
        messages.append(message)
        return True

    def _answer(self, peer: bytes, message: _Waiting, answer: Callable[[bytes, Request], Reply]) -> bool:
        """Whether the request was granted."""
        try:
            if message.delimiter not in ([], [b""]):
                raise WireError("message", "one frame", f"{len(message.delimiter) + 1} frames")
            request = replace(decode_request(message.data), over_network=message.over_network)
            reply = answer(peer, request)
        except ForeignRequestError as error:
            reply = error.reply
        except WireError:
            return False  # nothing in it can be trusted, not even a request id to answer to
        self._send(peer, message, encode_reply(reply))
        return reply.ok

    def _send(self, peer: bytes, message: _Waiting, data: bytes) -> None:
        """A peer that went away or does not read is not waited for."""
        with contextlib.suppress(zmq.ZMQError):
            self._control.send_multipart([peer, *message.delimiter, data], zmq.DONTWAIT)
