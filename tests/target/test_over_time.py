"""What boards do wrong only after a while, each with the stand-in runtime below a real gaitd."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from npu_bundle import write_npu_bundle
from standin import models
from standin.orders import Orders

from gaitd.backends.rknn import RknnBackend
from gaitd.bundle.read import open_bundle
from gaitd.wire.generated import Mode
from gaitd.wire.messages import JointCommand
from support.bundles import small_manifest
from support.controller import Controller
from support.daemon import PATIENT, Gaitd, wait_until, wait_walking

Board = Callable[..., Gaitd]
GOLDEN_ROWS = 16
IN_SESSION = 4 * GOLDEN_ROWS
"""A run that is in a session for sure: the golden vectors are behind it, and the runs that keep it warm."""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    manifest = small_manifest()
    manifest["limits"]["repetition"] = {"max_joint_motion_rad": 0.1}
    return write_npu_bundle(tmp_path / "npu.gaitd", manifest)


def walking(gaitd: Gaitd) -> Controller:
    controller = gaitd.controller()
    controller.activate()
    wait_until(lambda: any(controller.walk(3)), what="the first command")
    return controller


def walk_until(controller: Controller, happened: Callable[[], object]) -> list[JointCommand]:
    """Walk on, the hip swinging with each answer, while another thread looks; the commands meanwhile."""
    commands: list[JointCommand] = []

    def step() -> None:
        hip = 0.2 if len(commands) % 2 else -0.2
        answer = controller.step(joint_position=np.array([hip, -0.65, 1.3], np.float32))
        commands.extend([answer] if answer is not None else [])

    wait_walking(step, happened, 20.0)
    return commands


def reason(gaitd: Gaitd) -> str:
    status = gaitd.status()
    return str(status["reason"]) if status["mode"] == "damping" else ""


def test_garbage_of_a_recurrent_model_after_some_steps_fails_its_golden_vectors(
    load: Callable[..., RknnBackend], orders: Orders
) -> None:
    """From reset on, in order: a fault that needs ten steps of hidden state is met."""
    file, model, _ = models.recurrent_policy()
    backend = load(file, model)
    good = []
    for seed in range(GOLDEN_ROWS):
        good.append(backend.infer(models.observation(seed)).copy())
        backend.commit()
    orders.give("from 11 garbage")
    again = load(file, model)
    for seed in range(GOLDEN_ROWS):
        answer = again.infer(models.observation(seed))
        again.commit()
        assert (abs(answer - good[seed]).max() > 1) == (seed >= 10)


def test_garbage_in_a_session_stays_within_the_limits_and_is_counted(
    board: Board, bundle: Path, orders: Orders
) -> None:
    orders.give(f"from {IN_SESSION} garbage")
    with board(bundle, config=PATIENT) as gaitd:
        controller = walking(gaitd.wait_ready())
        limits = open_bundle(bundle).manifest.limits.position
        commands = walk_until(
            controller, lambda: gaitd.metrics()['gaitd_joints_clamped_total{limit="position"}'] > 0
        )
        targets = np.array([command.joint_position for command in commands if command.mode is Mode.ACTIVE])
        assert targets.size
        assert (targets >= np.min(limits.min_rad) - 1e-6).all()
        assert (targets <= np.max(limits.max_rad) + 1e-6).all()


def test_minus_512_for_ever_is_refused_when_the_robot_moves(
    board: Board, bundle: Path, orders: Orders
) -> None:
    orders.give(f"from {IN_SESSION} value -512")
    with board(bundle, config=PATIENT) as gaitd:
        controller = walking(gaitd.wait_ready())
        walk_until(controller, lambda: reason(gaitd))
        assert reason(gaitd) == "action_invalid"
        assert gaitd.metrics()['gaitd_actions_rejected_total{why="action_repeated"}'] > 0


def test_late_answers_are_loud_before_anything_damps(board: Board, bundle: Path, orders: Orders) -> None:
    orders.give(f"from {IN_SESSION} jitter 30")
    with board(bundle, config=PATIENT) as gaitd:
        controller = walking(gaitd.wait_ready())
        walk_until(controller, lambda: "LATE COMMANDS" in gaitd.log)
        assert reason(gaitd) == ""
        assert gaitd.metrics()["gaitd_late_steps_total"] > 0


def test_an_npu_that_froze_at_a_workers_start_is_left_for_the_cpu(
    board: Board, bundle: Path, orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when another program's model on another core freezes both."""
    monkeypatch.setenv("GAITD_STANDIN_START_LIMIT_S", "3")
    orders.give("at 1 hang")
    with board(bundle, config=PATIENT) as gaitd:
        worker = gaitd.wait_ready().status()["worker"]
        assert worker["backend"] == "onnx"
        assert worker["fallback"] == "rknn does not work here: not ready after 3 s"


def test_an_npu_that_is_lost_in_a_session_damps_once_and_the_cpu_goes_on(
    board: Board, bundle: Path, orders: Orders
) -> None:
    """Its driver answers errors from then on, to the worker that runs and to the one that follows."""
    with board(bundle, config=PATIENT) as gaitd:
        controller = walking(gaitd.wait_ready())
        lost = gaitd.worker_pid()
        orders.give("from 1 error -1", "init -1")
        walk_until(controller, lambda: reason(gaitd))
        assert reason(gaitd) == "backend_error"
        gaitd.wait_worker(other_than=lost)
        assert gaitd.status()["worker"]["fallback"].startswith("rknn does not work here: rknn_init failed")
        controller.activate()
        commands = walk_until(controller, lambda: gaitd.status()["counters"]["steps"] > 100)
        assert {command.mode for command in commands[3:]} == {Mode.ACTIVE}


@pytest.mark.parametrize(("core", "backend"), [("0", "rknn"), ("1", "onnx")])
def test_a_core_that_computes_nonsense_is_not_walked_on(
    board: Board, bundle: Path, orders: Orders, core: str, backend: str
) -> None:
    orders.give("bad_core 2")
    with board(bundle, config=f'[daemon]\nnpu_core = "{core}"\n{PATIENT}') as gaitd:
        assert gaitd.wait_ready().status()["worker"]["backend"] == backend


def test_memory_that_grows_at_each_run_is_seen(board: Board, bundle: Path, orders: Orders) -> None:
    orders.give(f"from {IN_SESSION} leak 512")
    with board(bundle, config=PATIENT) as gaitd:
        controller = walking(gaitd.wait_ready())

        def resident() -> float:
            return gaitd.metrics()["gaitd_worker_resident_bytes"]

        before = resident()
        walk_until(controller, lambda: resident() > before + 20e6)
