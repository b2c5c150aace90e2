"""The ring of messages: a reader gets what was written, whole and in order, or nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import zlib

import pytest

from gaitd.shared.lanes import create_ring
from gaitd.shared.memory import map_memory
from gaitd.shared.message_ring import RingKind, RingReader, RingShape, RingWriter
from support.rings import written_ring

SHAPE = RingShape(8, 200)
COUNTER_AT = 64


def message(number: int) -> bytes:
    """Of which every byte tells its number."""
    return number.to_bytes(8, "little") + bytes([number % 251]) * (number * 37 % 190)


def number_of(data: bytes) -> int:
    number = int.from_bytes(data[:8], "little")
    assert data == message(number)
    return number


class Ring:
    """A ring in this process's memory."""

    def __init__(self) -> None:
        self.memory = memoryview(bytearray(written_ring(SHAPE, 0)))
        self.reader = RingReader(self.memory, SHAPE)
        self.writer = RingWriter(self.memory, SHAPE)

    def write(self, *numbers: int) -> None:
        for number in numbers:
            self.writer.append(message(number))

    def taken(self) -> list[int]:
        """All there is, by one look."""
        numbers = []
        while (data := self.reader.take()) is not None:
            numbers.append(number_of(data))
        return numbers


@pytest.fixture
def ring() -> Ring:
    return Ring()


def test_messages_come_in_their_order_and_once(ring: Ring) -> None:
    assert not ring.reader.has_more
    ring.write(1, 2, 3)
    assert ring.reader.has_more
    assert ring.taken() == [1, 2, 3]
    for number in range(4, 100):
        ring.write(number)
        assert ring.taken() == [number]
    assert not ring.reader.has_more


def test_what_was_overwritten_is_left_out_and_the_newest_stay(ring: Ring) -> None:
    ring.write(*range(1, 31))
    assert ring.taken() == [24, 25, 26, 27, 28, 29, 30]
    assert ring.reader.damaged == 0


def test_a_reader_may_begin_behind_what_is_there_or_anew(ring: Ring) -> None:
    ring.write(1, 2)
    ring.reader.skip()
    assert ring.taken() == []
    ring.write(3)
    assert ring.taken() == [3]
    ring.memory[64:] = bytes(len(ring.memory) - 64)
    ring.reader.begin()
    ring.writer = RingWriter(ring.memory, SHAPE)
    ring.write(4)
    assert ring.taken() == [4]


def test_a_message_that_does_not_fit_is_refused_by_its_length(ring: Ring) -> None:
    ring.writer.append(bytes(200))
    for data in (bytes(201), b""):
        with pytest.raises(ValueError, match=f"{len(data)} bytes; there is room for 1 to 200"):
            ring.writer.append(data)
    assert ring.reader.take() == bytes(200)
    assert ring.reader.take() is None


def test_whatever_part_of_the_stores_has_become_visible_nothing_is_torn_or_lost(ring: Ring) -> None:
    """More than ARM64 may do: each word of a write is there or not, the counter's too, in any combination."""
    ring.write(*range(1, 10))
    old = bytes(ring.memory)
    ring.write(10)
    new = bytes(ring.memory)
    changed = [at for at in range(0, len(old), 8) if old[at : at + 8] != new[at : at + 8]]
    assert COUNTER_AT in changed
    rng = random.Random(1)
    for trial in range(4000):
        ring.memory[:] = old
        reader = RingReader(ring.memory, SHAPE)
        reader.skip()
        share = rng.random()
        visible = changed if trial == 0 else [at for at in changed if rng.random() < share]
        for at in visible:
            ring.memory[at : at + 8] = new[at : at + 8]
        data = reader.take()
        assert (data is not None) == (len(visible) == len(changed))
        ring.memory[:] = new
        if data is None:
            data = reader.take()
        assert data is not None
        assert number_of(data) == 10
        assert reader.damaged == 0


def test_the_newest_is_taken_once_and_what_was_before_it_is_passed_over(ring: Ring) -> None:
    assert ring.reader.take_newest() is None
    ring.write(1, 2, 3)
    assert ring.reader.take_newest() == message(3)
    assert ring.reader.take_newest() is None
    ring.write(*range(4, 40))
    assert ring.reader.take_newest() == message(39)
    assert ring.reader.damaged == 0


def test_of_the_newest_nothing_torn_is_taken_and_what_stays_torn_is_damaged(ring: Ring) -> None:
    ring.write(*range(1, 10))
    old = bytes(ring.memory)
    ring.write(10)
    new = bytes(ring.memory)
    changed = [at for at in range(0, len(old), 8) if old[at : at + 8] != new[at : at + 8]]
    rng = random.Random(4)
    for _ in range(2000):
        ring.memory[:] = old
        reader = RingReader(ring.memory, SHAPE)
        reader.skip()
        for at in changed:
            if rng.random() < 0.7:
                ring.memory[at : at + 8] = new[at : at + 8]
        whole = bytes(ring.memory) == new
        assert reader.take_newest() == (message(10) if whole else None)
        assert reader.damaged == 0
        assert reader.take_newest() is None
        assert reader.damaged == (not whole and ring.memory[COUNTER_AT] == 10)
        ring.memory[:] = new
        ring.writer = RingWriter(ring.memory, SHAPE)
        ring.write(11)
        assert reader.take_newest() == message(11)


