"""Faults of the shared memory: what a debugger, a wild pointer or another process of root could do to it."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable
from pathlib import Path

from gaitd.errors import GaitdError
from gaitd.shared.memory import HEAD_BYTES
from gaitforge.faults import shared_memory
from gaitforge.faults.rig import Rig
from gaitforge.faults.telemetry import WILD_WRITES

FAR_FUTURE_NS = 2**62


def truncate(rig: Rig) -> None:
    """Truncate both files; the seals must refuse that."""
    for name in (shared_memory.GUARD_FILE, shared_memory.WORKER_FILE):
        with shared_memory.open_memory_file(rig.pid("gaitd"), name, os.O_RDWR) as fd:
            try:
                os.ftruncate(fd, 64)
            except PermissionError:
                continue
            raise GaitdError(f"{name} could be truncated")


def wild_write(process: str, name: str) -> Callable[[Rig], None]:
    """Have guardian or telemetry write into a memory file that it may only read; it must die of SIGSEGV."""

    def inject(rig: Rig) -> None:
        words = f"{process} killed by SIGSEGV"
        before = rig.logged(words)
        pid = rig.pid_of(process)
        rig.wait(lambda _: _can_write(pid, name), f"{process} that is started")
        os.kill(pid, WILD_WRITES[name])
        if process != "gaitd":
            rig.wait_logged(words, before + 1)
        elif (code := rig.chain.wait_end(process)) != -signal.SIGSEGV:
            raise GaitdError(f"the guardian ended with exit code {code}")

    return inject


def _can_write(pid: int, name: str) -> bool:
    """Whether it has a handler for that signal, of which it would die otherwise, and has mapped the file."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    catches = bool(int(fields["SigCgt"], 16) >> (WILD_WRITES[name] - 1) & 1)
    return catches and shared_memory.has_mapped(pid, name)


def expect_unsent(rig: Rig) -> None:
    """The newest record of the session is there and not called sent; those before it are."""
    with shared_memory.open_worker_memory(rig.pid("gaitd")) as memory:
        records, _ = memory.steps.read_since(0, unsettled=True)
    sent = (records["sent_ns"] != 0)[records["session"] == rig.known["session"]]
    if not sent.size or sent[-1] or not sent[:-1].all():
        raise GaitdError(f"{len(sent)} records of the session, of which not just the newest is called unsent")


def far_future(rig: Rig) -> None:
    """Stop the worker, and set its stamps a hundred years into the future."""
    rig.signal("worker", signal.SIGSTOP)
    with shared_memory.open_worker_memory(rig.pid("gaitd"), writable=True) as memory:
        for name in ("heartbeat_ns", "last_command_ns", "last_state_ns"):
            memory.words[name] = FAR_FUTURE_NS


def scramble_guard(rig: Rig) -> None:
    """Overwrite the guardian's memory with random bits, once."""
    with shared_memory.open_guard_memory(rig.pid("gaitd")) as memory:
        size = os.fstat(memory.fd).st_size - HEAD_BYTES
    shared_memory.overwrite_guard_memory(rig.pid("gaitd"), secrets.token_bytes(size))


def scramble_worker(rig: Rig) -> None:
    """Overwrite the worker's memory with random bits, once."""
    with shared_memory.open_memory_file(rig.pid("gaitd"), shared_memory.WORKER_FILE, os.O_RDWR) as fd:
        os.pwrite(fd, secrets.token_bytes(os.fstat(fd).st_size - HEAD_BYTES), HEAD_BYTES)
