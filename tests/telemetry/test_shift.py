"""Recording all the time: each file can be read, replayed and shown without the ones before it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from gaitd.backends import open_backend
from gaitd.bundle.read import MANIFEST, Bundle
from gaitd.ctl.explain.facts import Facts
from gaitd.ctl.replay.run import Replayer
from gaitd.guardian import announce
from gaitd.shared.guard_memory import FailoverKind
from gaitd.shared.launch import TelemetryLaunch
from gaitd.shared.memory import create_memory
from gaitd.shared.telemetry_memory import TelemetryMemory
from gaitd.system.config import Metrics, Recorder
from gaitd.telemetry.recording import Recording, read_recording
from gaitd.telemetry.shift import ShiftRecorder
from gaitd.telemetry.snapshot import Memories
from gaitd.wire.generated import Reason
from support.tape import LIMITS, PERIOD_NS, Tape, walking


def recorder(tape: Tape, directory: Path) -> ShiftRecorder:
    manifest = tape.bundle.files[MANIFEST]
    launch = TelemetryLaunch(
        guard_memory_fd=-1,
        worker_memory_fds=[],
        telemetry_memory_fd=-1,
        manifest_fd=create_memory("manifest", len(manifest), manifest),
        metrics=Metrics(),
        recorder=Recorder(directory=str(directory), continuous=True),
        period_s=PERIOD_NS / 1e9,
        deadline_s=LIMITS.deadline_ns / 1e9,
        state_max_age_s=2 * PERIOD_NS / 1e9,
        policy={"id": tape.bundle.policy_id, "name": "small", "version": "1.0.0"},
        backends=["onnx"],
        bundle="small.gaitd",
        joints=tape.joints,
        runtime_dir=b"",
        hot_cpus=[],
    )
    words = TelemetryMemory.create(len(tape.joints)).words
    return ShiftRecorder(Memories(tape.guard, [tape.memory], launch), words)


def topics(path: Path) -> Counter[str]:
    from mcap.reader import make_reader

    with path.open("rb") as stream:
        return Counter(channel.topic for _, channel, _ in make_reader(stream).iter_messages())


def replayed(recording: Recording, bundle: Bundle) -> tuple[int, int]:
    found = Replayer(recording, bundle, open_backend("onnx", bundle)).run()
    return len(found.indices), found.missing


def test_a_later_file_of_a_session_is_complete_in_itself(small_bundle: Bundle, tmp_path: Path) -> None:
    with walking(small_bundle, 20) as tape:
        shift = recorder(tape, tmp_path)
        shift.finish()
        tape.walk(30)
        shift.finish()
    later = tmp_path / "gaitd-000002-shift.mcap"
    found = topics(later)
    assert [found[topic] for topic in ("/joint_states", "/imu", "/cmd_vel")] == [30, 30, 30]
    recording = read_recording(later)
    steps, missing = replayed(recording, small_bundle)
    assert steps > 20
    assert missing == 0
    facts = Facts(recording)
    assert (facts.session, facts.damping) == (tape.session, None)
    assert facts.began_ns > 0


def test_a_file_begun_after_a_change_of_workers_is_complete_too(small_bundle: Bundle, tmp_path: Path) -> None:
    with walking(small_bundle, 20) as tape:
        shift = recorder(tape, tmp_path)
        moved = replace(tape.state, epoch=tape.epoch + 1, slot=1, moved_ns=tape.now_ns, moved_why="killed")
        tape.guard.events.write(announce.failover_event(moved, FailoverKind.DIED, tape.setup))
        tape.go_on_with(1)
        tape.walk(5)
        shift.finish()
        tape.walk(30)
        shift.finish()
    steps, missing = replayed(read_recording(tmp_path / "gaitd-000002-shift.mcap"), small_bundle)
    assert steps > 20
    assert missing == 0


@pytest.mark.parametrize("reason", [Reason.OPERATOR, Reason.LIMIT])
def test_after_a_damping_a_file_tells_of_no_session(
    small_bundle: Bundle, tmp_path: Path, reason: Reason
) -> None:
    with walking(small_bundle, 20) as tape:
        shift = recorder(tape, tmp_path)
        tape.damp(reason)
        shift.finish()
        tape.walk(10)
        shift.finish()
    later = tmp_path / "gaitd-000002-shift.mcap"
    assert read_recording(later).events == []
    assert topics(later)["/joint_states"] == 10
