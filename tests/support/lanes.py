"""How `make test` shares the tests out to its processes.

What runs real processes against the clock, or builds in a directory that others build in, stays in one lane,
one after another; the rest goes file by file to whoever is free.
"""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

TIMED = (
    *("cpp", "ctl", "daemon", "guardian", "quickstart", "shared", "system", "target", "telemetry", "worker"),
    *("forge/faults", "forge/stack"),
)
"""Directories of the one lane."""
UNTIMED = (
    *("cpp/test_sanitizers.py", "daemon/test_policy_as_trained.py"),
    *("target/test_package.py", "target/test_pip.py", "target/test_rknn_backend.py"),
)
"""In them, and not against the clock."""


def is_timed(nodeid: str) -> bool:
    path = nodeid.partition("::")[0]
    below = path.startswith(tuple(f"tests/{each}/" for each in TIMED))
    return below and path.removeprefix("tests/") not in UNTIMED


class Lanes(LoadScopeScheduling):  # type: ignore[misc]
    """Tests with the same scope run in the same process; the largest scope begins."""

    def _split_scope(self, nodeid: str) -> str:
        return "timed" if is_timed(nodeid) else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Lanes:
    """Asked where there is more than one process."""
    return Lanes(config, log)
