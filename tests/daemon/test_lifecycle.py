"""Start, stop and start again, as the service manager and a person in a terminal see it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gaitd import __version__ as gaitd_version
from gaitd.ctl.cli import main as gaitctl
from gaitd.errors import ResourceError
from gaitd.wire.generated import Mode, Reason
from gaitd.wire.messages import JointCommand
from support.bundles import (
    constant_onnx,
    mlp_onnx,
    mlp_weights,
    small_manifest,
    write_small_bundle,
)
from support.controller import Controller
from support.daemon import PATIENT, Gaitd, wait_until


@pytest.fixture
def gaitd(small_bundle_path: Path) -> Iterator[Gaitd]:
    with Gaitd(small_bundle_path, config=PATIENT) as daemon:
        yield daemon.wait_ready()


def started(daemon: Gaitd, mode: Mode) -> Controller:
    """A controller that has brought gaitd into that mode."""
    controller = daemon.controller()
    if mode is not Mode.IDLE:
        controller.activate()
        wait_until(lambda: any(controller.walk(3)), what="the first command")
    if mode is Mode.DAMPING:
        controller.control.demand("damp", session=controller.session, reason=int(Reason.OPERATOR))
    return controller


def commands_until_the_end(daemon: Gaitd, controller: Controller) -> list[JointCommand]:
    """Everything that the controller is told while gaitd ends."""
    commands = []
    until_s = time.monotonic() + 5.0
    while daemon.process.poll() is None and time.monotonic() < until_s:
        command = controller.receive(0.01)
        if command is not None:
            commands.append(command)
    return commands


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("mode", list(Mode))
def test_the_end_is_damping_and_then_exit_code_0(gaitd: Gaitd, mode: Mode, number: signal.Signals) -> None:
    controller = started(gaitd, mode)
    worker = gaitd.worker_pid()
    begin_s = time.monotonic()
    gaitd.process.send_signal(number)
    commands = commands_until_the_end(gaitd, controller)
    assert gaitd.process.wait(2.0) == 0
    assert time.monotonic() - begin_s < 2.0
    last = commands[-1]
    # The first reason of a damping stays.
    reason = Reason.OPERATOR if mode is Mode.DAMPING else Reason.SHUTDOWN
    assert (last.mode, last.reason, last.session) == (Mode.DAMPING, reason, controller.session)
    np.testing.assert_array_equal(last.stiffness, np.zeros(3))
    assert "STOPPING=1" in gaitd.read_notified()
    assert not Path(f"/proc/{worker}").exists()
    assert "Traceback" not in gaitd.log


def test_the_end_comes_in_time_though_the_worker_hangs(gaitd: Gaitd) -> None:
    os.kill(gaitd.worker_pid(), signal.SIGSTOP)
    begin_s = time.monotonic()
    assert gaitd.stop() == 0
    assert time.monotonic() - begin_s < 2.0


def test_ready_is_said_once_and_after_the_selftest(gaitd: Gaitd) -> None:
    status = gaitd.status()
    assert status["worker"]["ready"]
    assert status["worker"]["selftest"]["count"] == 16
    assert status["worker"]["selftest"]["max_error"] < 1e-4
    assert status["policy"]["name"] == "small"
    assert gaitd.read_notified().count("READY=1") == 1


def test_status_lines_for_people_follow_the_modes(gaitd: Gaitd) -> None:
    def last_status() -> str:
        lines = [line for line in gaitd.read_notified() if line.startswith("STATUS=")]
        return lines[-1] if lines else ""

    wait_until(lambda: last_status().startswith("STATUS=IDLE; policy small 1.0.0"), what="IDLE")
    controller = started(gaitd, Mode.ACTIVE)
    wait_until(lambda: last_status().startswith("STATUS=ACTIVE; policy"), what="ACTIVE")
    controller.control.demand("damp", session=0, reason=int(Reason.OPERATOR), detail="a person\nREADY=0")
    wait_until(lambda: last_status().startswith("STATUS=DAMPING because of operator (a person READY=0)"))
    assert "READY=0" not in gaitd.read_notified()


def test_the_watchdog_is_fed_while_the_loop_moves(gaitd: Gaitd) -> None:
    def fed() -> int:
        return gaitd.read_notified().count("WATCHDOG=1")

    before = fed()
    wait_until(lambda: fed() >= before + 3, what="three times WATCHDOG=1")
    gaitd.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: "T (stopped)" in Path(f"/proc/{gaitd.process.pid}/status").read_text())
    before = fed()
    time.sleep(0.5)  # five times the interval at which it is fed
    assert fed() == before
    gaitd.process.send_signal(signal.SIGCONT)
    wait_until(lambda: fed() > before, what="WATCHDOG=1 again")


def test_a_long_walk_is_answered_state_by_state(gaitd: Gaitd) -> None:
    controller = started(gaitd, Mode.ACTIVE)
    answers = [answer for answer in controller.walk(100) if answer is not None]
    assert len(answers) >= 90  # a busy machine may take a few
    for answer in answers:
        assert (answer.mode, answer.reason, answer.session) == (Mode.ACTIVE, Reason.NONE, controller.session)
        assert np.isfinite(answer.joint_position).all()
        assert answer.publish_stamp_ns >= answer.state_stamp_ns
    seqs = [answer.seq for answer in answers]
    assert seqs == sorted(set(seqs))
    np.testing.assert_allclose(answers[-1].stiffness, [30.0, 31.0, 32.0], rtol=1e-6)
    np.testing.assert_allclose(answers[-1].damping, [1.0, 1.1, 1.2], rtol=1e-6)
    assert answers[-1].policy == controller.contract["policy"] == 0


def test_a_controller_with_another_joint_order_gets_the_same_by_name(gaitd: Gaitd) -> None:
    """The same stream of states, in two orders: the targets are the same, joint by joint."""
    values = {"hip": (0.05, 0.1), "thigh": (-0.6, -0.2), "knee": (1.2, 0.3)}

    def first_targets(joints: list[str]) -> dict[str, float]:
        controller = gaitd.controller(joints=joints)
        position, velocity = np.array([values[joint] for joint in joints], np.float32).T
        still = np.zeros(3, np.float32)

        def first_answer() -> JointCommand | None:
            controller.activate()
            return controller.step(joint_position=position, joint_velocity=velocity, angular_velocity=still)

        answer = wait_until(first_answer, what="an answer to the first state of a session")
        controller.control.demand("release", session=controller.session)
        return dict(zip(joints, answer.joint_position.tolist(), strict=True))

    assert first_targets(["hip", "thigh", "knee"]) == pytest.approx(first_targets(["knee", "hip", "thigh"]))


def test_release_is_idle_and_the_next_session_is_new(gaitd: Gaitd) -> None:
    controller = started(gaitd, Mode.ACTIVE)
    first = controller.session
    controller.control.demand("release", session=first)
    command = controller.wait_for(Mode.IDLE)
    assert (command.session, command.reason) == (0, Reason.NONE)
    np.testing.assert_allclose(command.damping, [2.5, 2.6, 2.7], rtol=1e-6)
    controller.activate()
    assert controller.session == first + 1
    answer = wait_until(controller.step, what="an answer")
    assert answer.session == first + 1


def test_killed_outright_it_starts_again_where_it_was_and_no_session_number_returns(
    small_bundle_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Gaitd(small_bundle_path, config=PATIENT) as first:
        first.wait_ready()
        controller = started(first, Mode.ACTIVE)
        worker = first.worker_pid()
        first.process.kill()
        first.process.wait()
        wait_until(lambda: not _alive(worker), what="the end of the worker, which has no parent any more")
        with Gaitd(small_bundle_path, runtime_dir=first.runtime_dir, config=PATIENT) as second:
            second.wait_ready()
            again = started(second, Mode.ACTIVE)
            # Runs are apart in the upper bits: a million sessions of one never meet another's.
            assert again.session >> 20 != controller.session >> 20
            old = controller.control.ask("release", session=controller.session)
            assert not old.ok


def _alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody has collected yet does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_second_gaitd_in_the_same_directory_is_refused(gaitd: Gaitd, small_bundle_path: Path) -> None:
    controller = started(gaitd, Mode.ACTIVE)
    options = ["run", "--bundle", str(small_bundle_path), "--runtime-dir", str(gaitd.runtime_dir)]
    command = [sys.executable, "-m", "gaitd.cli", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as second:
        while second.poll() is None:
            controller.step()
        assert second.returncode == ResourceError.exit_code
        assert second.stderr is not None
        assert_one_error(second.stderr.read(), f"another gaitd runs here (pid {gaitd.process.pid})")
    assert any(controller.walk(3))
    assert gaitd.status()["mode"] == "active"


def assert_one_error(log: str, words: str) -> None:
    errors = [line for line in log.splitlines() if "error: " in line]
    assert len(errors) == 1, log
    assert errors[0].startswith("gaitd: error: ")
    assert words in errors[0]
    assert "Traceback" not in log


def test_a_runtime_directory_that_cannot_be_is_refused(small_bundle_path: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with Gaitd(small_bundle_path, runtime_dir=tmp_path / "file" / "run") as daemon:
        assert daemon.process.wait(10) == 2
        assert_one_error(daemon.log, "--runtime-dir")


def test_the_runtime_directory_is_for_owner_and_group(gaitd: Gaitd) -> None:
    assert gaitd.runtime_dir.stat().st_mode & 0o777 == 0o750


WEIGHTS = mlp_weights(18, 3)
NAN_WEIGHTS = [*WEIGHTS[:2], np.full_like(WEIGHTS[2], np.nan)]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (mlp_onnx(NAN_WEIGHTS), "the model answers nan for joint 'hip' on golden vector 0"),
        (constant_onnx(18, np.zeros(3)), "the same answer for every input"),
        (mlp_onnx(mlp_weights(18, 3, seed=8)), "is above the tolerance 0.0001"),
        (
            mlp_onnx(mlp_weights(17, 3)),
            "tensor 'obs' is tensor(float) [1, 17], expected tensor(float) [1, 18]",
        ),
        (mlp_onnx(mlp_weights(18, 4)), "tensor 'action' is tensor(float) [1, 4], expected"),
        (
            mlp_onnx(WEIGHTS, output="actions"),
            "outputs are actions, but the manifest's model section says action",
        ),
    ],
    ids=["nan", "constant", "other weights", "observation size", "action size", "name"],
)
def test_a_model_that_is_not_what_the_bundle_says_never_gets_ready(
    tmp_path: Path, model: bytes, words: str
) -> None:
    with Gaitd(write_small_bundle(tmp_path / "small", model=model)) as daemon:
        assert daemon.process.wait(30) == 2
        assert_one_error(daemon.log, words)
        assert "READY=1" not in daemon.read_notified()


def test_a_bundle_changed_under_a_running_gaitd_is_not_taken_up(tmp_path: Path) -> None:
    """The policy that was checked is the policy that runs, also in the next worker."""
    path = write_small_bundle(tmp_path / "small")
    with Gaitd(path, config=PATIENT) as daemon:
        daemon.wait_ready()
        write_small_bundle(path, small_manifest(version="2.0.0"))
        os.kill(daemon.worker_pid(), signal.SIGKILL)
        wait_until(lambda: "the bundle was changed since gaitd started" in daemon.log, 30.0)
        assert not daemon.status()["worker"]["ready"]


def test_without_a_bundle_there_is_a_hint() -> None:
    command = [sys.executable, "-m", "gaitd.cli", "run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert_one_error(done.stderr, "no policy is active")


def test_gaitctl_shows_and_damps(gaitd: Gaitd, capsys: pytest.CaptureFixture[str]) -> None:
    controller = started(gaitd, Mode.ACTIVE)
    where = ["--runtime-dir", str(gaitd.runtime_dir)]
    assert gaitctl([*where, "status"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^mode        active for \d", text, re.MULTILINE)
    assert f"session     {controller.session} of " in text
    assert f"gaitd       {gaitd_version}, pid {gaitd.process.pid}\n" in text
    assert "refused     nothing\n" in text
    assert gaitctl([*where, "damp", "--detail", "enough for today"]) == 0
    assert gaitd.status()["reason"] == "operator"
    capsys.readouterr()
    assert gaitctl([*where, "status"]) == 0
    assert "enough for today" in capsys.readouterr().out
    controller.states.send(b"junk")
    wait_until(lambda: gaitd.status()["refused"] == {"malformed": 1}, what="a refusal")
    assert gaitctl([*where, "status"]) == 0
    assert "refused     malformed 1\n" in capsys.readouterr().out


@pytest.mark.parametrize("detail", ["x" * 50_000, "caf\udce9", "two\nlines", ""])
def test_no_detail_keeps_a_request_to_damp_from_gaitd(gaitd: Gaitd, detail: str) -> None:
    """It may hold a user's name, in whatever encoding that is."""
    assert gaitctl(["--runtime-dir", str(gaitd.runtime_dir), "damp", "--detail", detail]) == 0
    assert gaitd.status()["reason"] == "operator"


