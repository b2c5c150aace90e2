"""A blocking client of the control channel, for tools."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any

import zmq

from gaitd.ctl.route import Route
from gaitd.errors import GaitdError, UnreachableError, printable
from gaitd.wire.codec import decode_mode
from gaitd.wire.control import Reply, Request, decode_reply, encode_request
from gaitd.wire.frame import WireError
from gaitd.wire.generated import MAX_MESSAGE_BYTES, Mode

REPEATED = ("damp", "status")
"""Requests that do no more when they come twice. A connection may be lost with what was sent on it: gaitd
disconnects all peers when some of them take too much of its memory."""
STATUS_TIMEOUT_S = 2.0
"""Of a look at whether a gaitd walks: a busy one answers within a control period."""


def read_status(runtime_dir: Path, timeout_s: float | None = None) -> dict[str, Any] | None:
    """The status of the gaitd with that runtime directory; None when none answers. Raises InputError."""
    route = Route.local(runtime_dir)
    if not os.path.lexists(runtime_dir / "control.sock"):
        return None
    try:
        with ControlClient(route, STATUS_TIMEOUT_S if timeout_s is None else timeout_s) as client:
            return client.demand("status")
    except GaitdError:
        return None


def _open(where: Route, channel: str, kind: int) -> tuple[zmq.Context[zmq.Socket[bytes]], zmq.Socket[bytes]]:
    """A socket on that channel, or nothing left behind: a context that is collected waits for its sockets."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        socket = context.socket(kind)
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        where.connect(socket, channel)
    except Exception:
        context.destroy(linger=0)
        raise
    return context, socket


class GuardListener:
    """Hears what gaitd's guardian tells the controllers."""

    def __init__(self, where: Route, timeout_s: float = 1.0) -> None:
        self._timeout_s = timeout_s
        self._route = where
        self._context, self._socket = _open(where, "guard", zmq.SUB)
        self._socket.set(zmq.SUBSCRIBE, b"")

    def wait_for_damping(self) -> None:
        """Wait until the guardian says DAMPING, as it does once in a period. Raises UnreachableError."""
        until_s = time.monotonic() + self._timeout_s
        while (left_s := until_s - time.monotonic()) > 0 and self._socket.poll(round(left_s * 1000) + 1):
            with contextlib.suppress(WireError):
                if decode_mode(self._socket.recv()) is Mode.DAMPING:
                    return
        raise UnreachableError(
            f"{self._route.endpoints.control} took the request, but {self._route.endpoints.guard} does not "
            "tell the controllers to damp: the robot may be walking; use its emergency stop"
        )

    def __enter__(self) -> GuardListener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.destroy(linger=0)


class ControlClient:
    """One connection to the control channel of a gaitd."""

    def __init__(self, where: PurePath | Route, timeout_s: float = 2.0) -> None:
        """``where``: its runtime directory on this machine, or a route to it."""
        self._route = where if isinstance(where, Route) else Route.local(where)
        self._timeout_ms = round(timeout_s * 1000)
        self._context, self._socket = _open(self._route, "control", zmq.DEALER)
        self._last_id = 0

    def ask(self, name: str, **body: Any) -> Reply:
        """Send a request and wait for its reply. Raises UnreachableError when none comes in time."""
        self._last_id += 1
        data = encode_request(Request(self._last_id, name, body))
        times = 2 if name in REPEATED else 1
        for _ in range(times):
            with contextlib.suppress(zmq.Again):  # who is turned away has no connection to send on
                self._socket.send(data, zmq.DONTWAIT)
            reply = self._reply(self._timeout_ms // times)
            if reply is not None:
                return reply
        where = self._route.endpoints.control
        raise UnreachableError(f"no gaitd answers at {where}; {self._route.advice()}")

    def _reply(self, timeout_ms: int) -> Reply | None:
        """To the last request; what is none is passed over, as another request's is."""
        while self._socket.poll(timeout_ms):
            with contextlib.suppress(WireError):
                reply = decode_reply(self._socket.recv())
                if reply.request_id == self._last_id:
                    return reply
        return None

    def demand(self, name: str, **body: Any) -> dict[str, Any]:
        """Like ``ask``, but raises GaitdError with gaitd's own words when it refuses."""
        reply = self.ask(name, **body)
        if not reply.ok:
            raise GaitdError(printable(str(reply.body.get("error", "refused without a reason"))))
        return reply.body

    def close(self) -> None:
        """Close the connection."""
        self._context.destroy(linger=0)

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
