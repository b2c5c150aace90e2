"""What the service manager hears, also when it is busy for a while."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaitd.guardian.systemd import ServiceManager


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    path = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.setblocking(False)
        yield listener


def heard(manager: socket.socket) -> list[str]:
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(manager.recv(4096).decode())
    return [text for text in found if text != "STATUS=of another service"]


def fill(manager: socket.socket) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.connect(manager.getsockname())
        other.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                other.send(b"STATUS=of another service")


def test_what_a_full_queue_did_not_take_is_said_again_until_it_does(manager: socket.socket) -> None:
    service = ServiceManager()
    fill(manager)
    service.say_ready()
    service.say_status("old")
    service.say_status("new")
    service.repeat()
    assert heard(manager) == []
    service.repeat()
    assert sorted(heard(manager)) == ["READY=1", "STATUS=new"]
    service.repeat()
    assert heard(manager) == [], "once is enough"


def test_a_newer_status_replaces_one_that_waits(manager: socket.socket) -> None:
    service = ServiceManager()
    fill(manager)
    service.say_status("old")
    assert heard(manager) == []
    service.say_status("new")
    service.repeat()
    assert heard(manager) == ["STATUS=new"]


def test_without_a_manager_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    service = ServiceManager()
    assert not service.is_there
    service.say_ready()
    service.repeat()
