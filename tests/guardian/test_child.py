"""Child processes: started by a process of their own, and restarted as their rows of the table say."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gaitd.errors import CrashLoopError
from gaitd.guardian import child as child_module
from gaitd.guardian.child import UNREAPED_NS, Child
from gaitd.guardian.children import Children
from gaitd.guardian.spawner_process import SpawnerProcess
from gaitd.shared.processes import TELEMETRY, WORKER

ROW = replace(
    WORKER, entry="this", max_deaths_in_a_row=4, first_backoff_ns=100, max_backoff_ns=300, stable_ns=50
)
"""A module of Python that ends at once."""
SLEEPER = replace(TELEMETRY, entry="support.sleeper")
"""Reports its descriptors, then sleeps for ever."""


def spawner_of(*children: Child) -> Iterator[SpawnerProcess]:
    spawner = SpawnerProcess({child.name: child.command for child in children})
    yield spawner
    spawner.close()


@pytest.fixture
def child() -> Child:
    return Child(ROW, str, [])


@pytest.fixture
def spawner(child: Child) -> Iterator[SpawnerProcess]:
    yield from spawner_of(child)


@pytest.fixture
def sleeper() -> Child:
    return Child(SLEEPER, str, [])


@pytest.fixture
def nursery(sleeper: Child) -> Iterator[SpawnerProcess]:
    yield from spawner_of(sleeper)


def hear_until(
    condition: Callable[[], object], child: Child, spawner: SpawnerProcess, what: str, now_ns: int = 0
) -> None:
    until_s = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < until_s, what
        for news in spawner.news():
            child.hear(news, now_ns)
        time.sleep(0.002)


def a_death(
    child: Child, spawner: SpawnerProcess, started_ns: int, died_ns: int, ready_ns: int | None = None
) -> None:
    child.start(spawner, started_ns)
    if ready_ns is not None:
        child.note_ready(ready_ns)
    ends: list[str] = []

    def ended() -> bool:
        how = child.reap(died_ns)
        ends.extend([] if how is None else [how])
        return bool(ends)

    hear_until(ended, child, spawner, "it does not end")
    assert ends == ["worker ended with exit code 0"]


def report_of(child: Child, spawner: SpawnerProcess) -> bytes:
    reports: list[bytes] = []

    def reported() -> bytes:
        reports.append(child.read_report())
        return reports[-1]

    hear_until(reported, child, spawner, "a report")
    return reports[-1]


def started(child: Child, spawner: SpawnerProcess) -> int:
    child.start(spawner, time.monotonic_ns())
    hear_until(lambda: child.pid, child, spawner, "it does not start")
    return child.pid


def test_the_row_says_how_long_a_restart_waits_and_when_it_is_too_much(
    child: Child, spawner: SpawnerProcess
) -> None:
    assert not child.is_due(10**18), "nothing to restart before the first start"
    now_ns = 1000
    for death, backoff_ns in enumerate((0, 100, 200), start=1):
        a_death(child, spawner, now_ns, now_ns + 50)
        assert child.deaths_in_a_row == death
        now_ns += 50 + backoff_ns
        assert not child.is_due(now_ns - 1)
        assert child.is_due(now_ns)
        child.check_crash_loop("one of few")
    a_death(child, spawner, now_ns, now_ns + 50)
    with pytest.raises(CrashLoopError, match="the worker died 4 times in a row; last: the last one"):
        child.check_crash_loop("the last one")
    a_death(child, spawner, now_ns, now_ns + 1_000_000)
    assert child.deaths_in_a_row == 5, "it lived long, but was never ready"
    a_death(child, spawner, now_ns + 900, now_ns + 1051, ready_ns=now_ns + 1001)
    assert child.deaths_in_a_row == 6, "it was ready for a moment"
    a_death(child, spawner, now_ns + 900, now_ns + 1051, ready_ns=now_ns + 1000)
    assert child.deaths_in_a_row == 1, "it was stable"
    assert child.is_due(now_ns + 1051)
    child.check_crash_loop("the first of another row")


def test_a_death_is_seen_before_anybody_can_say_how(sleeper: Child, nursery: SpawnerProcess) -> None:
    pid = started(sleeper, nursery)
    os.kill(_parent_of(pid), signal.SIGSTOP)
    sleeper.send(signal.SIGKILL)
    hear_until(sleeper.has_died, sleeper, nursery, "its death")
    assert sleeper.reap(0) is None
    os.kill(nursery_pid := _parent_of(pid), signal.SIGCONT)
    assert nursery_pid != os.getpid()
    hear_until(lambda: sleeper.reap(0) == "telemetry killed by SIGKILL", sleeper, nursery, "how it died")


def test_a_spawner_that_never_says_how_a_process_died_is_overdue(
    sleeper: Child, nursery: SpawnerProcess
) -> None:
    pid = started(sleeper, nursery)
    os.kill(spawner_pid := _parent_of(pid), signal.SIGSTOP)
    sleeper.send(signal.SIGKILL)
    hear_until(sleeper.has_died, sleeper, nursery, "its death")
    assert sleeper.reap(1000) is None
    assert sleeper.reap(1100) is None
    assert not sleeper.is_overdue(1100, 100)
    assert sleeper.is_overdue(1101, 100)
    os.kill(spawner_pid, signal.SIGCONT)
    hear_until(lambda: sleeper.reap(1200), sleeper, nursery, "how it died")
    assert not sleeper.is_overdue(10_000, 100)


def test_a_dead_process_that_nobody_reaps_is_logged_once(
    sleeper: Child, nursery: SpawnerProcess, caplog: pytest.LogCaptureFixture
) -> None:
    pid = started(sleeper, nursery)
    os.kill(spawner_pid := _parent_of(pid), signal.SIGSTOP)
    sleeper.send(signal.SIGKILL)
    hear_until(sleeper.has_died, sleeper, nursery, "its death")
    for now_ns in (1, 1 + UNREAPED_NS, 2 + UNREAPED_NS, 3 + UNREAPED_NS):
        assert sleeper.reap(now_ns) is None
        assert len(caplog.records) == (now_ns > 1 + UNREAPED_NS)
    assert f"dead and not restarted: process {pid} cannot be reaped" in caplog.text
    os.kill(spawner_pid, signal.SIGCONT)
    hear_until(lambda: sleeper.reap(0), sleeper, nursery, "how it died")


def test_whoever_asks_for_a_process_does_not_wait_for_it(sleeper: Child, nursery: SpawnerProcess) -> None:
    """As when the disk of the interpreter takes its time."""
    pid = started(sleeper, nursery)
    spawner_pid = _parent_of(pid)
    sleeper.send(signal.SIGKILL)
    hear_until(lambda: sleeper.reap(0), sleeper, nursery, "its end")
    os.kill(spawner_pid, signal.SIGSTOP)
    begin_s = time.monotonic()
    sleeper.start(nursery, time.monotonic_ns())
    assert nursery.news() == []
    assert time.monotonic() - begin_s < 0.1
    assert (sleeper.pid, sleeper.has_died()) == (0, False)
    os.kill(spawner_pid, signal.SIGCONT)
    hear_until(lambda: sleeper.pid, sleeper, nursery, "the process")


def test_a_process_gets_its_own_descriptors_and_no_others(sleeper: Child) -> None:
    mine, others = os.pipe()
    neighbour = Child(ROW, str, [others])
    for nursery in spawner_of(sleeper, neighbour):
        started(sleeper, nursery)
        assert json.loads(report_of(sleeper, nursery)) == [0, 1, 2, sleeper.command[1][0]]
    os.close(mine)
    os.close(others)


def test_without_the_spawner_there_is_no_gaitd(sleeper: Child, nursery: SpawnerProcess) -> None:
    pid = started(sleeper, nursery)
    assert report_of(sleeper, nursery)
    os.kill(_parent_of(pid), signal.SIGKILL)
    with pytest.raises(CrashLoopError, match="the process that starts the others has ended"):
        hear_until(lambda: False, sleeper, nursery, "the end")
    hear_until(sleeper.has_died, sleeper, _Silent(), "the end of what it had started")


def test_what_was_started_ends_with_the_guardian(sleeper: Child, nursery: SpawnerProcess) -> None:
    started(sleeper, nursery)
    nursery.close()
    hear_until(sleeper.has_died, sleeper, _Silent(), "its end")


class _Silent:
    """A spawner of which nothing is heard."""

    def news(self) -> list[object]:
        return []


def _parent_of(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[1])


def test_the_robots_worker_is_restarted_at_once_and_then_ever_later() -> None:
    delays_s = [WORKER.backoff_ns(deaths) / 1e9 for deaths in range(1, 9)]
    assert delays_s == [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert TELEMETRY.backoff_ns(10**6) == TELEMETRY.max_backoff_ns
    assert WORKER.max_deaths_in_a_row == 10
    assert TELEMETRY.max_deaths_in_a_row is None


def test_a_process_that_reports_nothing_works_from_its_start() -> None:
    child = Child(replace(ROW, reports=False), str, [])
    for spawner in spawner_of(child):
        a_death(child, spawner, 1000, 1051)
        a_death(child, spawner, 2000, 2051)
    assert child.deaths_in_a_row == 1


def test_a_process_of_other_code_is_not_started_again() -> None:
    child = Child(replace(ROW, entry="support.of_other_code"), str, [])
    for spawner in spawner_of(child):
        child.start(spawner, 1000)
        hear_until(child.has_died, child, spawner, "its end")
        hear_until(lambda: child.reap(1051), child, spawner, "how it ended")
    assert child.replaced
    assert not child.is_due(10**18)


def test_the_end_takes_its_time_and_nobody_is_blamed(
    sleeper: Child, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that ends late, while others were gone at once: no debugger held any of them."""
    monkeypatch.setattr(logging.getLogger("gaitd"), "propagate", True)
    monkeypatch.setattr(child_module, "UNREAPED_NS", 50_000_000)
    quick = Child(replace(SLEEPER, name="quick"), str, [])
    children = Children([sleeper, quick], select.epoll())
    for each in (sleeper, quick):
        children.start(each, time.monotonic_ns())
    until_s = time.monotonic() + 20.0
    while not (sleeper.pid and quick.pid and sleeper.read_report()):
        assert time.monotonic() < until_s, "they do not start"
        children.hear_news(time.monotonic_ns())
    monkeypatch.setattr(sleeper, "grace_s", 0.3)
    os.kill(sleeper.pid, signal.SIGSTOP)
    children.end()
    assert (sleeper.pid, quick.pid) == (0, 0)
    assert caplog.text == ""
