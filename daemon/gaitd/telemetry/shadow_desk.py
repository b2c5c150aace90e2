"""Where a shadow gets the memory that it reads, and tells how it does. Nobody here waits for a peer."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections import deque
from pathlib import Path

import gaitd
from gaitd.errors import InputError
from gaitd.shared import shadow
from gaitd.shared.launch import TelemetryLaunch
from gaitd.shared.shadow import Ask, Follow, Memory, News, Refused, ShadowReport, Stop, Told
from gaitd.system.handover import Handover
from gaitd.telemetry.recording import ShadowSample
from gaitd.telemetry.say import say

MAX_CONNECTIONS = 8
"""One more, and the oldest that is no shadow is closed."""
MAX_MESSAGES = 16
"""Of one peer, in one look."""
SAY_AGAIN_S = 5.0
"""Between two lines of the log about one shadow's verdict."""


class ShadowDesk:
    """A Unix socket in the runtime directory: whoever may open it may read what gaitd does."""

    def __init__(self, launch: TelemetryLaunch, samples: deque[ShadowSample]) -> None:
        """``samples``: where it goes what is told, for the recordings."""
        self.runs = False
        """Whether there is a shadow now, and it has told something."""
        self.report: ShadowReport | None = None
        """The newest, also of a shadow that has ended; kept until the next one has told something."""
        self._samples = samples
        self._launch = launch
        self._fds = [launch.guard_memory_fd, launch.manifest_fd, *launch.worker_memory_fds]
        self._peers: list[socket.socket] = []
        self._shadow: socket.socket | None = None
        self._name = self._said = ""
        self._said_s = 0.0
        self._listener = self._listen()

    def look(self) -> None:
        """Answer who has asked; a bounded number."""
        if self._listener is None:
            return
        if (newest := self._listener.accept()) is not None:
            self._peers.append(newest)
        for peer in list(self._peers):
            self._serve(peer)
        guests = [peer for peer in self._peers if peer is not self._shadow]
        for peer in guests[: max(0, len(self._peers) - MAX_CONNECTIONS)]:
            self._close(peer)

    def close(self) -> None:
        """The end: a shadow hears of it."""
        for peer in list(self._peers):
            self._close(peer)

    def _listen(self) -> Handover | None:
        path = Path(os.fsdecode(self._launch.runtime_dir)) / shadow.SOCKET
        try:
            return Handover(path, MAX_CONNECTIONS)
        except OSError as error:
            say(f"{path}: {error.strerror}; gaitctl shadow will not find gaitd")
            return None

    def _serve(self, peer: socket.socket) -> None:
        try:
            for _ in range(MAX_MESSAGES):
                data = peer.recv(shadow.MAX_MESSAGE_BYTES)
                if not data:
                    self._close(peer)
                    return
                self._answer(peer, shadow.decode_request(data))
        except BlockingIOError:
            return
        except InputError as error:
            with contextlib.suppress(OSError):
                peer.send(shadow.encode(Refused(error=str(error))))
            self._close(peer)
        except OSError:
            self._close(peer)

    def _answer(self, peer: socket.socket, request: shadow.Request) -> None:
        if isinstance(request, Told):
            if peer is self._shadow:
                self._note(request.report)
        elif isinstance(request, Ask):
            peer.send(shadow.encode(self._news()))
        elif isinstance(request, Stop):
            peer.send(shadow.encode(self._news()))
            if self._shadow is not None:
                self._close(self._shadow)
        elif isinstance(request, Follow):
            self._begin(peer, request)

    def _news(self) -> News:
        """Of a shadow that has told nothing yet there is no report."""
        begins = self._shadow is not None and not self.runs
        return News(runs=self._shadow is not None, report=None if begins else self.report)

    def _begin(self, peer: socket.socket, request: Follow) -> None:
        if self._shadow is not None:
            why = f"{self._name} is followed as a shadow already; gaitctl shadow --stop ends that"
            peer.send(shadow.encode(Refused(error=why)))
            return
        launch = self._launch
        memory = Memory(
            gaitd=gaitd.__version__,
            policy=launch.policy,
            bundle=launch.bundle,
            backends=list(launch.backends),
            period_s=launch.period_s,
            state_max_age_s=launch.state_max_age_s,
            joints=launch.joints,
            hot_cpus=launch.hot_cpus,
        )
        socket.send_fds(peer, [shadow.encode(memory)], self._fds)
        self._shadow, self._name = peer, request.policy

    def _note(self, report: ShadowReport) -> None:
        known = set(self._launch.joints)
        if not set(report.joints) | set(report.mean_rad) <= known:
            return  # labels of the metrics are this policy's joints and no others
        if not self.runs:
            self.runs = True
            self._said = "too few"  # needs no line
            say(f"{self._name} begins as a shadow", policy=self._name)
        now_s = time.monotonic()
        if report.verdict != self._said and now_s - self._said_s > SAY_AGAIN_S:
            self._said, self._said_s = report.verdict, now_s
            say(f"shadow {report.policy}: {report.verdict}: {report.why}", policy=report.policy_id)
        self.report = report
        self._samples.append(ShadowSample.of(time.monotonic_ns(), report))

    def _close(self, peer: socket.socket) -> None:
        if peer not in self._peers:
            return  # a Stop has closed it meanwhile, perhaps its own
        self._peers.remove(peer)
        peer.close()
        if peer is self._shadow:
            self._shadow = None
            if self.runs:
                self.runs = False
                say(f"{self._name} ends as a shadow", policy=self._name)
