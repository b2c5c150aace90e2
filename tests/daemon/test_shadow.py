"""A shadow beside a robot that walks: it says what the candidate is worth, and nobody notices it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest

from gaitd.ctl.cli import main as gaitctl
from gaitd.ctl.record import record
from gaitd.shared.shadow import ShadowReport
from gaitd.system.background import NICE, OOM_SCORE
from gaitd.telemetry.files import RecordingFiles
from gaitd.telemetry.recording import read_recording
from gaitd.wire.generated import Mode
from support.controller import Controller
from support.daemon import PATIENT, Gaitd, wait_until
from support.shadows import exported_again, moving, one_scale_off

CPUS = sorted(os.sched_getaffinity(0))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the flight recorder writes."""
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture(scope="module")
def gaitd(small_bundle_path: Path, recordings: Path) -> Iterator[Gaitd]:
    """One with a core of its own for worker and guardian, where there are two."""
    config = f'{PATIENT}[recorder]\ndirectory = "{recordings}"\nwindow_s = 5\n'
    if len(CPUS) > 1:
        config += f"[realtime]\nworker_cpus = [{CPUS[0]}]\nguardian_cpus = [{CPUS[0]}]\n"
    with Gaitd(small_bundle_path, config=config) as daemon:
        yield daemon.wait_ready()


@pytest.fixture
def walker(gaitd: Gaitd) -> Iterator[Controller]:
    """A controller in a session."""
    controller = gaitd.controller(name="walker")
    controller.activate()
    walk(controller, 5)
    yield controller
    controller.control.ask("release", session=controller.session)
    controller.close()


def walk(controller: Controller, steps: int) -> list[float]:
    """Walk on; the ages of the answers, s. Fails when it was damped."""
    ages = []
    for _ in range(steps):
        command = controller.step(**moving(controller.seq + 1, controller.default_position()))
        if command is not None:
            assert command.mode is Mode.ACTIVE, command
            ages.append((command.publish_stamp_ns - command.state_stamp_ns) / 1e9)
    return ages


def walk_until(controller: Controller, condition: Callable[[], object], what: str) -> None:
    until_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until_s, f"{what} did not come"
        walk(controller, 10)


@contextmanager
def shadow(
    gaitd: Gaitd, candidate: Path, *options: str, module: str = "gaitd.ctl.cli"
) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        sys.executable,
        "-m",
        module,
        "--runtime-dir",
        str(gaitd.runtime_dir),
        "shadow",
        str(candidate),
    ]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.communicate()


def runs(gaitd: Gaitd) -> bool:
    return gaitd.metrics()["gaitd_shadow_runs"] == 1


def compared(gaitd: Gaitd) -> float:
    return gaitd.metrics().get("gaitd_shadow_steps_total", 0.0)


@pytest.mark.parametrize(
    ("make", "verdict", "code"), [(exported_again, "equivalent", 0), (one_scale_off, "different", 3)]
)
def test_beside_a_walk_it_is_called_what_it_is(
    gaitd: Gaitd,
    walker: Controller,
    recordings: Path,
    tmp_path: Path,
    make: Callable[..., Path],
    verdict: str,
    code: int,
) -> None:
    candidate = make(tmp_path / "candidate.gaitd", *([0] if make is one_scale_off else []))
    output = tmp_path / "report.json"
    with shadow(gaitd, candidate, "--output", str(output)) as process:
        walk_until(walker, lambda: runs(gaitd) and compared(gaitd) >= 220, "220 steps compared")
        files = RecordingFiles(recordings)
        recording = read_recording(record(gaitd.runtime_dir, files))
        page = gaitd.metrics()
        assert gaitctl(["--runtime-dir", str(gaitd.runtime_dir), "shadow", "--stop"]) == 0
        assert process.wait(20) == code
    report = msgspec.json.decode(output.read_bytes(), type=ShadowReport)
    assert report.verdict == verdict, report
    assert report.compared >= 220
    assert (report.not_finite, report.errors, report.one_only) == (0, 0, 0)
    assert page[f'gaitd_shadow_verdict{{verdict="{verdict}"}}'] == 1
    assert recording.shadow[-1].text.startswith(f"{verdict}: joint ")
    assert recording.shadow[-1].values["policy_id"] == report.policy_id


