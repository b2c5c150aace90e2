"""Each child process is restarted as its row of the table says."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from gaitd.errors import CrashLoopError
from gaitd.guardian.child import Child
from gaitd.shared.processes import TELEMETRY, WORKER

ROW = replace(
    WORKER, entry="this", max_deaths_in_a_row=4, first_backoff_ns=100, max_backoff_ns=300, stable_ns=50
)
"""A module of Python that ends at once."""


def a_death(child: Child, started_ns: int, died_ns: int) -> None:
    child.start(started_ns)
    until_s = time.monotonic() + 10.0
    while not child.has_died():
        assert time.monotonic() < until_s, "it does not end"
        time.sleep(0.002)
    assert child.reap(died_ns) == "worker ended with exit code 0"


def test_the_row_says_how_long_a_restart_waits_and_when_it_is_too_much() -> None:
    child = Child(ROW, str, [])
    assert not child.is_due(10**18), "nothing to restart before the first start"
    now_ns = 1000
    for death, backoff_ns in enumerate((0, 200, 300), start=1):
        a_death(child, now_ns, now_ns + 50)
        assert child.deaths_in_a_row == death
        now_ns += 50 + backoff_ns
        assert not child.is_due(now_ns - 1)
        assert child.is_due(now_ns)
        child.check_crash_loop("one of few")
    a_death(child, now_ns, now_ns + 50)
    with pytest.raises(CrashLoopError, match="the worker died 4 times in a row; last: the last one"):
        child.check_crash_loop("the last one")
    a_death(child, now_ns + 1000, now_ns + 1051)
    assert child.deaths_in_a_row == 1, "it was stable"
    assert child.is_due(now_ns + 1051)
    child.check_crash_loop("the first of another row")


def test_the_robots_worker_is_restarted_at_once_and_then_ever_later() -> None:
    delays_s = [WORKER.backoff_ns(deaths) / 1e9 for deaths in range(1, 9)]
    assert delays_s == [0.0, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]
    assert WORKER.max_deaths_in_a_row == 10
    assert TELEMETRY.max_deaths_in_a_row is None
