"""The metrics endpoint against readers that stall, drip and crowd, and against what lies at its path."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Gauge

from gaitd.errors import InputError
from gaitd.system.config import Metrics
from gaitd.telemetry import endpoint
from gaitd.telemetry.endpoint import answer, serve_metrics
from support.daemon import ask_metrics, scrape, wait_until


@pytest.fixture
def registry() -> CollectorRegistry:
    made = CollectorRegistry()
    Gauge("answer", "To everything.", registry=made).set(42)
    return made


@pytest.fixture
def path(tmp_path: Path, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(endpoint, "REQUEST_TIMEOUT_S", 0.5)
    address = tmp_path / "m.sock"
    serve_metrics(Metrics(address=str(address)), registry)
    return address


def connect(path: Path) -> socket.socket:
    reader = socket.socket(socket.AF_UNIX)
    reader.connect(str(path))
    return reader


def is_closed(reader: socket.socket) -> bool:
    reader.setblocking(False)
    try:
        return reader.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_readers_that_drip_starve_nobody(path: Path) -> None:
    threads = threading.active_count()
    readers = [connect(path) for _ in range(3 * endpoint.MAX_CONNECTIONS)]
    began_s = time.monotonic()
    while time.monotonic() < began_s + 1.0:
        for reader in readers:
            try:
                reader.send(b"X")
            except OSError:
                continue
        assert "answer 42.0" in scrape(path)
    assert threading.active_count() == threads
    wait_until(lambda: all(is_closed(reader) for reader in readers), what="the end of those that drip")
    for reader in readers:
        reader.close()


def test_a_reader_that_takes_nothing_is_let_go(path: Path, registry: CollectorRegistry) -> None:
    Gauge("long", "A page that does not fit a socket's buffer. " * 20_000, registry=registry)
    with connect(path) as reader:
        reader.send(b"GET /metrics HTTP/1.1\r\n\r\n")
        reader.settimeout(20)
        time.sleep(3 * endpoint.REQUEST_TIMEOUT_S)
        received = b""
        while more := reader.recv(65536):
            received += more
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert len(received) < 500_000, "the rest was not sent"


def test_a_request_that_is_too_long_is_no_request(path: Path) -> None:
    with connect(path) as reader:
        reader.sendall(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 2000)
        wait_until(lambda: is_closed(reader), what="the end of the connection")
    assert ask_metrics(path, "POST")[0] == 405


def test_a_header_that_nobody_understands_is_answered(registry: CollectorRegistry) -> None:
    page = answer(b"GET / HTTP/1.1\r\nAccept: application/openmetrics-text; version=1.0.0", registry)
    assert b"openmetrics-text" in page
    assert page.endswith(b"# EOF\n")
    assert answer(b"GET / HTTP/1.1\r\nAccept: \xff;;=,;\r\n:", registry).startswith(b"HTTP/1.1 200 OK")


def test_only_a_socket_that_nobody_serves_is_replaced(tmp_path: Path, registry: CollectorRegistry) -> None:
    precious = tmp_path / "gaitd.toml"
    precious.write_text("precious")
    with pytest.raises(InputError, match=r"gaitd\.toml is there and no socket; name a path that is free"):
        serve_metrics(Metrics(address=str(precious)), registry)
    link = tmp_path / "link"
    link.symlink_to(precious)
    with pytest.raises(InputError, match="is there and no socket"):
        serve_metrics(Metrics(address=str(link)), registry)
    assert precious.read_text() == "precious"
    served = tmp_path / "served"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(served))
        other.listen()
        with pytest.raises(InputError, match=r"another program serves at .*served; name a path that is free"):
            serve_metrics(Metrics(address=str(served)), registry)
    serve_metrics(Metrics(address=str(served)), registry)
    assert "answer 42.0" in scrape(served)
