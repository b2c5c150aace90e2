"""Descriptors of any number are waited for, and no longer than was asked."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import time
from collections.abc import Iterator

import pytest

from gaitd.system.wait import wait_readable


@pytest.fixture
def event() -> Iterator[int]:
    """An eventfd with a number that select() refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    low = os.eventfd(0)
    fd = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 2000)
    yield fd
    os.close(fd)
    os.close(low)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_who_can_be_read_is_told_at_once(event: int) -> None:
    other, writer = os.pipe()
    assert wait_readable([other, event], 0.0) == []
    os.eventfd_write(event, 1)
    assert wait_readable([other, event], 60.0) == [event]
    os.close(writer)
    assert sorted(wait_readable([other, event], 60.0)) == sorted([other, event])
    os.close(other)


@pytest.mark.parametrize("seconds", [-1.0, 0.0003, 0.01])
def test_it_ends_with_the_time(event: int, seconds: float) -> None:
    took = []
    for _ in range(20):
        began_s = time.monotonic()
        assert wait_readable([event], seconds) == []
        took.append(time.monotonic() - began_s)
    assert min(took) >= seconds
    assert min(took) < max(0.0, seconds) + 0.0007, "a whole millisecond more"


def test_a_signal_ends_it(event: int) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: heard.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    try:
        assert wait_readable([event], 60.0) == []
    finally:
        signal.signal(signal.SIGALRM, before)
    assert heard == [signal.SIGALRM]
