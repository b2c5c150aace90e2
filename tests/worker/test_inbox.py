"""When the worker goes through a step in advance: only where that cannot make the real one late."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import zmq

from gaitd.worker.inbox import Inbox
from gaitd.worker.step import Frame

PERIOD_NS = 40_000_000
ANTICIPATE_NS = 10_000_000


@pytest.fixture
def socket() -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.SUB) as made:
        made.bind("inproc://states")
        yield made


@pytest.mark.parametrize(
    ("step_ns", "anticipate_ns", "rehearsed"),
    [
        (1_000_000, ANTICIPATE_NS, True),
        (4_900_000, ANTICIPATE_NS, True),
        (13_000_000, ANTICIPATE_NS, True),
        (14_000_000, ANTICIPATE_NS, False),
        (25_000_000, 4 * ANTICIPATE_NS, False),
        (39_900_000, ANTICIPATE_NS, False),
        (60_000_000, ANTICIPATE_NS, False),
        (0, 0, False),
    ],
)
def test_a_step_is_rehearsed_only_where_a_cold_one_fits_before_the_next_is_due(
    socket: zmq.Socket[bytes], step_ns: int, anticipate_ns: int, rehearsed: bool
) -> None:
    rehearsals: list[Frame] = []
    inbox = Inbox(socket, PERIOD_NS, anticipate_ns, rehearsals.append)
    frame = Frame(b"state", time.monotonic_ns())
    inbox.expect_after(frame, step_ns)
    assert inbox.receive() == []
    assert rehearsals == ([frame] if rehearsed else [])
    assert inbox.receive() == []
    assert len(rehearsals) == int(rehearsed), "each one once"
