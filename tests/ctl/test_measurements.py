"""gaitctl selftest and bench, and how latency is measured and shown."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from gaitd.bundle.read import Bundle, open_bundle
from gaitd.ctl import latency
from gaitd.ctl.cli import main
from gaitforge.bundle.write import write_bundle
from support.bundles import small_manifest


class FakeBackend:
    """Takes a fixed time on a fake clock."""

    def __init__(self, duration_ns: int) -> None:
        self.now_ns = 0
        self.starts_ns: list[int] = []
        self._duration_ns = duration_ns

    def clock_ns(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)

    def infer(self, observation: np.ndarray) -> np.ndarray:
        self.starts_ns.append(self.now_ns)
        self.now_ns += self._duration_ns
        return observation

    def commit(self) -> None: ...

    def reset(self) -> None: ...

    def versions(self) -> dict[str, str]:
        return {}

    def memory(self) -> dict[str, int]:
        return {}

    def close(self) -> None: ...


@pytest.mark.parametrize("duration_us", [300, 15_000])
def test_inferences_are_paced_by_the_period_and_never_catch_up_in_a_burst(
    small_bundle: Bundle, duration_us: int
) -> None:
    backend = FakeBackend(duration_us * 1000)
    durations = latency.measure(backend, small_bundle, 0.12, backend.clock_ns, backend.sleep)
    assert durations.tolist() == [duration_us] * 10
    gaps_us = np.diff(backend.starts_ns) / 1000
    assert gaps_us.min() >= max(12_000, duration_us)


def test_summary_and_histogram_hold_every_inference() -> None:
    durations = np.array([100.0] * 98 + [1000.0, 20_000.0])
    values = latency.summary(durations)
    assert values["p50_us"] == 100.0
    assert values["max_us"] == 20_000.0
    counts = [int(line.split()[-1]) for line in latency.histogram(durations).splitlines()]
    assert sum(counts) == 100
    assert "#" in latency.histogram(durations).splitlines()[-1]


@pytest.fixture
def calm(tmp_path: Path) -> list[str]:
    """Options that leave this process's own priority alone."""
    config = tmp_path / "gaitd.toml"
    config.write_text("[realtime]\nenabled = false\n")
    return ["--config", str(config), "--seconds", "0.1"]


def test_selftest_reports_accuracy_and_latency(
    calm: list[str], tmp_path: Path, small_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "--runtime-dir",
        str(tmp_path),
        "selftest",
        "--bundle",
        str(small_bundle_path),
        *calm,
    ]
    assert main(options) == 0
    assert "largest error" in capsys.readouterr().out
    assert main([*options, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["max_error"] <= report["tolerance"]
    assert report["latency"]["count"] == 8


def test_selftest_refuses_a_model_that_answers_otherwise(
    calm: list[str], tmp_path: Path, small_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    observation, action = small_bundle.golden()
    golden = io.BytesIO()
    np.savez(golden, observation=observation, action=action + 0.5)
    files = {"model.onnx": small_bundle.read_bytes("model.onnx"), "golden.npz": golden.getvalue()}
    lying = write_bundle(tmp_path / "lying.gaitd", small_manifest(), files)
    assert main(["--runtime-dir", str(tmp_path), "selftest", "--bundle", str(lying), *calm]) == 2
    assert "golden vector" in capsys.readouterr().err


def test_bench_measures_what_is_there_and_says_why_not(
    calm: list[str], tmp_path: Path, small_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "bench.json"
    options = ["bench", "--bundle", str(small_bundle_path), *calm, "--output", str(output)]
    assert main(["--runtime-dir", str(tmp_path), *options]) == 0
    assert "not measured: " in capsys.readouterr().out
    report = json.loads(output.read_text())
    assert report["policy"]["id"] == open_bundle(small_bundle_path).id
    assert {(entry["backend"], entry["load"]) for entry in report["results"] if "latency" in entry} == {
        ("onnx", "idle"),
        ("onnx", "loaded"),
    }
    assert all("model.rknn" in entry["skipped"] for entry in report["results"] if entry["backend"] == "rknn")
    assert report["checks"]
