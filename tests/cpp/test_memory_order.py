"""The order of memory that gaitd/ring.hpp relies on, explored to exhaustion for a processor like ARM64.

Its memory is one for all cores (multi-copy atomic), and each core may do its own loads and stores in any
order that no barrier, and no address that is computed from a load, forbids. So every outcome that ARM64
allows for these few instructions is a way of taking them one by one; an emulator on x86, whose order is
stronger, shows few of them.
There is no checksum here: it is what remains for a writer without barriers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

RING = Path(__file__).parents[2] / "proto/cpp/include/gaitd/ring.hpp"
RECORDS = 2
WORDS = ("index", "data", "more data")
FIRST, LAST = 2, 4
"""Message 1 is there; these are written while the reader takes one."""
COUNTER = "counter"

Kind = Literal["load", "store", "fence"]
Place = tuple[str, int]
State = tuple[frozenset[int], frozenset[int], tuple[tuple[Place, int], ...], tuple[tuple[int, int], ...]]
"""What the writer and the reader have done, what is in memory, and what the reader has loaded, by step."""


@dataclass(frozen=True)
class Step:
    """One instruction of one core."""

    kind: Kind
    place: Place = ("", 0)
    """Word and record. Of a load in the reader, the record is that of the message it looked for."""
    value: int = 0
    releases: bool = False
    """A store that comes after all before it (stlr)."""
    acquires: bool = False
    """A load that comes before all after it (ldar)."""
    needs: int = -1
    """The step whose load gives the address."""

    def waits_for(self, before: Step, number: int) -> bool:
        """Whether the step ``before``, that one of the program, must have been done."""
        return (
            "fence" in (self.kind, before.kind)
            or self.releases
            or before.acquires
            or number == self.needs
            or self.place == before.place
        )


def writer(without: str) -> list[Step]:
    """What Writer::append does for each message."""
    steps = []
    for index in range(FIRST, LAST + 1):
        if without != "writer's fence":
            steps.append(Step("fence"))
        steps += [Step("store", (word, index % RECORDS), index) for word in WORDS]
        steps.append(Step("store", (COUNTER, 0), index, releases=without != "release"))
    return steps


def reader(without: str) -> list[Step]:
    """What NewestReader::take does."""
    steps = [Step("load", (COUNTER, 0), acquires=without != "acquire")]
    steps += [Step("load", (word, -1), needs=0) for word in WORDS]
    if without != "reader's fence":
        steps.append(Step("fence"))
    # The same word as the first load's; ``Step.place`` orders the two, as the processor does.
    steps.append(Step("load", (COUNTER, 0)))
    return steps


def _before(steps: list[Step], number: int) -> set[int]:
    """The steps that must have been done before the one with that number."""
    return {n for n in range(number) if steps[number].waits_for(steps[n], n)}


def taken(programs: tuple[list[Step], list[Step]]) -> Iterator[tuple[int, ...]]:
    """What the reader may have loaded, in each possible order: counter, record's words, counter again."""
    start = {(COUNTER, 0): FIRST - 1, **{(w, (FIRST - 1) % RECORDS): FIRST - 1 for w in WORDS}}
    waits = [[_before(steps, number) for number in range(len(steps))] for steps in programs]
    seen: set[State] = set()
    todo: list[State] = [(frozenset(), frozenset(), tuple(sorted(start.items())), ())]
    while todo:
        state = todo.pop()
        if state in seen:
            continue
        seen.add(state)
        done, memory, loaded = state[:2], state[2], state[3]
        if len(done[1]) == len(programs[1]):
            values = dict(loaded)
            yield tuple(values[n] for n, step in enumerate(programs[1]) if step.kind == "load")
            continue
        for core, steps in enumerate(programs):
            for number, step in enumerate(steps):
                if number in done[core] or not waits[core][number] <= done[core]:
                    continue
                words, values = dict(memory), dict(loaded)
                if step.kind == "store":
                    words[step.place] = step.value
                elif step.kind == "load":
                    word, record = step.place
                    at = (word, values[0] % RECORDS if record < 0 else record)
                    values[number] = words.get(at, 0)
                after = list(done)
                after[core] |= {number}
                todo.append((after[0], after[1], tuple(sorted(words.items())), tuple(sorted(values.items()))))


def torn(without: str = "") -> list[tuple[int, ...]]:
    """What the reader takes for a message, though it is none."""
    accepted = 0
    found = []
    for counter, *words, again in taken((writer(without), reader(without))):
        if words[0] != counter or again - counter + 1 >= RECORDS:
            continue  # as ring.hpp decides
        accepted += 1
        if words != [counter] * len(WORDS):
            found.append((counter, *words, again))
    assert accepted > 0, "nothing was ever taken"
    return found


def test_no_order_that_the_processor_allows_gives_a_torn_message() -> None:
    assert torn() == []


@pytest.mark.parametrize("barrier", ["release", "writer's fence", "reader's fence"])
def test_each_barrier_is_needed(barrier: str) -> None:
    assert torn(without=barrier)


def test_the_address_alone_orders_the_reader_too() -> None:
    """The acquire is for the compiler: on the processor the record's address comes from the counter."""
    assert torn(without="acquire") == []


def test_the_header_has_these_steps_in_this_order() -> None:
    source = RING.read_text()
    append = source[source.index("void append(") : source.index("class NewestReader")]
    take = source[source.index("std::size_t take()") :]
    assert re.search(
        r"thread_fence\(std::memory_order_release\).*store\(record, index\).*store\(record \+ 1.*"
        r"store\(record \+ 2.*__atomic_store_n\(words_\.counter\(\), index, __ATOMIC_RELEASE\)",
        append,
        re.DOTALL,
    )
    assert re.search(
        r"__atomic_load_n\(words_\.counter\(\), __ATOMIC_ACQUIRE\).*load\(record \+ 1\).*load\(record\) != "
        r"index.*load\(record \+ 2.*thread_fence\(std::memory_order_acquire\).*load\(words_\."
        r"counter\(\)\) - index.*newer \+ 1 >= words_\.records\(\)",
        take,
        re.DOTALL,
    )
