"""Where Prometheus reads: a TCP port, or a Unix socket for a service that lives without IP."""

from __future__ import annotations

import contextlib
import selectors
import socket
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from gaitd.errors import InputError, printable
from gaitd.system.access import for_owner_and_group
from gaitd.system.config import Metrics

REQUEST_TIMEOUT_S = 2.0
"""From a connection's beginning to its end, however busily its reader drips."""
MAX_CONNECTIONS = 32
"""One more, and the oldest is closed: whoever asks at once is answered, whoever stalls keeps nobody out."""
MAX_REQUEST_BYTES = 8192
_POLL_S = 0.25


def serve_metrics(metrics: Metrics, registry: CollectorRegistry) -> None:
    """Serve from one thread. Raises InputError when the address is not available."""
    try:
        if metrics.address.startswith("/"):
            listener = _listen_unix(Path(metrics.address))
        else:
            family = socket.AF_INET6 if ":" in metrics.address else socket.AF_INET
            listener = socket.create_server((metrics.address, metrics.port), family=family)
    except OSError as error:
        where = metrics.address if metrics.address.startswith("/") else f"{metrics.address}:{metrics.port}"
        raise InputError(
            f"metrics at {where}: {error.strerror}; set metrics.address and metrics.port in gaitd.toml"
        ) from None
    server = MetricsServer(listener, lambda request: answer(request, registry))
    threading.Thread(target=server.run, name="metrics", daemon=True).start()


def answer(request: bytes, registry: CollectorRegistry) -> bytes:
    """The HTTP response to a request's head; any path is the metrics page."""
    lines = request.decode("latin-1").split("\r\n")
    if not lines[0].startswith("GET "):
        return _response(
            "405 Method Not Allowed", "text/plain", b"GET is all that is answered\n", "Allow: GET"
        )
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    encode, content_type = choose_encoder(headers.get("accept", ""))
    return _response("200 OK", content_type, encode(registry))


class _Connection:
    """One reader: its request as far as it came, then the response as far as it is not sent."""

    def __init__(self, peer: socket.socket) -> None:
        self.peer = peer
        self.until_s = time.monotonic() + REQUEST_TIMEOUT_S
        self.request = b""
        self.response = b""


class MetricsServer:
    """Answers one request a connection; nobody waits for a reader."""

    def __init__(self, listener: socket.socket, answer: Callable[[bytes], bytes]) -> None:
        """``answer`` makes the response to a request's head."""
        self._listener = listener
        self._answer = answer
        self._selector = selectors.DefaultSelector()
        self._connections: list[_Connection] = []
        """The oldest first."""
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)

    def run(self) -> None:
        """Serve for ever."""
        while True:
            for key, _ in self._selector.select(_POLL_S):
                if key.data is None:
                    self._accept()
                elif key.data in self._connections:
                    self._go_on(key.data)
            now_s = time.monotonic()
            for connection in [late for late in self._connections if late.until_s < now_s]:
                self._close(connection)

    def _accept(self) -> None:
        try:
            peer, _ = self._listener.accept()
        except OSError:
            time.sleep(_POLL_S)  # no descriptor is left, or the peer is gone already
            return
        peer.setblocking(False)
        connection = _Connection(peer)
        self._connections.append(connection)
        self._selector.register(peer, selectors.EVENT_READ, connection)
        if len(self._connections) > MAX_CONNECTIONS:
            self._close(self._connections[0])

    def _go_on(self, connection: _Connection) -> None:
        try:
            if not connection.response:
                self._read(connection)
            if connection.response:
                connection.response = connection.response[connection.peer.send(connection.response) :]
                if not connection.response:
                    self._close(connection)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)

    def _read(self, connection: _Connection) -> None:
        received = connection.peer.recv(MAX_REQUEST_BYTES)
        connection.request += received
        head, end, _ = connection.request.partition(b"\r\n\r\n")
        if end:
            try:
                connection.response = self._answer(head)
            except Exception as error:  # what the client library makes of a reader's header
                text = f"{type(error).__name__}: {printable(str(error))}\n"
                connection.response = _response("500 Internal Server Error", "text/plain", text.encode())
            self._selector.modify(connection.peer, selectors.EVENT_WRITE, connection)
        elif not received or len(connection.request) > MAX_REQUEST_BYTES:
            self._close(connection)

    def _close(self, connection: _Connection) -> None:
        self._connections.remove(connection)
        self._selector.unregister(connection.peer)
        connection.peer.close()


def _listen_unix(path: Path) -> socket.socket:
    _clear(path)
    listener = socket.socket(socket.AF_UNIX)
    try:
        with for_owner_and_group():
            listener.bind(str(path))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def _clear(path: Path) -> None:
    """Delete the socket that an earlier telemetry process left, and nothing else. Raises InputError."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise InputError(f"metrics.address: {path} is there and no socket; name a path that is free")
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(ConnectionRefusedError):
        probe.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            probe.connect(str(path))
        raise InputError(f"metrics.address: another program serves at {path}; name a path that is free")
    path.unlink(missing_ok=True)


def _response(status: str, content_type: str, body: bytes, *headers: str) -> bytes:
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
