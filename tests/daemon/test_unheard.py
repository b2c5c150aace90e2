"""A guardian that nobody can reach any more stops what nobody could stop through it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaitd.ctl.rehearse.threads import IO_THREAD, paused_thread, thread_named
from gaitd.errors import GaitdError
from gaitd.wire.generated import Mode, Reason
from gaitforge.faults.peers import path_of
from support.controller import Controller
from support.daemon import PATIENT, Gaitd, wait_until

FEED_S = 0.1
"""How often this gaitd's watchdog wants to be fed."""


@pytest.fixture
def daemon(small_bundle_path: Path) -> Iterator[Gaitd]:
    with Gaitd(small_bundle_path, config=PATIENT) as gaitd:
        yield gaitd.wait_ready()


@pytest.fixture
def walker(daemon: Gaitd) -> Controller:
    controller = daemon.controller(name="walker")
    controller.activate()
    wait_until(lambda: any(controller.walk(3)), what="the first command")
    return controller


def walks(controller: Controller) -> bool:
    answers = controller.walk(5)
    return any(answer is not None and answer.mode is Mode.ACTIVE for answer in answers)


def is_fed(daemon: Gaitd) -> bool:
    """Within ten times the interval."""
    before = daemon.read_notified().count("WATCHDOG=1")
    time.sleep(10 * FEED_S)
    return daemon.read_notified().count("WATCHDOG=1") > before


def test_while_its_messages_stand_still_nothing_walks_and_nothing_feeds_the_watchdog(
    daemon: Gaitd, walker: Controller
) -> None:
    try:
        with paused_thread(thread_named(daemon.process.pid, IO_THREAD)):
            wait_until(lambda: not walks(walker), what="the end of the commands")
            assert not is_fed(daemon)
            assert not walks(walker)
    except GaitdError as error:
        pytest.skip(f"a debugger may not stop a thread here: {error}")
    command = walker.wait_for(Mode.DAMPING)
    assert (command.reason, command.session) == (Reason.CLIENT_DEADLINE, walker.session)
    assert "nothing has got through the guardian's own sockets" in daemon.status()["detail"]
    assert is_fed(daemon)
    walker.activate()
    wait_until(lambda: walks(walker), what="the next session's commands")


def test_without_the_file_of_its_socket_it_says_damping(daemon: Gaitd, walker: Controller) -> None:
    """Whoever made another one there would answer in its place."""
    Path(path_of(daemon.runtime_dir, "control")).unlink()

    def damped() -> bool:
        walker.step()
        command = walker.receive(walker.period_s)
        return command is not None and command.mode is Mode.DAMPING

    wait_until(damped, what="damping")
    assert not is_fed(daemon)


def test_it_ends_though_its_messages_stand_still(daemon: Gaitd) -> None:
    try:
        with paused_thread(thread_named(daemon.process.pid, IO_THREAD)):
            time.sleep(20 * 12 * 5 / 1000)
            daemon.process.terminate()
            # Its main thread is gone; the one that is stopped is the debugger's to let go.
            wait_until(lambda: is_over(daemon.process.pid), what="the end")
    except GaitdError as error:
        pytest.skip(f"a debugger may not stop a thread here: {error}")
    assert daemon.process.wait(5) == 0


def is_over(pid: int) -> bool:
    return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
