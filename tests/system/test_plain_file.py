"""What is given as a file and is none: refused at once, by everything that reads files on a robot."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gaitd.bundle.read import open_bundle
from gaitd.bundle.store import PolicyStore
from gaitd.ctl.report import read_report
from gaitd.errors import InputError, ResourceError
from gaitd.system import plain_file
from gaitd.system.config_files import load_config
from gaitd.system.keys import read_public_keys, read_secret_key
from gaitd.system.plain_file import is_there, read_plain
from gaitd.telemetry.recording import read_recording
from support.in_time import in_time


def test_a_plain_file_is_read_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    assert read_plain(file, 5) == b"12345"
    with pytest.raises(InputError, match=r"file: 5 bytes, more than the 4 that it may have"):
        read_plain(file, 4)
    assert read_plain(Path("/dev/null"), 4) == b""
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "socket"))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name, kind in {
        "": "a directory",
        "socket": "a socket",
        "pipe": "a named pipe",
        "zero": "a device",
    }.items():
        with pytest.raises(InputError, match=f": is {kind}; a plain file is needed"):
            read_plain(tmp_path / name, 5)
    with pytest.raises(FileNotFoundError):
        read_plain(tmp_path / "gone", 5)


def test_a_file_that_says_it_is_empty_is_read_to_its_end() -> None:
    version = Path("/proc/version")
    assert version.stat().st_size == 0
    assert read_plain(version, 4096) == version.read_bytes() != b""
    size = len(version.read_bytes())
    assert len(read_plain(version, size)) == size
    with pytest.raises(InputError, match=f"/proc/version: more than the {size - 1} bytes that it may have"):
        read_plain(version, size - 1)


@pytest.fixture
def leased(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A file under a lease as a file server takes it, and the descriptor that holds it."""
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    fd = os.open(file, os.O_RDWR)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        yield file, fd
    except OSError as error:
        pytest.skip(f"no leases on this file system: {error.strerror}")
    finally:
        os.close(fd)
        signal.signal(signal.SIGIO, before)


def test_a_lease_that_is_given_up_when_asked_for_is_waited_for(leased: tuple[Path, int]) -> None:
    file, fd = leased
    signal.signal(signal.SIGIO, lambda *_: fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK))
    assert read_plain(file, 5) == b"12345"


def test_a_lease_that_is_kept_is_named(leased: tuple[Path, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_file, "LEASE_WAIT_S", 0.1)
    with pytest.raises(ResourceError, match="file: cannot be read: another program, such as a file server"):
        load_config(leased[0])


def test_a_link_to_nothing_is_not_taken_for_no_file(tmp_path: Path) -> None:
    assert not is_there(tmp_path / "no" / "file")
    (tmp_path / "directory").mkdir()
    (tmp_path / "linked").symlink_to("directory")
    assert not is_there(tmp_path / "linked" / "file"), "the link on the way leads somewhere"
    (tmp_path / "directory" / "file").write_text("")
    assert is_there(tmp_path / "linked" / "file")
    (tmp_path / "lost").symlink_to("gone")
    for path in (tmp_path / "lost", tmp_path / "lost" / "file"):
        with pytest.raises(FileNotFoundError, match="a link to gone, where nothing is"):
            is_there(path)


def test_what_takes_its_place_before_it_is_opened_is_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, opened = tmp_path / "file", os.open
    file.write_bytes(b"12345")

    def swapped(path: Path, flags: int) -> int:
        file.unlink()
        file.symlink_to("/dev/zero")
        return opened(path, flags)

    monkeypatch.setattr(os, "open", swapped)
    with pytest.raises(InputError, match="file: is a device; a plain file is needed"):
        read_plain(file, 5)


def stored(path: Path) -> Any:
    return PolicyStore(path.parent).selection()


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("gaitd.toml", load_config),
        ("etc/gaitd/gaitd.toml", lambda path: load_config(None, path.parents[2])),
        ("etc/gaitd/gaitd.toml.d/10.toml", lambda path: load_config(None, path.parents[3])),
        ("walk.gaitd", open_bundle),
        ("walk/manifest.yaml", lambda path: open_bundle(path.parent)),
        ("selection.json", stored),
        ("gaitd-000001-fault.mcap", read_recording),
        ("gaitd-report.json", read_report),
        ("robot.key", read_secret_key),
        ("robot.pub", read_public_keys),
    ],
)
def test_a_pipe_in_the_place_of_a_file_is_named(
    tmp_path: Path, name: str, read: Callable[[Path], Any]
) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    with in_time(10), pytest.raises(InputError) as refused:
        read(path)
    assert str(refused.value) == f"{path}: is a named pipe; a plain file is needed"
