"""The ring of steps: no record is taken torn, none that may have left is missing."""

from __future__ import annotations

import numpy as np
import pytest

from gaitd.shared.step_ring import RECORDS, StepRing, StepTimes
from gaitd.shared.worker_memory import WorkerMemory


def pair(joints: int = 3, observation_dim: int = 0) -> tuple[StepRing, StepRing]:
    reader = WorkerMemory.create(joints, observation_dim)
    return WorkerMemory(reader.fd, writable=True).steps, reader.steps


def stage(ring: StepRing, seq: int) -> None:
    values = [np.full(size, seq, np.float32) for size in (3, 4, 3, 3, 3, 3, 3, 3, 3, 3)]
    ring.compose(StepTimes(5, 12, seq, 100, 200, 300, 400), tuple(values))
    ring.stage()


def send(ring: StepRing, seq: int) -> None:
    stage(ring, seq)
    ring.mark_sent(1000 + seq)


def test_a_record_comes_back_as_it_was_staged() -> None:
    for joints, dim in ((3, 0), (12, 45)):  # with and without padding
        writer, reader = pair(joints, dim)
        sizes = (3, 4, 3, 3, *[joints] * 6, dim)
        values = [np.arange(size, dtype=np.float32) + place for place, size in enumerate(sizes)]
        writer.compose(StepTimes(5, 12, 7, 100, 200, 300, 400), tuple(values))
        writer.stage()
        writer.mark_sent(500)
        record = reader.read_since(0)[0][0]
        assert record.tolist()[1:8] == (5, 12, 7, 100, 200, 300, 400)
        assert int(record["sent_ns"]) == 500
        names = [name for name in reader.dtype.names or () if reader.dtype[name].base.kind == "f"]
        for name, value in zip(names, values, strict=True):
            np.testing.assert_array_equal(record[name], value)


def test_records_come_in_order_and_once() -> None:
    writer, reader = pair()
    index = 0
    for start in (1, 4):
        for seq in range(start, start + 3):
            send(writer, seq)
        records, index = reader.read_since(index)
        assert records["seq"].tolist() == [start, start + 1, start + 2]
        assert records["sent_ns"].tolist() == [1000 + start, 1001 + start, 1002 + start]
    records, index = reader.read_since(index)
    assert (len(records), index) == (0, 6)


def test_a_step_is_open_until_it_is_known_what_became_of_its_command() -> None:
    writer, reader = pair()
    send(writer, 1)
    stage(writer, 2)
    assert reader.read_since(0)[0]["seq"].tolist() == [1]
    everything, _ = reader.read_since(0, unsettled=True)
    assert everything["seq"].tolist() == [1, 2]
    assert everything["sent_ns"].tolist() == [1001, 0]
    writer.settle()  # withheld, or a new worker after the death of this one
    send(writer, 3)
    records, index = reader.read_since(1)
    assert records["seq"].tolist() == [2, 3]
    assert records["sent_ns"].tolist() == [0, 1003]
    assert index == 3


def test_a_reader_that_is_too_slow_loses_the_oldest() -> None:
    writer, reader = pair()
    count = RECORDS + 100
    for seq in range(1, count + 1):
        send(writer, seq)
    records, index = reader.read_since(0)
    assert index == reader.staged == count
    assert records["seq"].tolist() == list(range(count - RECORDS + 1, count + 1))


def spoil(ring: StepRing, index: int) -> None:
    """One bit of the record in its place."""
    start = index % RECORDS * ring.dtype.itemsize
    ring._memory[start + 100] ^= 1


def test_a_record_that_has_not_all_arrived_is_read_next_time() -> None:
    """A count may be seen before the bytes behind it: nothing torn is taken, and nothing is lost for ever."""
    writer, reader = pair()
    for seq in (1, 2, 3):
        send(writer, seq)
    spoil(writer, 3)
    records, index = reader.read_since(0)
    assert (records["seq"].tolist(), index) == ([1, 2], 2)
    records, index = reader.read_since(index)
    assert (records["seq"].tolist(), index) == ([], 2)
    spoil(writer, 3)  # and now it is whole
    records, index = reader.read_since(index)
    assert (records["seq"].tolist(), index) == ([3], 3)


def test_a_damaged_record_does_not_hold_up_those_behind_it() -> None:
    writer, reader = pair()
    for seq in (1, 2, 3):
        send(writer, seq)
    spoil(writer, 2)
    records, index = reader.read_since(0)
    assert (records["seq"].tolist(), index) == ([1, 3], 3)


@pytest.mark.parametrize("staged", [2**64 - 1, 2**63 + 100, 2**62 - 1, 0])
@pytest.mark.parametrize("settled", [2**64 - 1, 2**63 + 50, 0])
def test_damaged_counts_keep_nobody_from_the_records_that_follow(staged: int, settled: int) -> None:
    writer, reader = pair()
    for seq in (1, 2, 3):
        send(writer, seq)
    _, index = reader.read_since(0)
    writer._counters[0], writer._counters[1] = staged, settled
    for start in (None, index):
        _, index = reader.read_since(0 if start is None else start)
        reader.read_since(0, unsettled=True)
    send(writer, 4)
    _, index = reader.read_since(index)
    send(writer, 5)
    assert reader.read_since(index)[0]["seq"].tolist() == [5]
