"""The benchmark: its rows, its table and picture, and a short run of everything that it compares."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gaitd.bundle.read import open_bundle
from gaitd.errors import InputError
from gaitforge.bench.block import CLOSED, Block
from gaitforge.bench.contenders import CONTENDERS, CPP_ONNX, ECHO
from gaitforge.bench.daemon import at_rate, judged
from gaitforge.bench.latency import Options, Results, measure
from gaitforge.bench.latency_report import rows_of, table, write_report
from gaitforge.bench.measured import Measured
from support.cmake import build_tests

BUNDLE = Path(__file__).parents[3] / "examples/lite3_walk/lite3_walk.gaitd"


def measured(contender: str, rate_hz: float, *rounds_us: list[float], lost: int = 0) -> Measured:
    made = Measured(contender, "idle", rate_hz)
    for latencies in rounds_us:
        made.add(
            Block(
                latencies,
                len(latencies) + lost,
                lost=lost,
                cpu={"gaitd-worker": 0.1, "gaitd-guardian": 0.025},
            )
        )
    return made


@pytest.fixture
def results() -> Results:
    hundred = [float(us) for us in range(1, 101)]
    three = [3 * us for us in hundred], [2 * us for us in hundred]
    return Results(
        [
            measured(ECHO, 83.333, hundred, hundred, hundred),
            measured("gaitd shm", 83.333, hundred, *three, lost=4),
            measured(CPP_ONNX, 83.333, *three, hundred),
            measured(ECHO, CLOSED, hundred),
        ],
        120.0,
        [
            {
                "setting": "as it is",
                "rate_hz": 83.333,
                "cpu_percent": 12.5,
                "p50_us": 90.0,
                "p99_us": 200.0,
                "processes": {"gaitd-worker": 10.0, "gaitd-guardian": 2.5},
            }
        ],
    )


def test_times_are_of_all_rounds_and_ratios_of_each(results: Results) -> None:
    echo, shm, _, _ = rows_of(results.measured)
    assert (echo["p50_us"], echo["p99_us"], echo["max_us"]) == pytest.approx((50, 99, 100), rel=2e-3)
    assert shm["max_us"] == pytest.approx(300, rel=2e-3)
    assert (shm["count"], shm["published"], shm["lost"]) == (300, 312, 12)
    assert shm["cpu_percent"] == 12.5
    assert shm["p50_ratio"] == [2.0, 1.0, 3.0]  # the median of the rounds', not the ratio of all
    assert shm["p50_ratio_onnx"] == [1.5, 0.33, 2.0]
    assert echo["p99_ratio"] == [1.0, 1.0, 1.0]


def test_what_was_not_answered_is_told_apart_by_what_gaitd_counts() -> None:
    """Ten states, six answers seen of seven sent: overtaken, superseded, refused, lost."""
    before = {"counters": {"steps": 100, "superseded": 5}, "refused": {"early": 2}}
    after = {"counters": {"steps": 107, "superseded": 6}, "refused": {"early": 2, "old": 1}}
    block = judged(Block([], published=10, superseded=4), 6, before, after)
    assert (block.superseded, block.refused, block.lost) == (2, 1, 1)


def test_the_table_has_a_line_for_each_and_says_closed(results: Results) -> None:
    _, _, *lines = table(rows_of(results.measured))
    assert [line.split(" | ")[0] for line in lines] == [
        "| c++ zeromq echo",
        "| gaitd shm",
        f"| {CPP_ONNX}",
        "| c++ zeromq echo",
    ]
    assert "2.00 (1.00 to 3.00)" in lines[1]
    assert "closed" in lines[3]


def test_the_report_is_for_programs_and_people(
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_report(results, tmp_path)
    rows = json.loads((tmp_path / "latency.json").read_text())
    assert [row["contender"] for row in rows] == [ECHO, "gaitd shm", CPP_ONNX, ECHO]
    assert (tmp_path / "percentiles.png").read_bytes().startswith(b"\x89PNG")
    assert "| as it is | 83 | 12.5 | worker 10.0, guardian 2.5 |" in (tmp_path / "latency.md").read_text()
    assert "Memory: 120 MB" in capsys.readouterr().out


def test_the_policy_at_another_rate_is_the_same_policy(tmp_path: Path) -> None:
    faster, before = open_bundle(at_rate(BUNDLE, 1000.0, tmp_path / "fast.gaitd")), open_bundle(BUNDLE)
    assert faster.manifest.control_period_s == 0.001
    assert faster.files["model.onnx"] == before.files["model.onnx"]


def test_without_echo_bench_it_says_how_to_build_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no built echo_bench there; `make cpp` builds it"):
        measure(Options(BUNDLE, tmp_path / "echo_bench", tmp_path, rounds=1))


@pytest.mark.thorough
def test_a_short_run_of_everything(tmp_path: Path) -> None:
    echo = build_tests() / "client/echo_bench"
    assert os.access(echo, os.X_OK)
    options = Options(BUNDLE, echo, tmp_path, 1, (83.0, CLOSED), ("idle",), seconds=1.0)
    results = measure(options)
    paced = [each.contender for each in results.measured if each.rate_hz != CLOSED]
    assert paced == [contender.name for contender in CONTENDERS]
    assert [each.contender for each in results.measured if each.rate_hz == CLOSED] == [
        contender.name for contender in CONTENDERS if contender.closed
    ]
    for each in results.measured:
        fates = each.fates
        assert each.whole.get_total_count() > 0
        assert fates["superseded"] + fates["refused"] + fates["lost"] < fates["published"]
