"""What gaitforge tail compares, and what becomes of every state when nothing is in the way."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from gaitforge.bench import contenders
from gaitforge.bench.block import cores
from gaitforge.bench.daemon import at_rate, daemon
from gaitforge.bench.tail import VARIANTS, Options, measure, table
from support.cmake import build_tests

BUNDLE = Path(__file__).parents[3] / "examples/lite3_walk/lite3_walk.gaitd"

TRIES = 4
"""A machine that stands still for 80 ms ends a session, and that is right."""


def test_each_variant_differs_in_one_thing_from_one_that_is_measured_too() -> None:
    by_name = {each.name: each for each in VARIANTS}
    assert len(by_name) == len(VARIANTS)
    for each in VARIANTS:
        if each.against:
            other = by_name[each.against]
            parts = ("realtime", "pinned", "transport", "io_pinned", "ordinary_gc")
            assert sum(getattr(each, part) != getattr(other, part) for part in parts) == 1


def test_the_table_says_what_a_row_is_held_against() -> None:
    times = {"p50_us": 90.0, "p99_us": 200.0, "p999_us": 300.0, "max_us": 400.0}
    fates = {"superseded": 1, "lost": 0, "cpu_percent": 12.5}
    ratios = {f"{name}_ratio": [2.0, 1.5, 2.5] for name in ("p50", "p99", "p999", "max")}
    rows = [
        {"variant": "everything", "against": "", "load": "busy", **times, **fates},
        {"variant": "without mlock", "against": "everything", "load": "busy", **times, **fates, **ratios},
    ]
    first, second = table(rows)[2:]
    assert first.startswith("| everything | busy | 90.0 | 200.0 | 300.0 | 400.0 | 1 | 0 | 12.5 |  |")
    assert second.endswith("| everything |" + " 2.00 (1.50 to 2.50) |" * 4)


def test_no_answer_is_lost_or_refused_from_the_first_state_on() -> None:
    """Beside a busy program per core, the load generator wakes up late at times: it may not sample too soon
    after that, and what has not its own answer is superseded by a newer state."""
    echo, pinned = build_tests() / "client/echo_bench", cores()
    with tempfile.TemporaryDirectory(prefix="gaitd-") as name, (Path(name) / "log").open("wb") as log:
        directory = Path(name)
        bundle = at_rate(BUNDLE, 250.0, directory / "fast.gaitd")
        with daemon(bundle, directory, echo, log, pinned=pinned) as gaitd, contenders.load("busy"):
            for transport in ("zmq", "shm"):
                for _ in range(TRIES):
                    block = gaitd.block(transport, 250.0, 100, pinned.client)
                    if block.dampings == 0:
                        break
                assert (block.published, block.refused, block.lost, block.dampings) == (150, 0, 0, 0)
                assert len(block.latencies_us) > 50


@pytest.mark.thorough
def test_a_short_run_of_all_variants(tmp_path: Path) -> None:
    options = Options(BUNDLE, build_tests() / "client/echo_bench", tmp_path, 1, 0.2, 500.0, ("idle",))
    rows = measure(options)
    assert [row["variant"] for row in rows] == [each.name for each in VARIANTS]
    assert all(row["count"] > 0 for row in rows)
