"""How a child ended is said for every way to end: nothing in it may end the guardian."""

from __future__ import annotations

import signal

from gaitd.guardian.child import how_it_ended


def test_every_end_is_said() -> None:
    assert how_it_ended("worker", 7) == "worker ended with exit code 7"
    assert how_it_ended("worker", -signal.SIGSEGV) == "worker killed by SIGSEGV"
    assert (
        how_it_ended("telemetry", -(signal.SIGRTMIN + 2))
        == f"telemetry killed by signal {signal.SIGRTMIN + 2}"
    )
    for number in range(1, signal.NSIG):
        assert "worker killed by" in how_it_ended("worker", -number)
