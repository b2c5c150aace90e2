"""The package on a whole emulated board; takes some minutes (make test-target)."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from board import Board, build_controller
from board_parts import ensure_board
from machine import UNPROTECTED_UNIT, probe_unit
from measured import Measured
from npu_bundle import write_npu_bundle
from rootfs import ROOT, TargetUnavailableError
from standin.build import build_standin

from support.bundles import lite3_manifest

pytestmark = [pytest.mark.target, pytest.mark.board]

HERE = Path(__file__).parent
PERIOD_S = 0.1
"""Long, so that an emulator keeps up; deadlines are multiples of it."""
DEADLINE_S = 5 * PERIOD_S
BOOT_S = 600.0


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, arm64_package: Path) -> dict[str, Any]:
    """What the trial found: installed at the first boot, tried at the second."""
    try:
        parts = ensure_board()
    except TargetUnavailableError as error:
        pytest.skip(f"no emulated board: {error}")
    scratch = tmp_path_factory.mktemp("board")
    trial = scratch / "trial"
    shutil.copytree(HERE / "trial", trial, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HERE / "standing_robot.py", trial)
    os.link(arm64_package, trial / "gaitd.deb")
    shutil.copy(build_controller(parts, scratch / "cpp"), trial)
    build_standin("aarch64-linux-gnu-gcc", trial / "librknnrt.so")
    write_npu_bundle(trial / "policy.gaitd", lite3_manifest(control_period_s=PERIOD_S))
    probe = "/opt/gaitd/bin/python3.11 /trial/limits_probe.py"
    unit = (ROOT / "systemd/gaitd.service").read_text()
    (trial / "probe-sandboxed.service").write_text(probe_unit(unit, probe))
    (trial / "probe-control.service").write_text(probe_unit(UNPROTECTED_UNIT, probe))
    board = Board(parts, trial, scratch)
    for number in (1, 2):
        board.boot(scratch / f"console-{number}", BOOT_S)
    for name in ("install.log", "trial.log", "controller.log", "ticks.csv", "report.json"):
        (scratch / name).write_text(board.read(name))
    text = (scratch / "report.json").read_text()
    assert text, (scratch / "install.log").read_text() + (scratch / "trial.log").read_text()
    found: dict[str, Any] = json.loads(text)
    return found


def test_every_part_of_the_trial_ran(report: dict[str, Any], measured: Measured) -> None:
    assert report["errors"] == {}
    boot, faults = report["boot"], report["faults"]
    measured(
        "emulated board",
        f"READY {boot['ready_after_boot_s']:.0f} s after power-on, {boot['start_to_ready_s']:.1f} s after its"
        f" start; worker killed: damping after {faults['worker killed']['damping_after_ms']:.0f} ms",
    )


def test_starts_at_boot_on_the_npu(report: dict[str, Any]) -> None:
    worker = report["status"]["worker"]
    assert (worker["ready"], worker["backend"]) == (True, "rknn")
    assert worker["versions"]["library"] == "/usr/lib/librknnrt.so"
    assert worker["versions"]["driver"] == "0.9.8"


def test_has_every_real_time_setting(report: dict[str, Any]) -> None:
    assert report["status"]["missing_realtime"] == {"guardian": {}, "worker": {}}
    worker = report["worker"]
    assert (worker["fifo"], worker["priority"], worker["cpus"]) == (True, 60, [6])
    assert (worker["rtprio"], worker["memlock"]) == ("80", "unlimited")
    assert worker["locked_kb"] > 0


def test_the_doctor_finds_it_fit(report: dict[str, Any]) -> None:
    assert report["doctor"]["code"] == 0, report["doctor"]["out"]
    found = {check["check"]: check["level"] for check in report["doctor_json"]}
    good = ("chip", "NPU node", "NPU runtime", "model", "policy", "real time", "sleep states", "gaitd")
    assert {name: found[name] for name in good} == dict.fromkeys(good, "OK")


@pytest.mark.parametrize(
    ("fault", "reason", "within_s"),
    [
        ("worker killed", "worker_died", DEADLINE_S),
        # One deadline until the worker misses the guardian, one more at the client.
        ("guardian stopped", "client_deadline", 2 * DEADLINE_S + 0.1),
    ],
)
def test_damping_after_a_fault_until_the_next_session(
    report: dict[str, Any], fault: str, reason: str, within_s: float
) -> None:
    after = report["faults"][fault]
    assert after["reason"] == reason
    assert after["damping_after_ms"] < within_s * 1e3
    assert after["modes"] == ["damping", "idle"]  # idle: the new session, before its first command


def test_the_watchdog_restarted_it_once(report: dict[str, Any]) -> None:
    assert report["faults"]["restarts"] == "1"
    assert "Watchdog timeout" in report["journal"]
    assert len(report["recordings"]) >= 1


def test_no_process_aborts(report: dict[str, Any]) -> None:
    assert "SIGABRT" not in report["journal"]


def test_the_selftest_and_the_bench_run_on_the_npu(report: dict[str, Any]) -> None:
    assert report["selftest"]["backend"] == "rknn"
    assert report["selftest"]["max_error"] < 1e-5
    assert report["bench"]["code"] == 0
    assert "NPU core 2 (rknn), loaded: p50" in report["bench"]["out"]


def test_walks_on_the_cpu_too(report: dict[str, Any]) -> None:
    worker = report["on_the_cpu"]["worker"]
    assert (worker["backend"], worker["starts"]) == ("onnx", 1)
    assert report["on_the_cpu"]["controller"]["code"] == 0


def test_metrics_come_over_tcp(report: dict[str, Any]) -> None:
    assert re.search(r'^gaitd_damping_total\{[^}]*reason="worker_died"', report["metrics"], re.MULTILINE)


def test_limits_hold(report: dict[str, Any]) -> None:
    """Each of them is passed where the unit does not hold it back."""
    too_much = {"start 100 threads", "use SCHED_FIFO 90", "take 900 MiB"}
    needed = {"use SCHED_FIFO 70", "lock its memory"}
    assert set(report["protections"]["control"]) == too_much | needed
    assert set(report["protections"]["sandboxed"]) == needed


def test_purge_leaves_nothing(report: dict[str, Any]) -> None:
    removal = report["removal"]
    assert removal["kept"], "removing keeps the policies"
    assert removal["purge"]["code"] == 0
    assert removal["left"] == []
