"""The worker's lifeline breaks at its death, before the process is gone; nothing blocks without it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

from gaitd.shared import lifeline

HOLDER = """
import sys, time
from gaitd.shared.lifeline import hold_lifeline, map_lifeline
hold_lifeline(map_lifeline(int(sys.argv[1])))
print("held", flush=True)
time.sleep(60 if len(sys.argv) == 2 else 0)
"""

pytestmark = pytest.mark.skipif(
    not lifeline.lifeline_works(), reason="the kernel keeps no robust locks for this process"
)


def start_holder(fd: int, *arguments: str) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(fd), *arguments],
        pass_fds=[fd],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def wait_broken(fd: int, timeout_s: float = 10.0) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def test_death_is_heard_once_for_each_of_several_workers() -> None:
    fd = lifeline.create_lifeline()
    memory = lifeline.map_lifeline(fd)
    for _ in range(3):
        broken = os.eventfd(0)
        holder = start_holder(fd)
        lifeline.watch_lifeline(memory, broken, None)
        assert not wait_broken(broken, 0.1)
        holder.send_signal(signal.SIGKILL)
        assert wait_broken(broken)
        assert int.from_bytes(os.read(broken, 8), "little") == 1
        holder.wait()
        os.close(broken)


def test_an_ordinary_end_is_a_death_too() -> None:
    fd = lifeline.create_lifeline()
    memory = lifeline.map_lifeline(fd)
    broken = os.eventfd(0)
    holder = start_holder(fd, "end at once")
    lifeline.watch_lifeline(memory, broken, None)
    assert wait_broken(broken)
    holder.wait()
    os.close(broken)
    second = start_holder(fd)
    second.kill()
    second.wait()


def test_a_death_that_nobody_watched_does_not_block_the_next_worker() -> None:
    fd = lifeline.create_lifeline()
    first = start_holder(fd)
    first.kill()
    first.wait()
    second = start_holder(fd)
    second.kill()
    second.wait()