def test_status_lists_the_controllers_that_are_there(gaitd: Gaitd) -> None:
    here, gone = (gaitd.connect(name=name) for name in ("here", "gone"))
    for controller in (here, gone):
        controller.hello()
    assert gaitd.status()["controllers"] == ["here", "gone"]
    gone.close()
    wait_until(lambda: gaitd.status()["controllers"] == ["here"], what="the end of a connection")
    here.hello()


def test_the_log_says_which_gaitd_ran_what_for_whom(gaitd: Gaitd) -> None:
    controller = started(gaitd, Mode.ACTIVE)
    start = f"gaitd starts version={gaitd_version} policy=small policy_version=1.0.0 policy_id="
    assert start in gaitd.log
    words = rf"mode mode=active reason=none session={controller.session} controller=\S+ "
    wait_until(lambda: re.search(words, gaitd.log), what="the line")


def test_gaitctl_says_when_nobody_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gaitctl(["--runtime-dir", str(tmp_path), "status"]) == 5
    assert "no gaitd answers" in capsys.readouterr().err


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_the_service_status_says_that_no_worker_is_there_while_none_can_be_started(gaitd: Gaitd) -> None:
    """What starts the processes stands still, so nobody tells how the worker ended."""

    def told() -> str:
        return [line for line in gaitd.read_notified() if line.startswith("STATUS=")][-1]

    worker = gaitd.wait_worker()
    spawner = parent_of(worker)
    os.kill(spawner, signal.SIGSTOP)
    try:
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: "worker not ready (start 1)" in told(), what="a status without a worker")
    finally:
        os.kill(spawner, signal.SIGCONT)
    wait_until(lambda: "worker not ready (start 2)" in told(), what="the next start")
    wait_until(lambda: "not ready" not in told(), 30.0, what="a status with a worker")


