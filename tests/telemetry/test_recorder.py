"""The flight recorder: what damping leaves behind, on the disk and nowhere else."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import socket
import stat
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gaitd.backends import open_backend
from gaitd.bundle.read import open_bundle
from gaitd.ctl.cli import main as gaitctl
from gaitd.ctl.explain.account import Account
from gaitd.ctl.replay.compare import compare
from gaitd.ctl.replay.run import Replayer
from gaitd.errors import InputError
from gaitd.shared.events import Event, EventKind
from gaitd.shared.frame_ring import message_of
from gaitd.shared.guard_memory import FailoverKind, GuardMemory, SessionSetup
from gaitd.shared.launch import TelemetryLaunch
from gaitd.shared.memory import create_memory
from gaitd.shared.step_ring import RECORDS, StepRing, StepTimes
from gaitd.shared.telemetry_memory import TelemetryMemory
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.system.config import Metrics, Recorder
from gaitd.telemetry.recorder import SETTLE_NS, FlightRecorder
from gaitd.telemetry.recording import PIECE, Recording, RecordingWriter, ShadowSample, read_recording
from gaitd.telemetry.session_note import SessionNote
from gaitd.telemetry.snapshot import Memories
from gaitd.wire.generated import Mode, Reason
from support.controller import Controller
from support.daemon import PATIENT, Gaitd, wait_until
from support.in_time import in_time

JOINTS = ["hip", "thigh", "knee"]
DIM = 18
MANIFEST = b"name: small\n"


class Board:
    """What guardian and worker leave in their memory for the recorder."""

    def __init__(self) -> None:
        self.guard = GuardMemory.create(len(JOINTS))
        self.progress = TelemetryMemory.create(len(JOINTS)).words
        self.worker = WorkerMemory(WorkerMemory.create(len(JOINTS), DIM).fd, writable=True)
        self.workers = [self.worker]
        self.steps = self.worker.steps

    def recorder(self, directory: Path, keep: int = 20, after_s: float = 0.0) -> FlightRecorder:
        launch = TelemetryLaunch(
            guard_memory_fd=-1,
            worker_memory_fds=[],
            telemetry_memory_fd=-1,
            manifest_fd=create_memory("manifest", len(MANIFEST), MANIFEST),
            metrics=Metrics(),
            recorder=Recorder(directory=str(directory), keep=keep, after_s=after_s),
            period_s=0.012,
            deadline_s=0.06,
            state_max_age_s=0.024,
            policy={"id": "0123456789abcdef", "name": "small", "version": "1.0.0"},
            backends=["onnx"],
            bundle="small.gaitd",
            joints=JOINTS,
            runtime_dir=b"",
            hot_cpus=[],
        )
        return FlightRecorder(Memories(self.guard, self.workers, launch), self.progress)

    def add_steps(self, count: int, ring: StepRing | None = None) -> None:
        """``ring``: another worker's."""
        steps = ring or self.steps
        for seq in range(1, count + 1):
            values = [np.zeros(size, np.float32) for size in (3, 4, 3, 3, 3, 3, 3, 3, 3, 3, DIM)]
            values[1][0] = 1
            values[7][:] = np.float32(0.1) * seq
            steps.compose(StepTimes(2**59 + 1, 1, seq, seq, seq, seq, seq), tuple(values))
            steps.stage()
            steps.mark_sent(seq)

    def damp(self, recorder: FlightRecorder, reason: Reason = Reason.DEADLINE) -> None:
        self.begin_damping(reason)
        recorder.finish()

    def fail_over(self) -> None:
        self.guard.events.write(Event(at_ns=time.monotonic_ns(), kind=EventKind.FAILOVER))
        self.guard.words.row("failovers")[FailoverKind.DIED] += 1

    def begin_damping(self, reason: Reason, session: int = 0) -> None:
        self.guard.events.write(
            Event(
                at_ns=time.monotonic_ns(),
                kind=EventKind.MODE,
                session=session,
                code=Mode.DAMPING,
                reason=reason,
            )
        )
        self.guard.words.row("damping_by_reason")[reason] += 1


