"""The benchmark: its rows, its table and picture, and a short run of everything that it compares."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gaitd.bundle.read import open_bundle
from gaitd.errors import InputError
from gaitforge.stack.contenders import CLOSED, CONTENDERS, ECHO, at_rate
from gaitforge.stack.latency import Measured, Options, Results, measure
from gaitforge.stack.latency_report import rows_of, table, write_report
from support.cmake import build_tests

BUNDLE = Path(__file__).parents[3] / "examples/lite3_walk/lite3_walk.gaitd"


def measured(contender: str, rate_hz: float, *rounds_us: list[float], lost: int = 0) -> Measured:
    made = Measured(contender, "idle", rate_hz)
    for latencies in rounds_us:
        made.add(latencies, 0)
    made.lost = lost
    return made


@pytest.fixture
def results() -> Results:
    hundred = [float(us) for us in range(1, 101)]
    return Results(
        [
            measured(ECHO, 83.333, hundred, hundred, hundred),
            measured(
                "gaitd shm", 83.333, hundred, [3 * us for us in hundred], [2 * us for us in hundred], lost=4
            ),
            measured(ECHO, CLOSED, hundred),
        ],
        {"guardian": 50.0, "worker": 70.0, "together": 120.0},
    )


def test_times_are_of_all_rounds_and_ratios_of_each(results: Results) -> None:
    echo, shm, _ = rows_of(results.measured)
    assert (echo["p50_us"], echo["p99_us"], echo["max_us"]) == pytest.approx((50, 99, 100), rel=2e-3)
    assert shm["max_us"] == pytest.approx(300, rel=2e-3)
    assert (shm["count"], shm["lost"]) == (300, 4)
    assert shm["p50_ratio"] == [2.0, 1.0, 3.0]  # the median of the rounds', not the ratio of all
    assert echo["p99_ratio"] == [1.0, 1.0, 1.0]


def test_the_table_has_a_line_for_each_and_says_closed(results: Results) -> None:
    head, *lines = table(rows_of(results.measured))
    assert [line.split()[0] for line in (head, *lines)] == ["contender", "c++", "gaitd", "c++"]
    assert "2.00 (1.00 to 3.00)" in lines[1]
    assert "closed" in lines[2]


def test_the_report_is_for_programs_and_people(
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_report(results, tmp_path)
    rows = json.loads((tmp_path / "latency.json").read_text())
    assert [row["contender"] for row in rows] == [ECHO, "gaitd shm", ECHO]
    assert (tmp_path / "percentiles.png").read_bytes().startswith(b"\x89PNG")
    assert "together 120" in capsys.readouterr().out


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
    options = Options(BUNDLE, echo, tmp_path, 1, (83.0, CLOSED), ("idle",))
    results = measure(options)
    paced = [each.contender for each in results.measured if each.rate_hz != CLOSED]
    assert paced == [contender.name for contender in CONTENDERS]
    assert [each.contender for each in results.measured if each.rate_hz == CLOSED] == [
        contender.name for contender in CONTENDERS if contender.closed
    ]
    for each in results.measured:
        assert each.whole.get_total_count() > each.lost
