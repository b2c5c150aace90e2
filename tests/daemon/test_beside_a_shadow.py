"""A shadow beside a robot that walks: it says what the candidate is worth, and nobody notices it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter, defaultdict
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
from support.bundles import small_manifest, write_small_bundle
from support.daemon import PATIENT, Gaitd, wait_until
from support.pacer import Pacer
from support.shadows import another_policy, exported_again, one_scale_off

CPUS = sorted(os.sched_getaffinity(0))


@pytest.fixture(scope="module")
def gaitd(small_bundle_path: Path, recordings: Path) -> Iterator[Gaitd]:
    """One with a core of its own for worker and guardian, where there are two."""
    config = f'{PATIENT}[recorder]\ndirectory = "{recordings}"\nwindow_s = 5\n'
    if len(CPUS) > 1:
        config += f"[realtime]\nworker_cpus = [{CPUS[0]}]\nguardian_cpus = [{CPUS[0]}]\n"
    with Gaitd(small_bundle_path, config=config) as daemon:
        yield daemon.wait_ready()


@pytest.fixture
def walker(gaitd: Gaitd, tmp_path: Path) -> Iterator[Pacer]:
    """A controller in a session, which walks on; whatever happens, it must not be damped."""
    with Pacer(gaitd.runtime_dir, tmp_path) as pacer:
        yield pacer
    assert gaitd.status()["mode"] == "idle", gaitd.log


@contextmanager
def shadow(
    gaitd: Gaitd, candidate: Path, *options: str, module: str = "gaitd.ctl.cli", stderr: int | None = None
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
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=stderr)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.communicate()


def until(walker: Pacer, condition: Callable[[], object], what: str) -> None:
    """Walk on until it is so."""
    for _ in range(1000):
        if condition():
            return
        walker.walk(5)
    raise AssertionError(f"{what} did not come")


def compared(gaitd: Gaitd) -> float:
    """Steps that the shadow that runs has compared; -1 while none has told."""
    page = gaitd.metrics()
    return page.get("gaitd_shadow_steps_total", -1.0) if page["gaitd_shadow_runs"] else -1.0


@pytest.mark.parametrize(
    ("make", "verdict", "code"), [(exported_again, "equivalent", 0), (one_scale_off, "different", 3)]
)
def test_beside_a_walk_it_is_called_what_it_is(
    gaitd: Gaitd,
    walker: Pacer,
    recordings: Path,
    tmp_path: Path,
    make: Callable[..., Path],
    verdict: str,
    code: int,
) -> None:
    candidate = make(tmp_path / "candidate.gaitd", *([0] if make is one_scale_off else []))
    output = tmp_path / "report.json"
    with shadow(gaitd, candidate, "--output", str(output)) as process:
        until(walker, lambda: compared(gaitd) >= 220, "220 steps compared")
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


def test_it_is_in_nobodys_way(gaitd: Gaitd, walker: Pacer, tmp_path: Path) -> None:
    with shadow(gaitd, exported_again(tmp_path / "again.gaitd")) as process:
        until(walker, lambda: compared(gaitd) > 0, "a step")
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
        opened = [os.readlink(path) for path in (proc / "fd").iterdir()]  # noqa: PTH115
        assert sum(what.startswith("socket:") for what in opened) == 1, "telemetry's desk, and no channel"
        for path in (proc / "fd").iterdir():
            if "memfd:gaitd" in os.readlink(path):  # noqa: PTH115
                flags = int((proc / "fdinfo" / path.name).read_text().split("flags:")[1].split()[0], 8)
                assert flags & os.O_ACCMODE == os.O_RDONLY
        maps = (proc / "maps").read_text().splitlines()
        mapped = [line.split()[1] for line in maps if "memfd:gaitd" in line]
        assert mapped
        assert not any("w" in rights for rights in mapped)


def test_a_candidate_that_is_none_leaves_the_place_free(
    gaitd: Gaitd, walker: Pacer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be compared says why; a second one is refused while one runs."""

    def refused(candidate: Path) -> tuple[int, str]:
        with shadow(gaitd, candidate, stderr=subprocess.PIPE) as process:
            _, error = process.communicate(timeout=30)
            return process.returncode, error.decode()

    with shadow(gaitd, exported_again(tmp_path / "before.gaitd", version="1.0.9")):
        until(walker, lambda: compared(gaitd) >= 0, "the shadow")
    until(walker, lambda: compared(gaitd) < 0, "its end")
    broken = tmp_path / "broken.gaitd"
    broken.write_bytes(b"no bundle")
    assert refused(broken)[0] == 2
    other = write_small_bundle(tmp_path / "other.gaitd", small_manifest(robot="biped"))
    code, error = refused(other)
    assert code == 2
    assert "is for robot 'biped' with a control period of 0.012 s, small is for 'tripod'" in error
    assert "broken.gaitd" not in gaitd.log
    assert gaitctl(["--runtime-dir", str(gaitd.runtime_dir), "shadow"]) == 0
    assert "small 1.0.9 ran: " in capsys.readouterr().out, "what the one before said is kept"
    candidate = exported_again(tmp_path / "again.gaitd")
    with shadow(gaitd, candidate):
        until(walker, lambda: compared(gaitd) >= 0, "the shadow")
        code, error = refused(candidate)
        assert code == 3
        assert "again.gaitd is followed as a shadow already; gaitctl shadow --stop ends that" in error
        assert compared(gaitd) >= 0


