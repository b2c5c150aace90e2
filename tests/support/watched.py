"""The real worker over real memory without sockets, each of its steps announced before it is taken."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Mapping
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import zmq

from gaitd.shared.guard_memory import GuardMemory
from gaitd.shared.memory import read_only
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.system.config import Config


class Op(enum.IntEnum):
    """What a worker does that others may see, or that it must not do for a command that did not leave."""

    INFER = 0
    STAGE = 1
    READ_LEASE = 2
    SEND = 3
    MARK_SENT = 4
    NOTE_COMMAND = 5
    COMMIT = 6
    SETTLE = 7
    READ_SESSION = 8
    RECEIVE = 9


Announce = Callable[[Op], None]


class _Watched:
    """Announces the use of some attributes and items, and passes everything on."""

    def __init__(self, real: Any, names: Mapping[str, Op], announce: Announce) -> None:
        self._real, self._names, self._announce = real, names, announce

    def __getattr__(self, name: str) -> Any:
        if name in self._names:
            self._announce(self._names[name])
        return getattr(self._real, name)

    def __getitem__(self, name: str) -> int:
        value: int = self._real[name]
        return value

    def __setitem__(self, name: str, value: int) -> None:
        if name in self._names:
            self._announce(self._names[name])
        self._real[name] = value


def watched_guard(owner: GuardMemory, announce: Announce) -> Any:
    """The guardian's memory as a worker maps it: to read."""
    fd = read_only(owner.fd)
    reader = GuardMemory(fd, writable=False)
    os.close(fd)
    return _Watched(reader, {"lease": Op.READ_LEASE, "read_session": Op.READ_SESSION}, announce)


def watched_memory(fd: int, announce: Announce) -> Any:
    """A worker's own memory."""
    memory: Any = WorkerMemory(fd, writable=True)
    memory.words = _Watched(memory.words, {"last_command_ns": Op.NOTE_COMMAND}, announce)
    ring = {"stage": Op.STAGE, "mark_sent": Op.MARK_SENT, "settle": Op.SETTLE}
    memory.steps = _Watched(memory.steps, ring, announce)
    return memory


class WatchedBackend:
    """Always the same action."""

    def __init__(self, action: np.ndarray, announce: Announce) -> None:
        self._action, self._announce = action, announce

    def infer(self, observation: np.ndarray) -> np.ndarray:
        self._announce(Op.INFER)
        return self._action

    def commit(self) -> None:
        self._announce(Op.COMMIT)

    def reset(self) -> None: ...

    def close(self) -> None: ...


class LoopedWorker:
    """The real ``Worker``; its state socket is a list, and what it publishes another."""

    def __init__(
        self,
        loop: ModuleType,
        bundle: Any,
        backend: Any,
        slot: int,
        guard: GuardMemory,
        memory_fd: int,
        announce: Announce,
        make: Callable[..., Any] | None = None,
    ) -> None:
        """``make``: another class than the loop's Worker, given the same."""
        self.sent: list[bytes] = []
        self._waiting: list[bytes] = []
        self._announce = announce
        context = SimpleNamespace(destroy=lambda linger: None)
        access = SimpleNamespace(
            open=lambda kind, *_: self._socket(kind), admit=lambda: None, bound={"command": [], "cmd1": []}
        )
        with (
            mock.patch.object(loop, "realtime_context", return_value=context),
            mock.patch.object(loop, "AccessControl", return_value=access),
            mock.patch.object(loop, "PeerLimits", return_value=SimpleNamespace(enforce=lambda _: "")),
            mock.patch.object(loop, "may_use_fifo", return_value=False),
        ):
            self.worker = (make or loop.Worker)(
                bundle,
                backend,
                slot,
                watched_guard(guard, announce),
                watched_memory(memory_fd, announce),
                Config(),
            )

    def turn(self, *states: bytes) -> None:
        """One turn of its loop, with the states that wait."""
        self._waiting = list(states)
        self.worker._stopping = False
        self.worker.run()

    @property
    def session(self) -> int:
        """The session that it answers; 0 for none."""
        step = self.worker._step
        return 0 if step is None else int(step.setup.session)

    def _socket(self, kind: int) -> Any:
        events = self._events if kind == zmq.SUB else lambda option: 0
        return SimpleNamespace(FD=0, set=lambda *_: None, get=events, recv=self._receive, send=self._send)

    def _events(self, option: int) -> int:
        return zmq.POLLIN if self._waiting else 0

    def _receive(self, flags: int = 0) -> bytes:
        self.worker.stop()
        if not self._waiting:
            raise zmq.Again
        self._announce(Op.RECEIVE)
        return self._waiting.pop(0)

    def _send(self, data: bytes, flags: int) -> None:
        self._announce(Op.SEND)
        self.sent.append(data)
