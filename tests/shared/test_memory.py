"""Memory files: what one process writes, another reads whole or not at all, and cannot overwrite."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from gaitd.errors import ReplacedError
from gaitd.shared import memory
from gaitd.shared.guard_memory import GuardMemory, SessionSetup
from gaitd.shared.launch import TelemetryLaunch, WorkerLaunch, read_launch
from gaitd.shared.memory import read_only
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.wire.causes import Cause
from gaitd.wire.generated import CauseKind, Reason
from support.findings import found
from support.mounts import small_file_system


def guard_pair(joints: int = 3) -> tuple[GuardMemory, GuardMemory]:
    """The guardian's memory as its owner and as a reader."""
    owner = GuardMemory.create(joints)
    return owner, GuardMemory(read_only(owner.fd), writable=False)


def worker_pair(joints: int = 3) -> tuple[WorkerMemory, WorkerMemory]:
    """A worker's memory as its owner and as the guardian, which made it."""
    reader = WorkerMemory.create(joints)
    return WorkerMemory(reader.fd, writable=True), reader


def setup(session: int, order: list[int] | None = None, *, raw: bool = False) -> SessionSetup:
    return SessionSetup(session, session + 7, 0, raw, np.array(order or [2, 0, 1], np.intp))


def test_words_are_shared() -> None:
    guard, guard_reader = guard_pair()
    guard.lease = 2**64 - 1
    guard.words.row("damping_by_reason")[Reason.OPERATOR] += 3
    assert guard_reader.lease == 2**64 - 1
    counts = list(guard_reader.words.row("damping_by_reason"))
    assert counts == [3 if reason == Reason.OPERATOR else 0 for reason in Reason]
    worker, worker_reader = worker_pair()
    worker.words["steps"] += 7
    assert worker_reader.words["steps"] == 7
    assert worker_reader.words["received"] == 0


def test_only_its_own_user_may_open_it_once_more() -> None:
    """A read-only descriptor that somebody else was given stays that."""
    for fd in (GuardMemory.create(3).fd, WorkerMemory.create(3).fd):
        assert os.fstat(fd).st_mode & 0o777 == 0o600


def test_counters_outlive_a_worker() -> None:
    worker, reader = worker_pair()
    worker.words["steps"] = 5
    assert WorkerMemory(reader.fd, writable=True).words["steps"] == 5


def test_a_session_comes_across() -> None:
    guard, reader = guard_pair()
    assert reader.read_session() is None
    guard.write_session(setup(5, raw=True))
    got = reader.read_session()
    assert got is not None
    assert (got.session, got.epoch, got.slot, got.raw) == (5, 12, 0, True)
    np.testing.assert_array_equal(got.policy_from_controller, [2, 0, 1])


def test_a_session_is_read_whole_or_not_at_all() -> None:
    """While another thread writes, no reader ever sees one session's number with another's order."""
    guard, reader = guard_pair(64)
    orders = [list(range(64)), list(reversed(range(64)))]
    done = threading.Event()

    def write() -> None:
        session = 0
        while not done.is_set():
            session += 1
            guard.write_session(setup(session, orders[session % 2]))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen: set[int] = set()
        for _ in range(1_000_000):
            got = reader.read_session()
            if got is not None:
                seen.add(got.session)
                np.testing.assert_array_equal(got.policy_from_controller, orders[got.session % 2])
            if len(seen) >= 20:
                break
        assert len(seen) >= 20
    finally:
        done.set()
        writer.join()


def test_a_finding_comes_across_with_its_numbers_and_text() -> None:
    worker, reader = worker_pair()
    assert reader.refusal.read() is None
    first = found(10, CauseKind.OUT_OF_RANGE)
    worker.refusal.write(first)
    assert reader.refusal.read() == first
    cause = Cause(CauseKind.VELOCITY_OUT_OF_RANGE, 2, 31.5, 30.0)
    second = type(first)(20, 9, cause, "rknn_run failed: -2 \u00e9" + "x" * 300)
    worker.refusal.write(second)
    got = reader.refusal.read()
    assert got is not None
    assert (got.at_ns, got.epoch, got.cause) == (20, 9, cause)
    assert second.text.startswith(got.text)
    assert len(got.text) > 200
    assert reader.trip.read() is None


def test_a_finding_in_the_making_is_read_when_it_is_whole() -> None:
    """The count is seen before the block: the old finding stays, and the new one is not lost."""
    worker, reader = worker_pair()
    worker.refusal.write(found(10, CauseKind.OLD))
    assert reader.refusal.read() is not None
    block = worker.refusal._block._stored
    before = block.copy()
    worker.refusal.write(found(20, CauseKind.FROZEN))
    after = block.copy()
    block[:] = before
    got = reader.refusal.read()
    assert got is not None
    assert got.at_ns == 10
    block[:] = after
    got = reader.refusal.read()
    assert got is not None
    assert got.at_ns == 20


