"""backend = "auto" on a board whose NPU does not work: the CPU runs the policy, and everybody can see it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from npu_bundle import write_npu_bundle
from standin.orders import Orders

from gaitd.ctl.cli import main as gaitctl
from gaitd.wire.generated import Mode
from support.bundles import small_manifest
from support.daemon import PATIENT, Gaitd, wait_until

Board = Callable[..., Gaitd]
CORE_FAILS = "from 1 garbage"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_npu_bundle(tmp_path / "npu.gaitd", small_manifest())


def test_a_working_npu_is_used(board: Board, bundle: Path, orders: Orders) -> None:
    with board(bundle, config=PATIENT) as gaitd:
        worker = gaitd.wait_ready().status()["worker"]
        assert (worker["backend"], worker["fallback"]) == ("rknn", "")
        assert gaitd.metrics()["gaitd_backend_fallback"] == 0


@pytest.mark.parametrize(
    ("order", "why"),
    [
        ("init -1", "rknn_init failed with RKNN_ERR_FAIL"),
        (CORE_FAILS, "golden vector"),
        ("at 1 crash", "killed by SIGSEGV"),
    ],
)
def test_an_npu_that_does_not_work_is_left_for_the_cpu(
    board: Board, bundle: Path, orders: Orders, order: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    orders.give(order)
    with board(bundle, config=PATIENT) as gaitd:
        worker = gaitd.wait_ready().status()["worker"]
        assert (worker["ready"], worker["backend"]) == (True, "onnx")
        assert worker["fallback"].startswith("rknn does not work here: ")
        assert why in worker["fallback"]
        assert gaitd.log.count("POLICY RUNS ON THE CPU") == 1
        assert any(why in line for line in gaitd.read_notified() if line.startswith("STATUS="))
        metrics = gaitd.metrics()
        assert metrics["gaitd_backend_fallback"] == 1
        assert any(name.startswith("gaitd_info{") and 'backend="onnx"' in name for name in metrics)
        assert gaitctl(["--runtime-dir", str(gaitd.runtime_dir), "status"]) == 0
        assert "ON THE CPU  rknn does not work here" in capsys.readouterr().out
        controller = gaitd.controller()
        controller.activate()
        commands = wait_until(lambda: [c for c in controller.walk(3) if c], what="commands")
        assert commands[0].mode is Mode.ACTIVE
        assert np.isfinite(commands[0].joint_position).all()


def test_a_replaced_worker_that_finds_the_npu_broken_falls_back_too(
    board: Board, bundle: Path, orders: Orders
) -> None:
    """And gaitd stays on the CPU from there on, though the NPU comes back."""
    with board(bundle, config=PATIENT) as gaitd:
        first = gaitd.wait_ready().wait_worker()
        assert gaitd.status()["worker"]["backend"] == "rknn"
        orders.give("init -1")
        os.kill(first, signal.SIGKILL)
        second = gaitd.wait_worker(other_than=first)
        assert gaitd.status()["worker"]["backend"] == "onnx"
        orders.give()
        os.kill(second, signal.SIGKILL)
        gaitd.wait_worker(other_than=second)
        assert gaitd.status()["worker"]["backend"] == "onnx"


def test_rknn_by_name_refuses_instead_of_falling_back(board: Board, bundle: Path, orders: Orders) -> None:
    orders.give("init -1")
    with board(bundle, "--backend", "rknn", config=PATIENT) as gaitd:
        assert gaitd.process.wait(30) == 4
        assert "rknn_init failed with RKNN_ERR_FAIL" in gaitd.log


def test_when_nothing_works_both_reasons_are_told(board: Board, tmp_path: Path, orders: Orders) -> None:
    lying = write_npu_bundle(tmp_path / "lying.gaitd", small_manifest(), golden_offset=1.0)
    orders.give("init -1")
    with board(lying, config=PATIENT) as gaitd:
        assert gaitd.process.wait(30) == 2
        error = gaitd.log.splitlines()[-1]
        assert "golden vector" in error
        assert "before that, rknn does not work here: rknn_init failed" in error
