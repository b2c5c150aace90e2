"""What gaitforge growth measures with: generated policies, where a curve bends, the table."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from gaitd.bundle.read import open_bundle
from gaitforge.bench.generated import Size, write_generated
from gaitforge.bench.growth import SIZES, bend, measure, table
from gaitforge.bench.written import write_tables
from support.cmake import build_tests


@pytest.mark.parametrize(
    "size", [Size(), Size(joints=64), Size(history=50), Size(parameters=10_000), Size(parameters=1_000_000)]
)
def test_a_generated_policy_has_the_size_that_was_asked_for(size: Size, tmp_path: Path) -> None:
    bundle = open_bundle(write_generated(size, 0.012, tmp_path / "made.gaitd"))
    assert len(bundle.manifest.joints) == size.joints
    assert bundle.pipeline().builder.dim == size.observation
    graph = onnx.load_from_string(bundle.read_bytes("model.onnx")).graph
    weights = sum(tensor.dims[0] * tensor.dims[1] for tensor in graph.initializer if len(tensor.dims) == 2)
    assert weights == pytest.approx(size.parameters, rel=0.03)


def test_a_curve_bends_where_it_begins_to_grow_with_what_it_is_over() -> None:
    assert bend([1, 10, 100, 1000], [5.0, 5.5, 9.0, 80.0]) == 100
    assert bend([1, 10, 100], [5.0, 20.0, 200.0]) == 1
    assert bend([1, 10, 100], [5.0, 6.0, 7.0]) is None
    assert bend([1, 10, 100], [5.0, 4.0, 3.0]) is None


def row(axis: str, value: float, age_us: float, in_process_us: float | None) -> dict[str, object]:
    inside = {"in_process_us": in_process_us, "cpu_percent": 10.0, "memory_mb": 100.0}
    fates = {"lost": 0, "dampings": 0}
    return {
        "axis": axis,
        "value": value,
        "observation": 45,
        "p50_us": age_us,
        "p99_us": 2 * age_us,
        **inside,
        **fates,
    }


def test_the_table_has_ratios_to_the_first_row_of_each_axis(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        row("parameters", 10_000, 100.0, 20.0),
        row("parameters", 1_000_000, 150.0, 60.0),
        row("parameters", 10_000_000, 1500.0, 600.0),
        row("recorded hours", 0.5, 90.0, None),
    ]
    lines = table(rows)
    assert (
        "| 1,000,000 | 45 | 150 (1.50 x) | 60 (3.00 x) | 10 (1.00 x) | 100 (1.00 x) | 300 | 0 | 0 |" in lines
    )
    assert "| 0.5 | 45 | 90 (1.00 x) | 10 (1.00 x) | 100 (1.00 x) | 180 | 0 | 0 |" in lines
    said = "age p50 µs from 1,000,000; in process p50 µs from 1,000,000; CPU % nowhere; MB nowhere."
    assert any(line.endswith(said) for line in lines)
    write_tables(tmp_path, "growth", rows, lines)
    assert json.loads((tmp_path / "growth.json").read_text())[3]["in_process_us"] is None
    assert (tmp_path / "growth.md").read_text() == "\n".join(lines) + "\n"
    assert "growth.md" in capsys.readouterr().out


@pytest.mark.thorough
def test_a_short_run_of_all_axes(tmp_path: Path) -> None:
    rows = measure(build_tests() / "client/echo_bench", tmp_path, 1, 0.1, 0.01)
    assert {row["axis"] for row in rows} == {*SIZES, "recorded hours"}
    assert all(row["count"] > 0 and row["memory_mb"] > 0 for row in rows)