STAGES = ("gaitd_state_waiting_seconds", "gaitd_inference_seconds", "gaitd_answer_seconds")
REFUSALS = ("gaitd_states_refused_total", "gaitd_actions_rejected_total")


class Turn:
    """What the holder did in the turns of one kind."""

    def __init__(self) -> None:
        self.ages: list[float] = []
        self.counts: Counter[str] = Counter()

    def measure(self, gaitd: Gaitd, walker: Pacer, steps: int) -> None:
        before = gaitd.metrics()
        self.ages += walker.walk(steps)
        for name, value in gaitd.metrics().items():
            self.counts[name] += value - before.get(name, 0.0)  # type: ignore[assignment]

    @property
    def steps(self) -> float:
        return self.counts["gaitd_steps_total"]

    @property
    def late(self) -> float:
        return self.counts["gaitd_late_steps_total"]

    @property
    def refused(self) -> float:
        return sum(count for name, count in self.counts.items() if name.startswith(REFUSALS))

    def __str__(self) -> str:
        p50, p99 = np.quantile(self.ages, [0.5, 0.99]) * 1e3
        inside_ms = sum(self.counts[f"{stage}_sum"] for stage in STAGES) / self.steps * 1e3
        return (
            f"age p50 {p50:.2f} ms, p99 {p99:.2f} ms, of it {inside_ms:.2f} ms in the worker; "
            f"{self.steps:.0f} steps, {self.late:.0f} late, {self.refused:.0f} refused"
        )


