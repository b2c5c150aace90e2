"""All of gaitd on an emulated aarch64 user land: its NPU backend on the stand-in runtime, real sockets.

The control period is 60 ms, so that an emulator on a busy machine keeps up; deadlines are multiples of it.
"""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from npu_bundle import write_npu_bundle
from rootfs import TargetUnavailableError, ensure_rootfs, target_command
from standin.orders import Orders

from gaitd.wire.generated import Mode, Reason
from gaitd.wire.messages import JointCommand
from support.bundles import small_manifest
from support.controller import Controller

pytestmark = pytest.mark.target

START_S = 40.0
PERIOD_NS = 60_000_000
JOINTS = ["hip", "thigh", "knee"]


@dataclass
class TargetGaitd:
    """A gaitd in the emulated target, and the orders of the runtime below it."""

    process: subprocess.Popen[bytes]
    runtime_dir: Path
    log: Path
    orders: Orders
    workers: int = 1
    """How many workers must have reported ready: one, and one after each fault."""

    def wait_ready(self) -> None:
        until_s = time.monotonic() + START_S
        while self.log.read_text().count("worker ready") < self.workers:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until_s, self.log.read_text()
            time.sleep(0.05)

    @contextmanager
    def session(self) -> Iterator[Controller]:
        """A controller with a session that is under way, once the worker is there."""
        self.wait_ready()
        controller = Controller(self.runtime_dir, JOINTS)
        try:
            controller.hello()
            controller.activate()
            assert any(controller.walk(10))
            yield controller
            controller.control.demand("release", session=controller.session)
        finally:
            controller.close()


@pytest.fixture(scope="module")
def root() -> Path:
    try:
        return ensure_rootfs()
    except TargetUnavailableError as reason:
        pytest.skip(f"no emulated target: {reason}")


@pytest.fixture(scope="module")
def gaitd(root: Path) -> Iterator[TargetGaitd]:
    """One for all tests: starting Python in the emulator is what takes time here."""
    with target_gaitd(root, "rknn") as running:
        yield running


@contextmanager
def target_gaitd(root: Path, backend: str) -> Iterator[TargetGaitd]:
    with tempfile.TemporaryDirectory() as place:  # short: paths of sockets are limited
        shared = Path(place)
        write_npu_bundle(shared / "small.gaitd", small_manifest(control_period_s=PERIOD_NS / 1e9))
        orders = Orders(shared / "orders")
        log = shared / "log"
        command = target_command(
            root,
            *("/opt/python", "-m", "gaitd.cli", "run", "--bundle", "/run/gaitd/small.gaitd"),
            *("--runtime-dir", "/run/gaitd", "--metrics-port", "0", "--backend", backend),
            binds={shared: "/run/gaitd"},
            variables={"GAITD_STANDIN_CONTROL": "/run/gaitd/orders"},
        )
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
            try:
                yield TargetGaitd(process, shared, log, orders)
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def test_walks_on_the_npu(gaitd: TargetGaitd) -> None:
    with gaitd.session() as controller:
        answers = [answer for answer in controller.walk(20) if answer is not None]
        assert [answer.mode for answer in answers].count(Mode.ACTIVE) >= 15
    text = gaitd.log.read_text()
    assert "backend=rknn" in text
    assert "driver=0.9.8" in text


def test_walks_on_the_npu_through_the_vendors_package(root: Path) -> None:
    with target_gaitd(root, "rknnlite") as gaitd:
        with gaitd.session() as controller:
            answers = [answer for answer in controller.walk(20) if answer is not None]
            assert [answer.mode for answer in answers].count(Mode.ACTIVE) >= 15
            gaitd.orders.give("from 1 error -2")
            damping = next(filter(is_damping, (controller.step() for _ in range(30))), None)
            assert damping is not None
            assert damping.reason is Reason.BACKEND_ERROR
            gaitd.orders.give()
        assert "backend=rknnlite" in gaitd.log.read_text()


def is_damping(command: JointCommand | None) -> bool:
    return command is not None and command.mode is Mode.DAMPING


def test_late_runs_inside_the_period_are_answers(gaitd: TargetGaitd) -> None:
    with gaitd.session() as controller:
        gaitd.orders.give("from 1 late 15")
        answers = [answer for answer in controller.walk(10) if answer is not None]
        gaitd.orders.give()
        assert Mode.ACTIVE in [answer.mode for answer in answers]


def test_garbage_stays_inside_the_joint_limits(gaitd: TargetGaitd) -> None:
    with gaitd.session() as controller:
        gaitd.orders.give("from 1 garbage")
        answers = [answer for answer in controller.walk(10) if answer is not None]
        gaitd.orders.give()
    limits = small_manifest()["limits"]["position"]
    for answer in answers:
        if answer.mode is Mode.ACTIVE:
            assert np.all(answer.joint_position >= np.float32(limits["min_rad"]))
            assert np.all(answer.joint_position <= np.float32(limits["max_rad"]))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("hang", Reason.DEADLINE),
        ("crash", Reason.WORKER_DIED),
        ("error -1", Reason.BACKEND_ERROR),
        pytest.param("unwritten", Reason.BACKEND_ERROR, marks=pytest.mark.thorough),
    ],
)
def test_a_failing_npu_means_damping_and_a_fresh_worker(
    gaitd: TargetGaitd, fault: str, reason: Reason
) -> None:
    with gaitd.session() as controller:
        gaitd.orders.give(f"from 1 {fault}")
        last_ns = time.monotonic_ns()
        damping = None
        for _ in range(30):
            answer = controller.step()
            if answer is None:
                continue
            if answer.mode is Mode.DAMPING:
                damping = answer
                break
            last_ns = answer.publish_stamp_ns
        gaitd.orders.give()  # before the next worker proves itself
        gaitd.workers += 1
        assert damping is not None, gaitd.log.read_text()
        assert damping.reason is reason, gaitd.log.read_text()
        assert not damping.stiffness.any()
        assert damping.publish_stamp_ns - last_ns <= 8 * PERIOD_NS
        assert damping.session == controller.session
    with gaitd.session() as controller:  # a new session on a fresh worker
        modes = [answer.mode for answer in controller.walk(10) if answer is not None]
        assert Mode.ACTIVE in modes, gaitd.log.read_text()
