"""Where Prometheus reads: a TCP port, or a Unix socket for a service that lives without IP."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app, start_http_server

from gaitd.errors import InputError
from gaitd.system.access import for_owner_and_group
from gaitd.system.config import Metrics

REQUEST_TIMEOUT_S = 2.0


def serve_metrics(metrics: Metrics, registry: CollectorRegistry) -> None:
    """Serve from a thread. Raises InputError when the address is not available."""
    try:
        if metrics.address.startswith("/"):
            _serve_unix(Path(metrics.address), registry)
        else:
            start_http_server(metrics.port, metrics.address, registry)
    except OSError as error:
        where = metrics.address if metrics.address.startswith("/") else f"{metrics.address}:{metrics.port}"
        raise InputError(
            f"metrics at {where}: {error.strerror}; set metrics.address and metrics.port in gaitd.toml"
        ) from None


def _serve_unix(path: Path, registry: CollectorRegistry) -> None:
    path.unlink(missing_ok=True)  # of a telemetry process that was killed
    server = _UnixServer(str(path), _Handler)
    server.set_app(make_wsgi_app(registry))
    threading.Thread(target=server.serve_forever, daemon=True).start()


class _UnixServer(WSGIServer):
    """One request at a time: a reader that stalls costs other readers, and no threads."""

    address_family = socket.AF_UNIX

    def __init__(self, path: str, handler: type[WSGIRequestHandler]) -> None:
        super().__init__(path, handler)  # type: ignore[arg-type]

    def server_bind(self) -> None:
        with for_owner_and_group():
            self.socket.bind(self.server_address)
        self.server_name, self.server_port = "gaitd", 0
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        connection, _ = self.socket.accept()
        return connection, ("local", 0)


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_TIMEOUT_S

    def log_message(self, format: str, *args: object) -> None:
        """Scrapes are not worth a line."""
