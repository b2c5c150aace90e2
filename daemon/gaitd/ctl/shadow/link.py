"""A connection to telemetry's desk for shadows."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from types import TracebackType

from gaitd.errors import GateError, UnreachableError
from gaitd.shared import shadow
from gaitd.shared.shadow import Ask, Follow, Memory, News, Refused, ShadowReport, Stop, Told
from gaitd.system.wait import wait_readable

TIMEOUT_S = 3.0
MAX_FDS = 16


class ShadowLink:
    """One connection; use as a context manager."""

    def __init__(self, runtime_dir: Path) -> None:
        """Raises UnreachableError."""
        path = runtime_dir / shadow.SOCKET
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(TIMEOUT_S)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise UnreachableError(
                f"{path}: {error.strerror}; is gaitd running, with metrics or a recorder, and are you in its "
                "group?"
            ) from None

    def follow(self, policy: str) -> tuple[Memory, list[int]]:
        """Begin as the shadow: what there is, and descriptors of the guardian's memory, the manifest and the
        workers' memory. Raises GateError when another one runs."""
        reply, fds = self._ask(Follow(policy=policy))
        if not isinstance(reply, Memory) or len(fds) < 3:
            raise UnreachableError("gaitd's telemetry gave no memory; restart gaitd")
        return reply, fds

    def ask(self) -> News:
        """How the shadow does that runs, or ran last."""
        return self._news(Ask())

    def stop(self) -> News:
        """End the shadow that runs; how it did."""
        return self._news(Stop())

    def tell(self, report: ShadowReport) -> None:
        """How it does. Where telemetry is busy, or gone, nothing is lost: the next report tells all."""
        with contextlib.suppress(OSError):
            self._socket.send(shadow.encode(Told(report=report)), socket.MSG_DONTWAIT)

    def ended(self, wait_s: float) -> bool:
        """Wait; True as soon as telemetry has closed the connection."""
        if not wait_readable([self._socket.fileno()], wait_s):
            return False
        try:
            return not self._socket.recv(shadow.MAX_MESSAGE_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        """Close the connection: telemetry knows that the shadow is gone."""
        self._socket.close()

    def __enter__(self) -> ShadowLink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _news(self, request: Ask | Stop) -> News:
        reply, _ = self._ask(request)
        if not isinstance(reply, News):
            raise UnreachableError("gaitd's telemetry answered something else; restart gaitd")
        return reply

    def _ask(self, request: shadow.Request) -> tuple[shadow.Reply, list[int]]:
        try:
            self._socket.send(shadow.encode(request))
            data, fds, _, _ = socket.recv_fds(self._socket, shadow.MAX_MESSAGE_BYTES, MAX_FDS)
        except OSError as error:
            raise UnreachableError(
                f"gaitd's telemetry does not answer: {error.strerror or 'timed out'}; try again"
            ) from None
        for fd in fds:
            os.set_inheritable(fd, False)
        reply = shadow.decode_reply(data)
        if isinstance(reply, Refused):
            raise GateError(reply.error)
        return reply, list(fds)