def test_the_death_of_what_starts_the_processes_ends_gaitd_and_the_walk(gaitd: Gaitd) -> None:
    controller = started(gaitd, Mode.ACTIVE)
    os.kill(parent_of(gaitd.worker_pid()), signal.SIGKILL)
    commands = commands_until_the_end(gaitd, controller)
    assert commands[-1].mode is Mode.DAMPING
    assert gaitd.process.wait(5.0) == 6
    assert "the process that starts the others has ended" in gaitd.log


TRACER = """
import ctypes, os, sys
libc, seize = ctypes.CDLL(None, use_errno=True), 0x4206
failed = libc.ptrace(seize, int(sys.argv[1]), None, None)
print(os.strerror(ctypes.get_errno()) if failed else "traced", flush=True)
sys.stdin.read()
"""
"""A debugger that never waits for what it traces: a process that dies stays, and nobody can reap it."""


def test_a_dead_worker_that_a_debugger_holds_is_damping_and_is_named(gaitd: Gaitd) -> None:
    controller = started(gaitd, Mode.ACTIVE)
    worker = gaitd.worker_pid()
    tracing = [sys.executable, "-c", TRACER, str(worker)]
    with subprocess.Popen(tracing, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as tracer:
        assert tracer.stdout is not None
        if (said := tracer.stdout.readline().strip()) != "traced":
            pytest.skip(f"a debugger may not trace a process here: {said}")
        os.kill(worker, signal.SIGKILL)
        command = controller.wait_for(Mode.DAMPING, 1.0)
        assert (command.reason, command.session) == (Reason.WORKER_DIED, controller.session)
        words = f"worker is dead and not restarted: process {worker} cannot be reaped; a debugger holds it"
        wait_until(lambda: words in gaitd.log, what="a line about it")
        status = gaitd.status()["worker"]
        assert (status["pid"], status["ready"], status["starts"]) == (worker, False, 1)
        assert controller.control.ask("activate").ok is False
    gaitd.wait_worker(other_than=worker)
    assert gaitd.log.count(words) == 1
    controller.activate()
    wait_until(lambda: any(controller.walk(3)), what="the next session's first command")


def test_a_bundle_whose_name_is_no_text(small_bundle_path: Path, tmp_path: Path) -> None:
    """Linux takes any bytes for a name."""
    bundle = Path(shutil.copy(small_bundle_path, tmp_path / os.fsdecode(b"walk-\xff.gaitd")))
    recorder = f'[recorder]\ndirectory = "{tmp_path}/recordings"\n'
    with Gaitd(bundle, config=PATIENT + recorder) as daemon:
        worker = daemon.wait_ready().wait_worker()
        os.kill(worker, signal.SIGKILL)
        daemon.wait_worker(other_than=worker)
        bundle.write_bytes(b"not a bundle")
        os.kill(daemon.wait_worker(), signal.SIGKILL)
        wait_until(lambda: "walk- .gaitd: damaged" in daemon.log, 30.0, what="the worker's error")
    for module, arguments in (
        ("gaitd.cli", ["check", bundle]),
        (
            "gaitd.cli",
            ["run", "--bundle", small_bundle_path, "--runtime-dir", tmp_path / os.fsdecode(b"\xff")],
        ),
        ("gaitd.ctl.cli", ["install", "--store", tmp_path / "store", bundle]),
        ("gaitd.ctl.cli", ["--runtime-dir", tmp_path / os.fsdecode(b"\xff"), "status"]),
    ):
        done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1, done.stderr
