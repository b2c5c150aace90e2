"""The real guardian over real memory, without sockets and children; its writes wait to be made."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any
from unittest import mock

import zmq

from gaitd.backends import BackendName
from gaitd.guardian import channel, main
from gaitd.shared.guard_memory import GuardMemory, SessionSetup
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.system.access import NETWORK_USER
from gaitd.system.config import Config
from gaitd.wire.control import Reply, Request, decode_reply, encode_request

Write = Callable[[], None]


class _Held:
    """The guardian's memory: what a worker may act on is written later."""

    def __init__(self, real: GuardMemory, writes: list[Write]) -> None:
        self._real, self._writes = real, writes
        self._newest = real.lease
        self.events = real.events  # nobody acts on them

    @property
    def lease(self) -> int:
        return self._newest

    @lease.setter
    def lease(self, word: int) -> None:
        if word != self._newest:
            self._newest = word
            self._writes.append(lambda: setattr(self._real, "lease", word))

    def write_session(self, setup: SessionSetup) -> None:
        self._writes.append(lambda: self._real.write_session(setup))


class LoopedGuardian:
    """The real ``Guardian``. What others see of it, in order: lease, session, publications, replies.

    ``hear`` gets what it publishes, when that is written.
    """

    def __init__(
        self,
        bundle: Any,
        hear: Callable[[bytes], None],
        config: Config | None = None,
        beside: Sequence[Any] = (),
        backends: Sequence[BackendName] = ("onnx",),
    ) -> None:
        self._writes: list[Write] = []
        self._requests: deque[tuple[Request, Callable[[Reply], None]]] = deque()
        self._hear = hear
        self._unanswered: deque[Callable[[Reply], None]] = deque()
        self._frames: deque[bytes] = deque()
        self.over_network = False
        """Requests come as over TCP."""
        """Of the request that is being read."""
        access = SimpleNamespace(
            open=lambda kind, *_: self._socket(kind), admit=lambda: None, bound={"guard": []}, local=None
        )
        heard = mock.Mock(is_question=lambda _: False, silence_ns=lambda _: 0)
        patches = {
            (main, "claim_runtime_dir"): -1,
            (main, "realtime_context"): None,
            (main, "Children"): mock.Mock(),
            (main, "AccessControl"): access,
            (channel, "Probe"): heard,
            (channel, "PeerLimits"): mock.Mock(enforce=lambda _: ""),
        }
        with contextlib.ExitStack() as stack:
            for (module, name), result in patches.items():
                stack.enter_context(mock.patch.object(module, name, return_value=result))
            self._guardian: Any = main.Guardian(bundle, config or Config(), list(backends), beside=beside)
        self.memory: GuardMemory = self._guardian._guard
        self.worker_memory: WorkerMemory = self._guardian._worker.memory
        self._guardian._guard = _Held(self.memory, self._writes)
        self._guardian._sessions.worker_ready = True
        for worker in self._guardian._workers.all:
            worker.ready = True
        self.standby_memory: list[WorkerMemory] = [
            worker.memory for worker in self._guardian._workers.all[1:]
        ]

    def close(self) -> None:
        """Give the descriptors back; the memory stays mapped."""
        guardian = self._guardian
        workers = guardian._workers.all
        fds = {self.memory.fd, *(fd for each in workers for fd in (each.broken_fd, each.memory.fd))}
        for child in (*(worker.child for worker in workers), guardian._telemetry):
            fds |= {*child._fds, child._report_fd}
        for fd in fds:
            os.close(fd)

    def ask(self, name: str, then: Callable[[Reply], None], **body: Any) -> None:
        """A request waits at its socket; ``then`` gets the reply, when that is written."""
        self._requests.append((Request(1, name, body), then))

    def wake(self, now_ns: int) -> list[Write]:
        """One turn of its loop; its writes, which are still to be made."""
        self._guardian._wake(now_ns)
        writes = self._writes[:]
        self._writes.clear()
        return writes

    def worker_dies(self, slot: int, now_ns: int) -> list[Write]:
        """Its lifeline broke; the guardian's writes, which are still to be made."""
        self._guardian._note_death(self._guardian._workers.by_slot[slot], now_ns)
        writes = self._writes[:]
        self._writes.clear()
        return writes

    def _socket(self, kind: int) -> Any:
        if kind == zmq.XPUB:
            return SimpleNamespace(set=lambda *_: None, get=lambda _: 0, send=self._publish)
        return SimpleNamespace(
            set=lambda *_: None, get=self._get, recv=self._receive, send_multipart=self._reply
        )

    def _get(self, option: int) -> int:
        if option == zmq.RCVMORE:
            return len(self._frames)
        if not self._frames and self._requests:
            request, then = self._requests.popleft()
            self._frames.extend([b"controller", encode_request(request)])
            self._unanswered.append(then)
        return zmq.POLLIN if self._frames else 0

    def _receive(self, flags: int, copy: bool) -> Any:
        user = NETWORK_USER.decode() if self.over_network else ""
        return SimpleNamespace(bytes=self._frames.popleft(), get={"User-Id": user}.get)

    def _publish(self, data: bytes, flags: int) -> None:
        self._writes.append(lambda: self._hear(data))

    def _reply(self, parts: list[bytes], flags: int) -> None:
        then = self._unanswered.popleft()
        reply = decode_reply(parts[-1])
        self._writes.append(lambda: then(reply))
