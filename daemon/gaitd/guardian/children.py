"""The guardian's children: asked for, watched and ended through the spawner."""

from __future__ import annotations

import contextlib
import select
import signal
import time
from collections.abc import Sequence

from gaitd.errors import CrashLoopError
from gaitd.guardian.child import Child
from gaitd.guardian.spawner_process import SpawnerProcess
from gaitd.system.log import log

LAST_S = 0.4
"""How long the kernel may take to end those that did not."""


class Children:
    """All of them by name. No call waits but the first and the last."""

    def __init__(self, children: Sequence[Child], poll: select.epoll) -> None:
        """``poll`` wakes at news, and at each death. Raises OSError."""
        self._children = {child.name: child for child in children}
        self._spawner = SpawnerProcess({child.name: child.command for child in children})
        self._poll = poll
        self.fd = self._spawner.fd
        """Readable when there is news."""
        poll.register(self.fd, select.EPOLLIN)

    def start(self, child: Child, now_ns: int) -> None:
        """Ask for a process."""
        child.start(self._spawner, now_ns)

    def hear_news(self, now_ns: int) -> None:
        """What became of the processes that were asked for. Raises CrashLoopError without a spawner."""
        for news in self._spawner.news():
            child = self._children[news.name]
            child.hear(news, now_ns)
            if news.error:
                log.error(
                    f"{child.name} cannot be started",
                    error=news.error,
                    deaths_in_a_row=child.deaths_in_a_row,
                )
            elif news.pidfd >= 0:
                # Its death wakes the guardian at once, and once: how it died comes later.
                self._poll.register(news.pidfd, select.EPOLLIN | select.EPOLLONESHOT)

    def restart_if_dead(self, child: Child, now_ns: int) -> None:
        """Look after a child that nothing depends on."""
        if child.has_died() and (how := child.reap(now_ns)) is not None:
            log.warning(f"{child.name} died", how=how)
        elif child.is_due(now_ns):
            self.start(child, now_ns)

    def end(self) -> None:
        """End them all, and the spawner."""
        began_s = time.monotonic()
        for child in self._children.values():
            child.send(signal.SIGTERM)
        last_s = max(child.grace_s for child in self._children.values()) + LAST_S
        with contextlib.suppress(CrashLoopError):  # with the spawner they are gone, too
            while any(child.pid for child in self._children.values()):
                took_s = time.monotonic() - began_s
                if took_s > last_s:
                    break
                self.hear_news(time.monotonic_ns())
                for child in self._children.values():
                    if took_s > child.grace_s:
                        child.send(signal.SIGKILL)
                    if child.has_died():
                        child.reap(time.monotonic_ns())
                time.sleep(0.005)
        self._spawner.close()
