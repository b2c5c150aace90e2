"""When the worker goes through a step in advance: only where that cannot make the real one late."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import pytest
import zmq

from gaitd.guardian.lanes import Lanes
from gaitd.shared.guard_memory import GuardMemory
from gaitd.worker.inbox import Inbox
from gaitd.worker.lanes import Lanes as WorkerLanes
from gaitd.worker.step import Frame
from support.lane_client import LaneClient

PERIOD_NS = 40_000_000
ANTICIPATE_NS = 10_000_000


@pytest.fixture
def socket() -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.SUB) as made:
        made.bind("inproc://states")
        yield made


@pytest.fixture
def lane() -> Iterator[tuple[WorkerLanes, LaneClient]]:
    """A worker's end of shared memory and a client's."""
    guard = GuardMemory.create(12)
    with tempfile.TemporaryDirectory(prefix="gaitd-") as directory:
        lanes = Lanes(Path(directory), 256, [0], guard)
        worker, client = WorkerLanes(lanes.launch(0), guard), LaneClient(Path(directory))
        lanes.serve()
        client.take()
        yield worker, client
        client.close()
        lanes.close()


def test_it_waits_for_socket_and_shared_memory_and_takes_what_both_have(
    socket: zmq.Socket[bytes], lane: tuple[WorkerLanes, LaneClient]
) -> None:
    worker, client = lane
    inbox = Inbox(socket, 60_000_000_000, 0, lambda frame: None, worker)
    publisher = socket.context.socket(zmq.PUB)
    publisher.connect("inproc://states")
    Timer(0.05, client.send, [b"through memory"]).start()
    assert [frame.data for frame in inbox.receive()] == [b"through memory"]
    Timer(0.05, publisher.send, [b"through the socket"]).start()
    received: list[bytes] = []
    while not received:  # the connection itself may end the wait
        received = [frame.data for frame in inbox.receive()]
    assert received == [b"through the socket"]
    client.states.append(b"first")
    client.send(b"second")
    publisher.send(b"third")
    while len(received) < 4:
        received += [frame.data for frame in inbox.receive()]
    assert received[1:] == [b"first", b"second", b"third"]
    publisher.close(linger=0)


def test_a_standbys_wait_ends_with_a_state_in_memory_or_with_its_own_eventfd(
    socket: zmq.Socket[bytes], lane: tuple[WorkerLanes, LaneClient]
) -> None:
    worker, client = lane
    inbox = Inbox(socket, PERIOD_NS, 0, lambda frame: None, worker)
    own = os.eventfd(0, os.EFD_NONBLOCK)
    far_ns = time.monotonic_ns() + 60_000_000_000
    Timer(0.05, client.send, [b"state"]).start()
    assert [frame.data for frame in inbox.receive_until(far_ns, own)] == [b"state"]
    Timer(0.05, os.eventfd_write, [own, 1]).start()
    assert inbox.receive_until(far_ns, own) == []
    assert inbox.receive_until(time.monotonic_ns() + 1_000_000, own) == []
    os.close(own)


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
