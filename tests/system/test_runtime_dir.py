"""The runtime directory: whose it must be, and who has it."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from pathlib import Path

import pytest

from gaitd.errors import InputError, ResourceError
from gaitd.system import runtime_dir
from gaitd.system.runtime_dir import check_runtime_dir, claim_runtime_dir, is_claimed


def test_one_gaitd_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_dir, "CLAIM_WAIT_S", 0.05)
    directory = tmp_path / "deep" / "run"
    assert not is_claimed(directory)
    fd = claim_runtime_dir(directory)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o750
    assert stat.S_IMODE((directory / "lock").stat().st_mode) == 0o600
    assert is_claimed(directory)
    with pytest.raises(ResourceError, match=rf"another gaitd runs here \(pid {os.getpid()}\)"):
        claim_runtime_dir(directory)
    os.close(fd)
    assert not is_claimed(directory)
    os.close(claim_runtime_dir(directory))


def test_a_look_at_the_lock_does_not_keep_gaitd_from_starting(tmp_path: Path) -> None:
    """Looking takes the lock for a moment."""
    os.close(claim_runtime_dir(tmp_path / "run"))
    with (tmp_path / "run" / "lock").open("rb") as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        letting_go = threading.Timer(0.1, lambda: fcntl.flock(look, fcntl.LOCK_UN))
        letting_go.start()
        os.close(claim_runtime_dir(tmp_path / "run"))
        letting_go.join()


@pytest.mark.parametrize("mode", [0o770, 0o757, 0o1777])
def test_where_others_may_write_their_sockets_could_stand_in(tmp_path: Path, mode: int) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(InputError, match=rf"run: mode {mode:o}, others may write in it; chmod 750 it"):
        claim_runtime_dir(directory)
    assert list(directory.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a directory away: sudo make test")
def test_a_directory_of_another_user(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    os.chown(directory, 65534, 65534)
    with pytest.raises(InputError, match=r"run: belongs to user 65534, gaitd runs as 0"):
        claim_runtime_dir(directory)


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_a_lock_that_is_no_file(tmp_path: Path, kind: str) -> None:
    """Through a link, the file of somebody else would be emptied."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    directory = tmp_path / "run"
    directory.mkdir()
    lock = directory / "lock"
    if kind == "link":
        lock.symlink_to(victim)
    elif kind == "pipe":
        os.mkfifo(lock)
    else:
        lock.mkdir()
    with pytest.raises(InputError, match="lock: not a file; delete it"):
        claim_runtime_dir(directory)
    assert victim.read_text() == "precious"


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match=r"run: File exists; set daemon\.runtime_dir"):
        claim_runtime_dir(tmp_path / "run")


@pytest.mark.parametrize("name", ["p" * 200, "步" * 40])
def test_a_path_that_no_socket_may_have(name: str) -> None:
    with pytest.raises(InputError, match=r"runtime directory: .* a Unix socket may have 107; take a shorter"):
        check_runtime_dir(Path("/") / name)


def test_the_longest_path(tmp_path: Path) -> None:
    check_runtime_dir(Path("/") / ("p" * (107 - len("/command.sock") - 1)))
    with pytest.raises(InputError):
        check_runtime_dir(Path("/") / ("p" * (107 - len("/command.sock"))))


def test_the_group_gets_in_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        os.close(claim_runtime_dir(tmp_path / "run"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o750


def test_no_socket_without_a_file() -> None:
    """A name that begins with @ has no owner and no mode: every user of the machine may connect."""
    with pytest.raises(InputError, match=r"runtime directory: @gaitd/command\.sock names no file"):
        check_runtime_dir(Path("@gaitd"))
