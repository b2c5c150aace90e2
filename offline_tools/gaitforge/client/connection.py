"""A controller's sockets: one for requests, one for states, one for every command."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import zmq

from gaitd.ctl.client import ControlClient
from gaitd.ctl.route import Route
from gaitd.wire.endpoints import local_endpoint
from gaitd.wire.generated import MAX_MESSAGE_BYTES, RECONNECT_MS, TRANSPORT

QUEUED_STATES = 64
"""That wait for a worker which is not there."""


class Connection:
    """Connected to slot 0 and the guardian from the start, with hello to every other worker."""

    def __init__(
        self, where: PurePath | Route, timeout_s: float = 2.0, queued_states: int = QUEUED_STATES
    ) -> None:
        """``where``: gaitd's runtime directory, or a route to it. ``timeout_s``: of a request.

        Raises InputError when no socket fits into the directory.
        """
        self._directory = None if isinstance(where, Route) else where
        self.route = where if isinstance(where, Route) else Route.local(where)
        self.control = ControlClient(self.route, timeout_s)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.states = self.socket(zmq.PUB)
        self.states.set(zmq.SNDHWM, queued_states)
        self.commands = self.socket(zmq.SUB)
        self.commands.set(zmq.CONFLATE, 1)
        self.commands.set(zmq.SUBSCRIBE, b"")
        self.route.connect(self.states, "state")
        self.route.connect(self.commands, "command", "guard")
        self._connected = {"state", "command"}

    def socket(self, kind: int) -> zmq.Socket[bytes]:
        """A further socket, not connected yet."""
        socket = self.context.socket(kind)
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.RECONNECT_IVL, RECONNECT_MS)
        socket.set(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        return socket

    def hello(self, **body: Any) -> dict[str, Any]:
        """Exchange hello; returns gaitd's reply. Raises GaitdError with gaitd's words, UnreachableError."""
        reply = self.control.demand("hello", **body)
        for endpoint in reply["endpoints"]:
            self._connect(endpoint)
        return reply

    def _connect(self, endpoint: Mapping[str, Any]) -> None:
        """A further worker's channels, to each once; they have no TCP ports."""
        if self._directory is None or endpoint["transport"] != TRANSPORT:
            return
        for name, socket in (("state", self.states), ("command", self.commands)):
            channel = endpoint[name]
            if channel not in self._connected:
                socket.connect(local_endpoint(self._directory, channel))
                self._connected.add(channel)

    def close(self) -> None:
        """Close every socket."""
        self.control.close()
        self.context.destroy(linger=0)