def test_whatever_is_in_the_memory_the_newest_is_a_message_or_nothing(ring: Ring) -> None:
    rng = random.Random(5)
    for _ in range(600):
        ring.memory[:] = written_ring(SHAPE, rng.randrange(20))
        reader, known = RingReader(ring.memory, SHAPE), bytes(ring.memory)
        for _ in range(rng.randrange(1, 6)):
            at = COUNTER_AT if rng.random() < 0.3 else rng.randrange(64, len(ring.memory) - 8)
            ring.memory[at : at + 8] = rng.randbytes(rng.randrange(1, 9)).ljust(8, b"\xff")
            data = reader.take_newest()
            assert data is None or data in known
        RingWriter(ring.memory, SHAPE).append(b"goes on")
        assert b"goes on" in (reader.take_newest(), reader.take_newest())


def test_a_damaged_record_is_given_up_at_the_second_look_and_the_next_ones_come(ring: Ring) -> None:
    ring.write(1)
    at = ring.memory.obj.index(message(1))  # type: ignore[attr-defined]
    ring.memory[at] ^= 1
    ring.write(2, 3)
    assert ring.taken() == []
    assert ring.taken() == [2, 3]
    assert ring.reader.damaged == 1


def test_a_scrambled_ring_ends_in_nothing_and_a_writer_that_goes_on_is_heard(ring: Ring) -> None:
    rng = random.Random(2)
    for _ in range(600):
        ring.memory[:] = written_ring(SHAPE, rng.randrange(20))
        reader, known = RingReader(ring.memory, SHAPE), bytes(ring.memory)
        for _ in range(rng.randrange(1, 6)):
            at = COUNTER_AT if rng.random() < 0.3 else rng.randrange(64, len(ring.memory) - 8)
            ring.memory[at : at + 8] = rng.randbytes(rng.randrange(1, 9)).ljust(8, b"\xff")
        for _ in range(2 * SHAPE.records):
            data = reader.take()
            assert data is None or data in known
        RingWriter(ring.memory, SHAPE).append(b"goes on")
        assert b"goes on" in (reader.take(), reader.take())


def test_the_checksum_is_of_message_and_index(ring: Ring) -> None:
    """As proto/README.md has it: a record that was moved, or is an earlier one, does not count."""
    ring.write(1)
    assert zlib.crc32(message(1), 0x9E3779B1).to_bytes(4, "little") in bytes(ring.memory)
    stride = 256
    ring.memory[128:384] = ring.memory[128 + stride : 384 + stride]  # index 8 looks in the first record
    ring.memory[COUNTER_AT] = 8
    reader = RingReader(ring.memory, SHAPE)
    assert [reader.take() for _ in range(20)] == [None] * 20


WRITE_FOR_EVER = """
import sys
from gaitd.shared.memory import map_memory
from gaitd.shared.message_ring import RingShape, RingWriter
shape = RingShape(8, 200)
writer = RingWriter(map_memory(int(sys.argv[1]), writable=True), shape)
number = 0
while True:
    number += 1
    writer.append(number.to_bytes(8, "little") + bytes([number % 251]) * (number * 37 % 190))
"""


def test_a_writer_that_is_killed_leaves_what_it_had_published_and_another_one_goes_on() -> None:
    fd = create_ring(RingKind.STATE, 0, SHAPE)
    reader, rng = RingReader(map_memory(fd, writable=False), SHAPE), random.Random(3)
    try:
        for _ in range(2):
            reader.skip()
            writer = subprocess.Popen([sys.executable, "-c", WRITE_FOR_EVER, str(fd)], pass_fds=[fd])
            newest, until_s = 0, time.monotonic() + 20.0
            enough_s = until_s
            while time.monotonic() < enough_s:
                assert time.monotonic() < until_s
                if (data := reader.take()) is None:
                    continue
                if newest == 0:
                    enough_s = time.monotonic() + rng.uniform(0.001, 0.02)
                assert number_of(data) > newest
                newest = number_of(data)
            writer.send_signal(signal.SIGKILL)
            writer.wait()
            while (data := reader.take()) is not None:
                assert number_of(data) > newest
                newest = number_of(data)
            RingWriter(map_memory(fd, writable=True), SHAPE).append(b"the next one")
            assert b"the next one" in (reader.take(), reader.take())
    finally:
        os.close(fd)
