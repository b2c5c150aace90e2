"""Peers of the group that ask for more than is theirs, against a real gaitd with the default descriptors."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaitd.errors import UnreachableError
from gaitd.wire.generated import CHANNELS, Mode, Reason
from support.controller import Controller
from support.daemon import PATIENT, Gaitd, wait_until

DESCRIPTORS = 1024
"""Of a service, where nothing else is said."""
MAX_GROWTH_KB = 20 * 1024
CUT_OFF = "an answer: whoever is connected may be cut off with the peer"


def _few_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))


@pytest.fixture(scope="module")
def daemon(small_bundle_path: Path) -> Iterator[Gaitd]:
    config = PATIENT.replace("first_command_s = 5", "first_command_s = 1")
    with Gaitd(small_bundle_path, config=config, process={"preexec_fn": _few_descriptors}) as gaitd:
        yield gaitd.wait_ready()


@contextlib.contextmanager
def attack(daemon: Gaitd, kind: str, endpoint: str, count: int) -> Iterator[None]:
    command = [sys.executable, "-m", "gaitforge.faults.hogs", str(daemon.runtime_dir), kind]
    options = ["--endpoint", endpoint, "--count", str(count), "--seconds", "60"]
    with subprocess.Popen([*command, *options]) as process:
        try:
            yield
        finally:
            process.kill()


def disconnected(daemon: Gaitd, endpoint: str) -> int:
    process = "worker" if endpoint in ("state", "command") else "guardian"
    return int(daemon.metrics()[f'gaitd_peers_disconnected_total{{process="{process}"}}'])


def resident_kb(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def pids(daemon: Gaitd) -> list[int]:
    return [daemon.process.pid, daemon.wait_worker()]


@pytest.mark.parametrize("endpoint", CHANNELS)
def test_connections_beyond_the_limit_are_closed(daemon: Gaitd, endpoint: str) -> None:
    before, processes = disconnected(daemon, endpoint), pids(daemon)
    with attack(daemon, "idle", endpoint, DESCRIPTORS):
        wait_until(lambda: disconnected(daemon, endpoint) > before, 30.0, "connections closed")
        wait_until(lambda: is_idle(daemon), 20.0, CUT_OFF)
        for pid in processes:
            assert len(list(Path(f"/proc/{pid}/fd").iterdir())) < DESCRIPTORS // 2
    assert pids(daemon) == processes


@pytest.mark.parametrize(
    ("kind", "endpoint", "count"),
    [("endless", "control", 1), ("endless", "guard", 1), ("topics", "guard", 4), ("topics", "command", 4)],
)
def test_what_a_peer_may_make_gaitd_hold_is_bounded(
    daemon: Gaitd, kind: str, endpoint: str, count: int
) -> None:
    before, processes = disconnected(daemon, endpoint), pids(daemon)
    first_kb = [resident_kb(pid) for pid in processes]
    with attack(daemon, kind, endpoint, count):
        most_kb = first_kb

        def enough() -> bool:
            nonlocal most_kb
            now_kb = [resident_kb(pid) for pid in processes]
            most_kb = [max(pair) for pair in zip(most_kb, now_kb, strict=True)]
            return disconnected(daemon, endpoint) > before + 1

        wait_until(enough, 30.0, "the peer is disconnected again and again")
    wait_until(lambda: is_idle(daemon), 20.0, CUT_OFF)
    assert most_kb[0] - first_kb[0] < MAX_GROWTH_KB
    assert pids(daemon) == processes


def is_told_to_damp(controller: Controller) -> bool:
    try:
        controller.control.demand("damp", session=0, reason=int(Reason.OPERATOR))
    except UnreachableError:
        return False
    return True


def is_idle(daemon: Gaitd) -> bool:
    try:
        return bool(daemon.status()["mode"] == "idle")
    except UnreachableError:
        return False


def test_requests_that_are_too_long_or_too_many_cost_no_memory_and_damp_comes_through(daemon: Gaitd) -> None:
    first_kb = resident_kb(daemon.process.pid)
    with attack(daemon, "oversized", "control", 16), attack(daemon, "busy", "control", 100):
        listener = daemon.connect()
        wait_until(lambda: daemon.metrics()["gaitd_control_refused_total"] > 100, 30.0, "refusals")
        wait_until(lambda: is_told_to_damp(listener), 20.0, CUT_OFF)
        assert listener.wait_for(Mode.DAMPING).reason is Reason.OPERATOR
        assert resident_kb(daemon.process.pid) - first_kb < MAX_GROWTH_KB
    listener.control.demand("release", session=0)


def test_busy_peers_that_come_back_leave_no_descriptors_behind(daemon: Gaitd) -> None:
    """What a connection that was ended had sent is still to be read, and the next one is there already."""
    processes, most = pids(daemon), 0
    with attack(daemon, "busy", "control", 300):
        until_s = time.monotonic() + 3.0
        while time.monotonic() < until_s:
            most = max(most, len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir())))
            time.sleep(0.01)
    assert 128 < most < 0.9 * DESCRIPTORS
    assert pids(daemon) == processes


def test_two_sessions_without_a_delivered_command_replace_the_worker(daemon: Gaitd) -> None:
    """As when a thread of the worker stands still: its states and commands do not get through."""
    worker = daemon.wait_worker()
    controller = daemon.controller()
    for _ in range(2):
        assert daemon.worker_pid() == worker
        controller.activate()
        while (damping := controller.wait_for(Mode.DAMPING, 20.0)).session != controller.session:
            pass  # what is still under way of the session before
        assert damping.reason is Reason.STATE_LOST
    assert daemon.wait_worker(other_than=worker)
    walk_once(controller)


def walk_once(controller: Controller) -> None:
    controller.activate()
    wait_until(lambda: any(controller.walk(3)), what="a command")
    controller.control.demand("release", session=controller.session)