def written(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_damping_is_written_as_it_was(tmp_path: Path) -> None:
    board = Board()
    recorder = board.recorder(tmp_path / "new")
    board.add_steps(7)
    recorder.finish()
    assert not (tmp_path / "new").exists()
    board.damp(recorder)
    assert written(tmp_path / "new") == ["gaitd-000001-deadline.mcap"]
    recording = read_recording(tmp_path / "new/gaitd-000001-deadline.mcap")
    expected, _ = board.steps.read_since(0)
    for name in recording.records.dtype.names or ():
        np.testing.assert_array_equal(recording.records[name], expected[name])
    info = recording.info
    assert (info.cause, info.joints, info.period_s) == ("deadline", JOINTS, 0.012)
    assert (info.policy_id, info.policy, info.bundle) == ("0123456789abcdef", "small 1.0.0", "small.gaitd")


def test_a_damping_while_no_recorder_ran_is_written_by_the_next_one(tmp_path: Path) -> None:
    board = Board()
    board.recorder(tmp_path).finish()
    board.add_steps(7)
    board.begin_damping(Reason.DEADLINE)
    killed = board.recorder(tmp_path)
    killed.look()  # found, and not written yet
    board.recorder(tmp_path).finish()
    assert written(tmp_path) == ["gaitd-000001-deadline.mcap"]
    board.recorder(tmp_path).finish()
    assert written(tmp_path) == ["gaitd-000001-deadline.mcap"], "it is written once"


def test_a_failover_is_written_while_the_robot_walks_on(tmp_path: Path) -> None:
    board = Board()
    recorder = board.recorder(tmp_path, after_s=0.2)
    board.guard.words["mode"] = Mode.ACTIVE
    board.add_steps(7)
    board.fail_over()
    recorder.look()
    board.add_steps(3)
    recorder.look()
    assert not list(tmp_path.iterdir()), "what comes after it belongs to it"
    wait_until(lambda: [recorder.look()] and list(tmp_path.iterdir()), what="the recording")
    assert written(tmp_path) == ["gaitd-000001-failover.mcap"]
    assert len(read_recording(tmp_path / "gaitd-000001-failover.mcap").records) == 10
    board.recorder(tmp_path).finish()
    assert len(written(tmp_path)) == 1, "it is written once"


def test_a_damping_soon_after_a_failover_is_in_one_file_with_it(tmp_path: Path) -> None:
    board = Board()
    recorder = board.recorder(tmp_path)
    board.add_steps(7)
    board.fail_over()
    recorder.look()
    board.damp(recorder, Reason.WORKER_DIED)
    assert written(tmp_path) == ["gaitd-000001-worker_died.mcap"]


def test_a_damping_behind_the_last_step_of_a_file_has_a_file_of_its_own(tmp_path: Path) -> None:
    """The failover's was written between the last step and the damping."""
    board = Board()
    recorder = board.recorder(tmp_path)
    board.add_steps(7)
    board.fail_over()
    wait_until(lambda: [recorder.look()] and list(tmp_path.iterdir()), what="the recording")
    board.begin_damping(Reason.WORKER_DIED, session=2**59 + 1)
    recorder.finish()
    assert written(tmp_path) == ["gaitd-000001-failover.mcap", "gaitd-000002-worker_died.mcap"]
    kinds = [event.kind for event in read_recording(tmp_path / written(tmp_path)[1]).events]
    assert kinds[-1] is EventKind.MODE


def test_a_damping_while_a_failovers_file_became_due_has_a_file_of_its_own(tmp_path: Path) -> None:
    """It happened after the last look, and the failover's file, now written, holds it already."""
    board = Board()
    recorder = board.recorder(tmp_path)
    board.add_steps(7)
    board.fail_over()
    recorder.look()
    time.sleep(SETTLE_NS / 1e9)  # it is due
    board.begin_damping(Reason.WORKER_DIED, session=2**59 + 1)
    recorder.look()
    recorder.finish()
    assert written(tmp_path) == ["gaitd-000001-failover.mcap", "gaitd-000002-worker_died.mcap"]
    account = Account.of(tmp_path / written(tmp_path)[1], read_recording(tmp_path / written(tmp_path)[1]))
    assert account.verdict.reason == "worker_died"


def test_what_somebody_wants_after_a_failover_does_not_hide_it(tmp_path: Path) -> None:
    board = Board()
    recorder = board.recorder(tmp_path, after_s=30)
    board.add_steps(7)
    board.fail_over()
    recorder.look()
    board.add_steps(3)
    board.damp(recorder, Reason.OPERATOR)
    assert written(tmp_path) == ["gaitd-000001-failover.mcap"], "all that there is"
    board.add_steps(1)
    board.damp(recorder, Reason.OPERATOR)
    assert written(tmp_path)[1:] == ["gaitd-000002-operator.mcap"]


def test_a_failover_while_no_recorder_ran_is_written_by_the_next_one(tmp_path: Path) -> None:
    board = Board()
    board.recorder(tmp_path).finish()
    board.add_steps(7)
    board.fail_over()
    board.recorder(tmp_path).look()  # it is killed before it is due
    board.recorder(tmp_path).finish()
    assert written(tmp_path) == ["gaitd-000001-failover.mcap"]


def test_a_full_ring_gives_its_last_steps(tmp_path: Path) -> None:
    board = Board()
    recorder = board.recorder(tmp_path)
    board.add_steps(RECORDS + 10)
    board.damp(recorder)
    seqs = read_recording(tmp_path / "gaitd-000001-deadline.mcap").records["seq"]
    np.testing.assert_array_equal(seqs, np.arange(11, RECORDS + 11))


def test_a_recording_takes_no_more_memory_the_longer_it_is(tmp_path: Path) -> None:
    board = Board()
    empty = board.recorder(tmp_path)._memories.begin("request")
    peaks = []
    for count in (2 * PIECE, 8 * PIECE):
        records = np.zeros(count, board.steps.dtype)
        records["sent_ns"] = 10**12 + 2_000_000 * np.arange(count)
        records["seq"] = np.arange(count)
        with (tmp_path / f"{count}.mcap").open("wb") as stream:
            writer = RecordingWriter(stream, empty)
            tracemalloc.start()
            writer.add(replace(empty, records=records))
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            writer.finish()
        assert read_recording(tmp_path / f"{count}.mcap").records["seq"].tolist() == list(range(count))
    assert peaks[1] < 1.5 * peaks[0] < 8 << 20


def test_two_workers_are_in_one_file_and_what_both_heard_is_told_once(tmp_path: Path) -> None:
    board = Board()
    standby = WorkerMemory(WorkerMemory.create(len(JOINTS), DIM).fd, writable=True)
    board.workers.append(standby)
    recorder = board.recorder(tmp_path)
    board.worker.frames.add([(b"idle", 1), (b"idle too", 2)], 0, 0)
    standby.frames.add([(b"idle", 2), (b"idle too", 3)], 0, 0)
    board.add_steps(3)
    for number in range(3):
        board.worker.frames.add([(b"first %d" % number, 10 + number)], 10 + number, 7)
        standby.frames.add([(b"first %d" % number, 11 + number)], 0, 0)
    standby.frames.add([(b"taken over", 20)], 0, 0)
    standby.frames.add([(b"taken over", 20)], 21, 8)
    board.worker.frames.add([(b"then", 31)], 0, 0)  # of a fresh worker
    standby.frames.add([(b"then", 30)], 30, 8)
    board.add_steps(2, standby.steps)
    board.damp(recorder)
    recording = read_recording(tmp_path / "gaitd-000001-deadline.mcap")
    assert len(recording.records) == 5
    told = [(message_of(frame), int(frame["epoch"])) for frame in recording.frames]
    assert told == [
        (b"idle", 0),
        (b"idle too", 0),
        *((b"first %d" % number, 7) for number in range(3)),
        (b"taken over", 8),
        (b"then", 8),
    ]
    board.damp(recorder)
    assert len(written(tmp_path)) == 1, "nothing new"
    standby.frames.add([(b"and then", 40)], 41, 8)
    board.damp(recorder)
    assert len(written(tmp_path)) == 2


def test_only_the_newest_stay_and_nothing_is_written_twice(tmp_path: Path) -> None:
    board = Board()
    recorder = board.recorder(tmp_path, keep=2)
    (tmp_path / "gaitd-000009-limit.mcap").write_bytes(b"old")
    (tmp_path / "gaitd-000008-limit.mcap.part").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("not ours")
    recorder.recover()
    for reason in (Reason.DEADLINE, Reason.LIMIT):
        board.add_steps(1)
        board.damp(recorder, reason)
        board.damp(recorder, reason)
    assert written(tmp_path) == ["gaitd-000010-deadline.mcap", "gaitd-000011-limit.mcap", "notes.txt"]


def test_what_was_done_on_purpose_pushes_out_no_recording_of_a_fault(tmp_path: Path) -> None:
    board = Board()
    recorder = board.recorder(tmp_path, keep=1)
    for reason in (Reason.LIMIT, Reason.OPERATOR, Reason.SHUTDOWN):
        board.add_steps(1)
        board.damp(recorder, reason)
    assert written(tmp_path) == ["gaitd-000001-limit.mcap", "gaitd-000003-shutdown.mcap"]


def test_a_directory_that_cannot_be_written_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    board = Board()
    (tmp_path / "file").write_text("in the way")
    recorder = board.recorder(tmp_path / "file")
    board.add_steps(1)
    board.damp(recorder)
    lines = capfd.readouterr().err.splitlines()
    assert lines == [f"gaitd-telemetry: recording not written to {tmp_path / 'file'}: File exists"]


def test_what_cannot_be_removed_keeps_no_other_recording(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gaitd-000001-deadline.mcap").mkdir()
    board = Board()
    recorder = board.recorder(tmp_path, keep=2)
    for _ in range(4):
        board.add_steps(1)
        board.damp(recorder)
    left = [f"gaitd-{number:06d}-deadline.mcap" for number in (1, 4, 5)]
    assert written(tmp_path) == left
    assert "not written" not in capfd.readouterr().err


def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    board = Board()
    recorder = board.recorder(tmp_path)
    board.add_steps(1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        board.damp(recorder)
    lines = capfd.readouterr().err.splitlines()
    assert lines == [f"gaitd-telemetry: recording not written to {tmp_path}: No space left on device"]
    assert written(tmp_path) == []
    board.damp(recorder)
    assert written(tmp_path) == ["gaitd-000001-deadline.mcap"]


def test_what_is_no_recording_is_refused_in_one_line(tmp_path: Path) -> None:
    board = Board()
    board.add_steps(50)
    recorder = board.recorder(tmp_path)
    board.damp(recorder)
    whole = (tmp_path / "gaitd-000001-deadline.mcap").read_bytes()
    broken = tmp_path / "broken.mcap"
    for content in (whole[:0], whole[:40], whole[:200], b"something else entirely"):
        broken.write_bytes(content)
        with pytest.raises(InputError, match=r"broken\.mcap: ") as caught:
            read_recording(broken)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"none\.mcap: cannot be read: No such file"):
        read_recording(tmp_path / "none.mcap")


def test_what_a_killed_recorder_had_written_is_saved(tmp_path: Path) -> None:
    board = Board()
    board.add_steps(2000)
    recorder = board.recorder(tmp_path)
    board.damp(recorder)
    (path,) = tmp_path.iterdir()
    half = tmp_path / "gaitd-000007-limit.mcap.part"
    half.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    in_the_making = tmp_path / "gaitd-000008-limit.mcap.part"
    with in_the_making.open("wb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        recorder.recover()
    assert written(tmp_path) == [path.name, "gaitd-000007-limit.mcap", in_the_making.name]
    saved = read_recording(tmp_path / "gaitd-000007-limit.mcap")
    assert not saved.whole
    assert 500 < len(saved.records) < 1900


def test_what_others_put_where_a_recording_is_made_costs_none(tmp_path: Path) -> None:
    directory, victim = tmp_path / "recordings", tmp_path / "victim"
    victim.write_text("precious")
    directory.mkdir()
    os.mkfifo(directory / "gaitd-000001-limit.mcap.part")
    (directory / "gaitd-000002-limit.mcap.part").symlink_to(victim)
    (directory / "gaitd-000003-limit.mcap.part").mkdir()
    board = Board()
    board.add_steps(3)
    recorder = board.recorder(directory)
    board.damp(recorder)
    half = directory / "gaitd-000005-limit.mcap.part"
    (directory / "gaitd-000004-deadline.mcap").rename(half)
    with in_time(10):
        recorder.recover()
    assert written(directory) == ["gaitd-000003-limit.mcap.part", "gaitd-000005-limit.mcap"]
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_what_others_put_where_the_note_is_made_is_replaced(tmp_path: Path, kind: str) -> None:
    victim, place, board = tmp_path / "victim", tmp_path / "active-session.json", Board()
    victim.write_text("precious")
    if kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to(victim)
    board.guard.write_session(SessionSetup(7, 1, 0, False, np.arange(len(JOINTS))))
    board.guard.words["mode"] = Mode.ACTIVE
    with in_time(10):
        SessionNote(board.guard, tmp_path, "policy small").look()
    assert stat.S_ISREG(place.lstat().st_mode)
    assert '"session":7' in place.read_text()
    assert victim.read_text() == "precious"


def test_a_pipe_is_no_note_of_a_gaitd_that_died(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "active-session.json"
    os.mkfifo(place)
    with in_time(10):
        assert SessionNote(Board().guard, tmp_path, "policy small").report_lost() is None
    assert "active-session.json: is a named pipe; a plain file is needed; it goes" in capfd.readouterr().err
    assert not place.exists()


@pytest.mark.parametrize("content", [b"", b'{"session": "\xff"}'])
def test_a_note_that_was_half_written_still_tells_that_gaitd_died(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "active-session.json").write_bytes(content)
    lost = SessionNote(Board().guard, tmp_path, "policy small").report_lost()
    assert lost is not None
    assert "the last gaitd died in session 0 of an unknown policy" in str(lost)


def test_seconds_after_the_damping_are_in_the_file(tmp_path: Path) -> None:
    board = Board()
    recorder = board.recorder(tmp_path, after_s=0.3)
    board.add_steps(3)
    board.begin_damping(Reason.LIMIT)
    board.guard.words["mode"] = Mode.DAMPING
    recorder.look()
    board.worker.frames.add([(b"still here", 5)], 0, 0)
    recorder.look()
    assert not list(tmp_path.iterdir())
    wait_until(lambda: recorder.look() or list(tmp_path.glob("*.mcap")), what="the recording")
    (path,) = tmp_path.iterdir()
    assert read_recording(path).frames["length"].tolist() == [10]


def test_what_a_shadow_told_is_in_each_file_and_in_a_shift_once(tmp_path: Path) -> None:
    board = Board()
    recorder = board.recorder(tmp_path / "faults")
    memories = recorder._memories
    told = [ShadowSample(number, f"equivalent {number}", {"compared": str(number)}) for number in (1, 2)]
    memories.shadow.extend(told)
    board.add_steps(3)
    for _ in range(2):
        recorder.request()
        board.add_steps(1)
        recorder.look()
    files = sorted((tmp_path / "faults").iterdir())
    assert [read_recording(path).shadow for path in files] == [told, told]
    part, place = memories.read_since(memories.begin("shift"), memories.oldest, unsettled=False)
    assert part.shadow == told
    part, place = memories.read_since(memories.begin("shift"), place, unsettled=False)
    assert part.shadow == []
    memories.shadow.append(ShadowSample(3, "equivalent 3", {}))
    part, _ = memories.read_since(memories.begin("shift"), place, unsettled=False)
    assert [sample.at_ns for sample in part.shadow] == [3]


def test_another_session_does_not_wait_for_the_recording_of_the_one_before(tmp_path: Path) -> None:
    board = Board()
    recorder = board.recorder(tmp_path, after_s=30)
    board.add_steps(3)
    board.begin_damping(Reason.LIMIT)
    board.guard.words["mode"] = Mode.DAMPING
    recorder.look()
    board.guard.words["mode"] = Mode.ACTIVE
    recorder.look()
    assert written(tmp_path) == ["gaitd-000001-limit.mcap"]


def config(directory: Path) -> str:
    return f'{PATIENT}[recorder]\ndirectory = "{directory}"\nafter_s = 0.2\n'


def walked(daemon: Gaitd) -> Controller:
    controller = daemon.controller()
    controller.activate()
    wait_until(lambda: any(controller.walk(3)), what="the first command")
    controller.walk(20)
    return controller


def only_recording(directory: Path) -> Recording:
    (path,) = wait_until(lambda: list(directory.glob("*.mcap")), 20.0, "a recording")
    return read_recording(path)


def test_a_damped_walk_leaves_all_its_steps(small_bundle_path: Path, tmp_path: Path) -> None:
    with Gaitd(small_bundle_path, "--metrics-port", "0", config=config(tmp_path)) as daemon:
        daemon.wait_ready()
        controller = walked(daemon)
        controller.control.demand("damp", session=0, reason=int(Reason.OPERATOR))
        recording = only_recording(tmp_path)
        steps = daemon.status()["counters"]["steps"]
        assert len(recording.records) == steps >= 20
        assert set(recording.records["session"].tolist()) == {controller.session}
        assert recording.info.cause == "operator"
        assert recording.info.policy_id == controller.contract["policies"][0]["id"]
        assert recording.info.joints == JOINTS
        bundle = open_bundle(small_bundle_path)
        found = compare(recording, Replayer(recording, bundle, open_backend("onnx", bundle)).run(), JOINTS)
        assert found.exact.all()
        assert len(found.exact) == steps
        texts = [event.text for event in recording.events if event.kind is EventKind.LOG]
        assert any("worker ready" in text for text in texts)
        assert bundle.id == hashlib.sha256(recording.manifest).hexdigest()
        before = {path.name for path in tmp_path.iterdir()}
        scratch = tmp_path / "gaitd.toml"
        scratch.write_text(config(tmp_path))
        assert gaitctl(["--runtime-dir", str(daemon.runtime_dir), "record", "--config", str(scratch)]) == 0
        (new,) = {path.name for path in tmp_path.glob("*.mcap")} - before
        assert new.endswith("-request.mcap")


def test_a_gaitd_that_died_in_a_session_is_told_of_at_the_next_start(
    small_bundle_path: Path, tmp_path: Path
) -> None:
    lost = "the last gaitd died in session"
    note = tmp_path / "active-session.json"
    with Gaitd(small_bundle_path, config=config(tmp_path)) as daemon:
        daemon.wait_ready()
        controller = walked(daemon)
        wait_until(lambda: controller.step() and note.exists(), what="the note")
        telemetry = daemon.status()["telemetry_pid"]
        os.kill(telemetry, signal.SIGKILL)  # alone: the session goes on

        def another() -> bool:
            controller.step()
            pid = daemon.status()["telemetry_pid"]
            name = Path(f"/proc/{pid}/comm").read_text() if pid not in (0, telemetry) else ""
            return name == "gaitd-telemetry\n"  # it is far enough to end with its guardian

        wait_until(another, what="another telemetry process")
        session = controller.session
        daemon.stop(signal.SIGKILL)
        assert lost not in daemon.log
        recording = only_recording(tmp_path)
        assert recording.info.cause == "guardian_died"
        assert int(recording.records["session"][-1]) == session
    with Gaitd(small_bundle_path, config=config(tmp_path)) as daemon:
        daemon.wait_ready()
        wait_until(lambda: f"{lost} {session} of policy small 1.0.0" in daemon.log, 30.0, "a word")
        walked(daemon).control.demand("damp", session=0, reason=int(Reason.OPERATOR))
        wait_until(lambda: not note.exists(), what="the end of the note")
        wait_until(lambda: "operator" in str(written(tmp_path)), what="its recording")
        assert not [name for name in written(tmp_path) if "lost" in name], "there was a recording"


def test_a_gaitd_that_was_killed_with_all_its_processes_leaves_a_word(
    small_bundle_path: Path, tmp_path: Path
) -> None:
    with Gaitd(small_bundle_path, config=config(tmp_path)) as daemon:
        daemon.wait_ready()
        controller = walked(daemon)
        wait_until(lambda: controller.step() and (tmp_path / "active-session.json").exists(), what="the note")
        status = daemon.status()
        for pid in (status["telemetry_pid"], status["guardian_pid"]):
            os.kill(pid, signal.SIGKILL)
        daemon.process.wait(5)
        session = controller.session
    with Gaitd(small_bundle_path, config=config(tmp_path)) as daemon:
        daemon.wait_ready()
        recording = only_recording(tmp_path)
    assert recording.info.cause == "lost"
    assert f"died in session {session}" in recording.events[0].text


def test_a_damping_while_telemetry_restarts_is_recorded(small_bundle_path: Path, tmp_path: Path) -> None:
    with Gaitd(small_bundle_path, config=config(tmp_path)) as daemon:
        daemon.wait_ready()
        controller = walked(daemon)
        steps = daemon.status()["counters"]["steps"]
        os.kill(daemon.status()["telemetry_pid"], signal.SIGKILL)
        controller.control.demand("damp", session=0, reason=int(Reason.OPERATOR))
        recording = only_recording(tmp_path)
        assert recording.info.cause == daemon.status()["reason"]
    assert len(recording.records) >= steps


def test_the_recorder_needs_no_metrics_port(small_bundle_path: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with Gaitd(small_bundle_path, "--metrics-port", port, config=config(tmp_path)) as daemon:
            daemon.wait_ready()
            controller = walked(daemon)
            controller.control.demand("damp", session=0, reason=int(Reason.OPERATOR))
            assert only_recording(tmp_path).info.cause == "operator"


def test_telemetry_works_though_nobody_reads_the_log(small_bundle_path: Path, tmp_path: Path) -> None:
    """It has something to say at its start: of the gaitd before this one."""
    (tmp_path / "active-session.json").write_text('{"session": 1, "policy": "p", "since": "then"}')
    reader, writer = os.pipe()
    os.close(reader)
    with Gaitd(
        small_bundle_path,
        config=f'{PATIENT}[recorder]\ndirectory = "{tmp_path}"\n',
        process={"stderr": writer},
    ) as gaitd:
        os.close(writer)
        gaitd.wait_ready()
        assert "gaitd_mode" in str(gaitd.metrics())
        first = gaitd.status()["telemetry_pid"]
        controller = gaitd.controller()
        controller.activate()
        controller.walk(5)
        controller.wait_for(Mode.DAMPING)
        wait_until(lambda: list(tmp_path.glob("gaitd-*.mcap")), what="a recording")
        assert gaitd.status()["telemetry_pid"] == first


def test_the_running_gaitd_says_where_its_recordings_are(
    small_bundle_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not what this terminal's own configuration says."""
    directory = tmp_path / "recordings"
    with Gaitd(small_bundle_path, config=config(directory)) as daemon:
        daemon.wait_ready()
        daemon.metrics()
        walked(daemon)
        ctl = ["--runtime-dir", str(daemon.runtime_dir)]
        assert gaitctl([*ctl, "record"]) == 0
        written = capsys.readouterr().out.strip()
        assert Path(written).parent == directory
        assert gaitctl([*ctl, "explain"]) == 0
        assert written in capsys.readouterr().out


def test_on_request_and_a_bad_disk_leaves_the_walk_alone(small_bundle_path: Path, tmp_path: Path) -> None:
    directory = tmp_path / "recordings"
    directory.write_text("in the way")
    with Gaitd(small_bundle_path, config=config(directory)) as daemon:
        daemon.wait_ready()
        daemon.metrics()
        pid = daemon.status()["telemetry_pid"]
        controller = walked(daemon)
        os.kill(pid, signal.SIGUSR1)
        wait_until(lambda: controller.step() and "recording not written" in daemon.log, 20.0, "a word")
        directory.unlink()
        os.kill(pid, signal.SIGUSR1)
        wait_until(lambda: controller.step() and list(directory.glob("*.mcap")), 20.0, "a recording")
        status = daemon.status()
        assert (status["mode"], status["telemetry_pid"]) == ("active", pid)
        assert only_recording(directory).info.cause == "request"
