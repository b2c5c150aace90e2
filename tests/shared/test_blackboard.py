"""The shared memory: what one process writes, another reads whole or not at all."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
from gaitd.shared.blackboard import RING_RECORDS, Blackboard, SessionSetup

from gaitd.wire.contract import Reason


def pair(joints: int = 3) -> tuple[Blackboard, Blackboard]:
    """One blackboard as the guardian and as a child sees it."""
    board = Blackboard.create(joints)
    return board, Blackboard.attach(board.fd)


def setup(session: int, order: list[int] | None = None, *, raw: bool = False) -> SessionSetup:
    return SessionSetup(session, raw, np.array(order or [2, 0, 1], np.intp))


def test_words_are_shared() -> None:
    here, there = pair()
    here.guard["active_session"] = 2**64 - 1
    here.guard.row("damping_by_reason")[Reason.OPERATOR] += 3
    there.worker["steps"] += 7
    assert there.guard["active_session"] == 2**64 - 1
    assert list(there.guard.row("damping_by_reason")) == [3 if reason == 10 else 0 for reason in Reason]
    assert here.worker["steps"] == 7
    assert here.worker["received"] == 0


def test_a_session_comes_across() -> None:
    here, there = pair()
    assert there.read_session(5) is None
    here.write_session(setup(5, raw=True))
    got = there.read_session(5)
    assert got is not None
    assert (got.session, got.raw) == (5, True)
    np.testing.assert_array_equal(got.policy_from_controller, [2, 0, 1])
    assert there.read_session(6) is None


def test_a_session_is_read_whole_or_not_at_all() -> None:
    """While another thread writes, no reader ever sees one session's number with another's order."""
    here, there = pair(64)
    orders = [list(range(64)), list(reversed(range(64)))]
    done = threading.Event()

    def write() -> None:
        session = 0
        while not done.is_set():
            session += 1
            here.write_session(setup(session, orders[session % 2]))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = 0
        for session in range(1, 20_000):
            got = there.read_session(session)
            if got is not None:
                seen += 1
                np.testing.assert_array_equal(got.policy_from_controller, orders[session % 2])
            if seen >= 20:
                break
    finally:
        done.set()
        writer.join()


def append(board: Blackboard, seq: int) -> None:
    record = board.new_record()
    record["seq"], record["target"] = seq, seq
    board.append(record)


def test_records_come_in_order_and_once() -> None:
    here, there = pair()
    index = 0
    for start in (1, 4):
        for seq in range(start, start + 3):
            append(here, seq)
        records, index = there.read_since(index)
        assert records["seq"].tolist() == [start, start + 1, start + 2]
        np.testing.assert_array_equal(records["target"][0], np.full(3, start, np.float32))
    records, index = there.read_since(index)
    assert (len(records), index) == (0, 6)


def test_a_reader_that_is_too_slow_loses_the_oldest() -> None:
    here, there = pair()
    count = RING_RECORDS + 100
    for seq in range(1, count + 1):
        append(here, seq)
    records, index = there.read_since(0)
    assert index == there.steps_written == count
    assert records["seq"].tolist() == list(range(count - RING_RECORDS + 1, count + 1))


def test_a_record_that_is_not_whole_is_left_out() -> None:
    here, there = pair()
    for seq in (1, 2, 3):
        append(here, seq)
    size = here.new_record().dtype.itemsize
    memory_bytes = os.fstat(here.fd).st_size
    second = memory_bytes - RING_RECORDS * size + 2 * size
    byte = os.pread(here.fd, 1, second + 40)
    os.pwrite(here.fd, bytes([byte[0] ^ 1]), second + 40)  # as a writer that died in the middle of it
    records, _ = there.read_since(0)
    assert records["seq"].tolist() == [1, 3]


def test_what_is_no_blackboard_is_refused() -> None:
    fd = os.memfd_create("other")
    os.ftruncate(fd, 4096)
    with pytest.raises(RuntimeError, match="is not a blackboard"):
        Blackboard.attach(fd)
    os.close(fd)


def test_nobody_can_shrink_it() -> None:
    """A mapping whose file was cut kills whoever touches it next."""
    board = Blackboard.create(3)
    with pytest.raises(PermissionError):
        os.ftruncate(board.fd, 0)