def test_nobody_notices_it_whatever_becomes_of_it(
    gaitd: Gaitd, walker: Pacer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In turns without one, with one, with one that is stopped, killed, and ten times too slow."""
    candidate = exported_again(tmp_path / "again.gaitd")
    session = gaitd.status()["session"]
    turns: defaultdict[str, Turn] = defaultdict(Turn)
    for _ in range(2):
        turns["without"].measure(gaitd, walker, 200)
        with shadow(gaitd, candidate) as process:
            until(walker, lambda: compared(gaitd) > 0, "a step")
            turns["beside"].measure(gaitd, walker, 200)
            process.send_signal(signal.SIGSTOP)
            turns["stopped"].measure(gaitd, walker, 200)
            process.kill()
            turns["killed"].measure(gaitd, walker, 200)
        until(walker, lambda: compared(gaitd) < 0, "its end")
        turns["without"].measure(gaitd, walker, 200)
        with shadow(gaitd, candidate, module="support.slow_shadow"):
            until(
                walker,
                lambda: gaitd.metrics().get("gaitd_shadow_steps_missed_total", 0) > 100,
                "missed steps",
            )
            turns["ten times too slow"].measure(gaitd, walker, 200)
    with capsys.disabled():
        print()
        for name, turn in turns.items():
            print(f"{name:20} {turn}")
    status = gaitd.status()
    assert (status["mode"], status["session"]) == ("active", session)
    quiet = turns["without"]
    for name, turn in turns.items():
        assert turn.refused <= 2 * quiet.refused + 0.02 * turn.steps, name
        assert turn.late <= 2 * quiet.late + 0.05 * turn.steps, name


def test_one_that_was_stopped_says_what_it_missed(gaitd: Gaitd, walker: Pacer, tmp_path: Path) -> None:
    output = tmp_path / "report.json"
    with shadow(
        gaitd, exported_again(tmp_path / "again.gaitd"), "--json", "--output", str(output)
    ) as process:
        until(walker, lambda: compared(gaitd) >= 50, "50 steps")
        process.send_signal(signal.SIGSTOP)
        walker.walk(600)  # the memory holds 5 s
        process.send_signal(signal.SIGCONT)
        before = compared(gaitd)
        until(walker, lambda: compared(gaitd) >= before + 200, "200 steps more")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert process.returncode == 3
    report = msgspec.json.decode(output.read_bytes(), type=ShadowReport)
    assert report.verdict == "inconclusive"
    assert "the shadow was not given the CPU" in report.why
    assert report.missed >= 400
    assert report.left_out >= 1


def test_it_ends_with_gaitds_telemetry(gaitd: Gaitd, walker: Pacer, tmp_path: Path) -> None:
    with shadow(gaitd, exported_again(tmp_path / "again.gaitd")) as process:
        until(walker, lambda: compared(gaitd) >= 0, "the shadow")
        telemetry = gaitd.status()["telemetry_pid"]
        os.kill(telemetry, signal.SIGKILL)
        until(walker, lambda: process.poll() is not None, "its end")
    wait_until(
        lambda: gaitd.status()["telemetry_pid"] not in (0, telemetry), what="another telemetry process"
    )
    walker.walk(5)


def test_it_goes_on_when_the_standby_does(small_bundle_path: Path, tmp_path: Path) -> None:
    output = tmp_path / "report.json"
    with Gaitd(small_bundle_path, config=PATIENT + '[standby]\nmode = "on"\n') as gaitd:
        gaitd.wait_ready()
        wait_until(lambda: gaitd.status()["standby"]["ready"], 30, "the standby")
        candidate = exported_again(tmp_path / "again.gaitd")
        with (
            Pacer(gaitd.runtime_dir, tmp_path) as walker,
            shadow(gaitd, candidate, "--json", "--output", str(output)) as process,
        ):
            until(walker, lambda: compared(gaitd) >= 50, "50 steps")
            os.kill(gaitd.worker_pid(), signal.SIGKILL)
            before = compared(gaitd)
            until(walker, lambda: compared(gaitd) >= before + 200, "200 steps more")
            assert gaitd.status()["failover"] != ""
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)
    report = msgspec.json.decode(output.read_bytes(), type=ShadowReport)
    assert report.verdict == "equivalent", report
    assert max(report.joints["knee"]) < 1e-5
    assert report.one_only == 0


def test_only_steps_of_the_policy_that_it_is_beside_count(tmp_path: Path) -> None:
    """Walk, trot, walk: of a candidate that is the first policy again, neither trot nor the way back is held
    against it; nor over the recording of that walk."""
    walk = write_small_bundle(tmp_path / "walk.gaitd", small_manifest(name="walk"))
    trot = another_policy(tmp_path / "trot.gaitd", name="trot")
    candidate = exported_again(tmp_path / "again.gaitd", small_manifest(name="walk"))
    output, recordings = tmp_path / "report.json", tmp_path / "recordings"
    config = f'{PATIENT}[switch]\nblend_steps = 40\n[recorder]\ndirectory = "{recordings}"\nwindow_s = 30\n'
    with Gaitd(walk, "--bundle", str(trot), config=config) as gaitd:
        gaitd.wait_ready()
        wait_until(lambda: all(policy["ready"] for policy in gaitd.status()["policies"]), 30, "both workers")
        ctl = ["--runtime-dir", str(gaitd.runtime_dir)]
        with (
            Pacer(gaitd.runtime_dir, tmp_path) as walker,
            shadow(gaitd, candidate, "--json", "--output", str(output)) as process,
        ):
            until(walker, lambda: compared(gaitd) >= 110, "110 steps")
            assert gaitctl([*ctl, "switch", "trot"]) == 0
            walker.walk(60)
            assert gaitctl([*ctl, "switch", "walk"]) == 0
            before = compared(gaitd)
            until(walker, lambda: compared(gaitd) >= before + 100, "100 steps more")
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)
        recording = record(gaitd.runtime_dir, RecordingFiles(recordings))
    report = msgspec.json.decode(output.read_bytes(), type=ShadowReport)
    assert (process.returncode, report.verdict) == (0, "equivalent"), report
    assert report.another_policy >= 50
    assert report.left_out >= 40
    assert gaitctl(["shadow", "--recording", str(recording), str(candidate), "--output", str(output)]) == 0
    report = msgspec.json.decode(output.read_bytes(), type=ShadowReport)
    assert report.verdict == "equivalent", report
    assert report.another_policy >= 50
    assert report.missed == 0