def test_it_is_in_nobodys_way(gaitd: Gaitd, walker: Controller, tmp_path: Path) -> None:
    with shadow(gaitd, exported_again(tmp_path / "again.gaitd")) as process:
        walk_until(walker, lambda: runs(gaitd), "the shadow")
        proc = Path(f"/proc/{process.pid}")
        threads = [int(path.name) for path in (proc / "task").iterdir()]
        assert (proc / "oom_score_adj").read_text().strip() == str(OOM_SCORE)
        limits = (proc / "limits").read_text().splitlines()
        (data,) = (line.split()[3] for line in limits if line.startswith("Max data size"))
        assert int(data) == 512 << 20
        for thread in threads:
            assert os.sched_getscheduler(thread) == os.SCHED_OTHER
            assert os.getpriority(os.PRIO_PROCESS, thread) >= NICE
            if len(CPUS) > 1:
                assert CPUS[0] not in os.sched_getaffinity(thread)
        for path in (proc / "fd").iterdir():
            if "memfd:gaitd" in os.readlink(path):  # noqa: PTH115
                flags = int((proc / "fdinfo" / path.name).read_text().split("flags:")[1].split()[0], 8)
                assert flags & os.O_ACCMODE == os.O_RDONLY
        maps = (proc / "maps").read_text().splitlines()
        mapped = [line.split()[1] for line in maps if "memfd:gaitd" in line]
        assert mapped
        assert not any("w" in rights for rights in mapped)


def test_nobody_notices_it_whatever_becomes_of_it(
    gaitd: Gaitd, walker: Controller, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In turns without one, with one, with one that is stopped, ten times too slow, and killed."""
    candidate = exported_again(tmp_path / "again.gaitd")
    epoch = gaitd.status()["session"]
    ages: dict[str, list[float]] = {}
    worse: dict[str, dict[str, float]] = {}

    def measure(name: str, steps: int = 150) -> None:
        before = gaitd.metrics()
        ages.setdefault(name, []).extend(walk(walker, steps))
        after = gaitd.metrics()
        rows = worse.setdefault(name, {"late": 0.0, "refused": 0.0, "steps": 0.0})
        rows["late"] += after["gaitd_late_steps_total"] - before["gaitd_late_steps_total"]
        rows["steps"] += after["gaitd_steps_total"] - before["gaitd_steps_total"]
        for key in after:
            if key.startswith(("gaitd_states_refused_total", "gaitd_actions_rejected_total")):
                rows["refused"] += after[key] - before.get(key, 0.0)

    for _ in range(2):
        measure("without")
        with shadow(gaitd, candidate) as process:
            walk_until(walker, lambda: runs(gaitd) and compared(gaitd) > 0, "a step")
            measure("beside")
            process.send_signal(signal.SIGSTOP)
            measure("stopped")
            process.kill()
            measure("killed")
        walk_until(walker, lambda: not runs(gaitd), "its end")
        measure("without")
        with shadow(gaitd, candidate, module="support.slow_shadow"):
            walk_until(
                walker,
                lambda: gaitd.metrics().get("gaitd_shadow_steps_missed_total", 0) > 100,
                "missed steps",
            )
            measure("ten times too slow")
    with capsys.disabled():
        print()
        for name, values in ages.items():
            p50, p99 = np.quantile(values, [0.5, 0.99]) * 1e3
            row = worse[name]
            print(
                f"{name:20} age p50 {p50:.2f} ms, p99 {p99:.2f} ms; {row['steps']:.0f} steps, "
                f"{row['late']:.0f} late, {row['refused']:.0f} refused"
            )
    status = gaitd.status()
    assert (status["mode"], status["session"]) == ("active", epoch)
    quiet = worse["without"]
    for name, row in worse.items():
        assert row["refused"] <= 2 * quiet["refused"] + 0.02 * row["steps"], name
        assert row["late"] <= 2 * quiet["late"] + 0.05 * row["steps"], name


def test_one_that_was_stopped_says_what_it_missed(gaitd: Gaitd, walker: Controller, tmp_path: Path) -> None:
    output = tmp_path / "report.json"
    with shadow(
        gaitd, exported_again(tmp_path / "again.gaitd"), "--json", "--output", str(output)
    ) as process:
        walk_until(walker, lambda: runs(gaitd) and compared(gaitd) >= 50, "50 steps")
        process.send_signal(signal.SIGSTOP)
        walk(walker, 600)  # the memory holds 5 s
        process.send_signal(signal.SIGCONT)
        before = compared(gaitd)
        walk_until(walker, lambda: compared(gaitd) >= before + 200, "200 steps more")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert process.returncode == 0
    report = msgspec.json.decode(output.read_bytes(), type=ShadowReport)
    assert report.verdict == "equivalent"
    assert report.missed >= 400
    assert report.left_out >= 1


def test_it_ends_with_gaitds_telemetry(gaitd: Gaitd, walker: Controller, tmp_path: Path) -> None:
    with shadow(gaitd, exported_again(tmp_path / "again.gaitd")) as process:
        walk_until(walker, lambda: runs(gaitd), "the shadow")
        telemetry = gaitd.status()["telemetry_pid"]
        os.kill(telemetry, signal.SIGKILL)
        walk_until(walker, lambda: process.poll() is not None, "its end")
    wait_until(
        lambda: gaitd.status()["telemetry_pid"] not in (0, telemetry), what="another telemetry process"
    )
    walk(walker, 5)
