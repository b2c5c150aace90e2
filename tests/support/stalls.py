"""A test against the clock that failed while the machine stood still runs again, and the last lines say so.

One that failed while this process came to run whenever it should is believed at once.
"""

from __future__ import annotations

import threading
import time

import pytest

from support.lanes import is_timed

BEAT_S = 0.01
STALL_S = 0.012
"""A control period of the tests' robots: one that is held up for so long leaves a state unanswered."""


class Pulse:
    """The longest time for which this process did not come to run."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        threading.Thread(target=self._beat, name="pulse", daemon=True).start()

    def _beat(self) -> None:
        last_s = time.monotonic()
        while True:
            time.sleep(BEAT_S)
            now_s = time.monotonic()
            self.longest_s = max(self.longest_s, now_s - last_s - BEAT_S)
            last_s = now_s

    def stalled(self) -> bool:
        return self.longest_s > STALL_S


PULSE = pytest.StashKey[Pulse]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.config.stash[PULSE].longest_s = 0.0


def pytest_configure(config: pytest.Config) -> None:
    config.stash[PULSE] = Pulse()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if is_timed(item.nodeid):
            item.add_marker(pytest.mark.flaky(reruns=2, condition=config.stash[PULSE].stalled))