WRITER = """
import ctypes, sys
from gaitd.shared.guard_memory import GuardMemory
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.errors import ReplacedError
from gaitd.shared import memory
kind, fd, how = sys.argv[1], int(sys.argv[2]), sys.argv[3]
if how == "python":
    name = {"guard": "mode", "worker": "steps"}[kind]
    {"guard": GuardMemory, "worker": WorkerMemory}[kind](fd, writable=False).words[name] = 1
elif how == "map":
    memory.map_memory(fd, writable=True)
elif how == "pwrite":
    import os
    os.pwrite(fd, b"x", 128)
else:
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
    address = libc.mmap(None, 4096, 1, 1, fd, 0)  # PROT_READ, MAP_SHARED, as map_memory does
    ctypes.memset(address + 64, 1, 8)
print("written")
"""


@pytest.mark.parametrize("how", ["python", "map", "pwrite", "wild pointer"])
@pytest.mark.parametrize("kind", ["guard", "worker"])
def test_a_write_from_the_wrong_process_fails_or_dies(kind: str, how: str) -> None:
    """With the descriptors that the children get. A wild pointer is the MMU's business: SIGSEGV."""
    owner = GuardMemory.create(3) if kind == "guard" else WorkerMemory.create(3)
    before = os.pread(owner.fd, os.fstat(owner.fd).st_size, 0)
    fd = read_only(owner.fd)
    command = [sys.executable, "-c", WRITER, kind, str(fd), how]
    done = subprocess.run(command, pass_fds=[fd], capture_output=True, text=True, check=False)
    assert "written" not in done.stdout
    assert done.returncode == (-signal.SIGSEGV if how == "wild pointer" else 1)
    assert os.pread(owner.fd, len(before), 0) == before


def test_the_control_without_protection_is_written() -> None:
    """The wild pointer hits where the mapping is writable: the test above tests something."""
    owner, reader = worker_pair()
    mapped = memory.map_memory(owner.fd, writable=True)
    first = ctypes.c_char.from_buffer(mapped)
    ctypes.memset(ctypes.addressof(first) + memory.HEAD_BYTES, 1, 8)
    assert reader.words["heartbeat_ns"] == 0x0101010101010101


def test_nobody_else_ever_maps_the_guardians_memory_writable() -> None:
    """Not even through the guardian's own descriptor."""
    guard = GuardMemory.create(3)
    with pytest.raises(PermissionError):
        memory.map_memory(guard.fd, writable=True)
    guard.lease = 5
    assert GuardMemory(guard.fd, writable=False).lease == 5


@pytest.mark.parametrize("made", [GuardMemory, WorkerMemory])
def test_nobody_can_shrink_it(made: type[GuardMemory] | type[WorkerMemory]) -> None:
    """A mapping whose file was cut kills whoever touches it next."""
    with pytest.raises(PermissionError):
        os.ftruncate(made.create(3).fd, 0)


def test_memory_of_another_kind_or_version_is_refused() -> None:
    """Code that was replaced under a running guardian must not read its memory."""
    with pytest.raises(ReplacedError, match="gaitd, which was replaced while it ran; restart gaitd"):
        WorkerMemory(GuardMemory.create(3).fd, writable=False)
    other = memory.create_memory("other", 4096, memory.make_head("another layout", 3))
    with pytest.raises(ReplacedError, match="gaitd, which was replaced while it ran; restart gaitd"):
        GuardMemory(other, writable=False)
    os.close(other)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM])
def test_a_kernel_without_memfd_gets_a_file_without_a_name(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "memfd_create", refuse)
    owner, reader = worker_pair()
    owner.words["steps"] += 7
    assert reader.words["steps"] == 7
    assert WorkerMemory(read_only(owner.fd), writable=False).words["steps"] == 7
    assert os.fstat(owner.fd).st_nlink == 0


def test_no_room_for_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        WorkerMemory.create(3)


def test_a_full_file_system_is_said_at_the_start_and_kills_nobody_later(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where there is no memfd, the memory is a file below /dev/shm, which may be full."""

    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    with small_file_system(tmp_path, "64k") as small:
        monkeypatch.setattr(os, "memfd_create", refuse)
        monkeypatch.setattr(memory, "_SHARED_MEMORY_DIR", str(small))
        with pytest.raises(OSError, match="No space left on device"):
            WorkerMemory.create(12)


def test_an_argument_of_other_code_is_refused() -> None:
    """A newer gaitd on the disk is started by an older one that runs."""
    with pytest.raises(ReplacedError, match=r"gaitd was replaced while it ran \(.*bundle.*\); restart gaitd"):
        read_launch('{"policy": "of yesterday"}', WorkerLaunch)
    with pytest.raises(ReplacedError):
        read_launch("--bundle", TelemetryLaunch)
