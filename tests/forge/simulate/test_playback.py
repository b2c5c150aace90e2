"""gaitforge view: what a recording holds, as a motion."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from gaitd.bundle.read import MANIFEST, open_bundle
from gaitd.errors import InputError
from gaitd.telemetry.recording import read_recording, write_recording
from gaitd.wire.generated import Reason
from gaitforge.simulate.direct import Step, run_bundle
from gaitforge.simulate.playback import base_positions, play
from gaitforge.simulate.render import VIDEO_RATE_HZ, VIDEO_SIZE, Camera
from gaitforge.simulate.robot import Robot
from gaitforge.simulate.script import CommandScript
from support.reference import EXAMPLE_BUNDLE
from support.tape import Tape

Forge = Callable[..., int]
ORDER = (3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8)
"""The controller's joints: left and right swapped."""


@pytest.fixture(scope="module")
def walked() -> list[Step]:
    """Two seconds of a walk in the simulator."""
    steps: list[Step] = []
    run_bundle(
        open_bundle(EXAMPLE_BUNDLE), script=CommandScript.constant(1.0), seconds=2.0, on_step=steps.append
    )
    return steps


@pytest.fixture(scope="module")
def recorded(walked: list[Step], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a recording, of a controller with another order of joints; damped at its end."""
    path = tmp_path_factory.mktemp("recorded") / "gaitd-000001-operator.mcap"
    bundle = open_bundle(EXAMPLE_BUNDLE)
    back = np.argsort(ORDER)
    with Tape(bundle, order=ORDER) as tape:
        tape.activate()
        for step in walked:
            reading = step.reading
            tape.step(
                joint_position=reading.joint_position[back].astype(np.float32),
                joint_velocity=reading.joint_velocity[back].astype(np.float32),
                orientation=reading.orientation.astype(np.float32),
            )
        tape.damp(Reason.OPERATOR)
        tape.walk(10)
        recording = replace(tape.recording(), manifest=bundle.read_bytes(MANIFEST))
    with path.open("wb") as stream:
        write_recording(stream, recording)
    return path


def test_the_way_is_found_from_joints_and_orientation_alone(walked: list[Step]) -> None:
    joints = np.stack([step.reading.joint_position for step in walked])
    orientation = np.stack([step.reading.orientation for step in walked])
    found = base_positions(Robot(), orientation, joints)
    robot = Robot()
    truth: list[np.ndarray] = []
    run_bundle(
        open_bundle(EXAMPLE_BUNDLE),
        script=CommandScript.constant(1.0),
        seconds=2.0,
        robot=robot,
        on_step=lambda step: truth.append(robot.data.qpos[:3].copy()),
    )
    way, true_way = found[-1] - found[0], truth[-1] - truth[0]
    assert true_way[0] > 0.7, "it walks ahead"
    assert way[0] == pytest.approx(true_way[0], rel=0.2)
    assert np.abs(found[:, 2] - np.stack(truth)[:, 2]).max() < 0.03


def test_a_recording_is_the_motion_that_was_recorded(walked: list[Step], recorded: Path) -> None:
    playback = play(read_recording(recorded), Robot())
    motion = playback.motion
    assert len(motion.time_s) == len(walked) + 10
    for sample, step in zip((0, 50, len(walked) - 1), (walked[0], walked[50], walked[-1]), strict=True):
        assert motion.joint_position[sample] == pytest.approx(step.reading.joint_position, abs=1e-5)
        assert motion.base_orientation[sample] == pytest.approx(step.reading.orientation, abs=1e-5)
    damped_s = float(motion.handover_s)
    assert damped_s == pytest.approx(len(walked) * 0.012, abs=0.02)
    assert playback.caption(damped_s - 1.0) == "active  -1.0 s"
    assert playback.caption(damped_s + 0.05) == "damping: operator  +0.1 s"


@pytest.mark.thorough
def test_it_becomes_a_video(recorded: Path, forge: Forge, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        Camera((64, 64)).close()
    except InputError as error:
        pytest.skip(str(error))
    assert forge("view", recorded, "--from", "-0.25", "--until", "0.05") == 0
    told = capsys.readouterr().out
    assert "wrote gaitd-000001-operator.mp4" in told
    frames = imageio_ffmpeg.read_frames("gaitd-000001-operator.mp4")
    about = next(frames)
    assert (about["size"], about["fps"]) == (VIDEO_SIZE, VIDEO_RATE_HZ)
    pictures = [np.frombuffer(frame, np.uint8).astype(float) for frame in frames]
    assert len(pictures) == pytest.approx(0.3 * VIDEO_RATE_HZ, abs=1.5)
    assert np.abs(pictures[0] - pictures[4]).mean() > 0.5, "two moments of a walk differ"


def test_what_cannot_be_shown_is_refused(
    recorded: Path, small_bundle_path: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    recording = read_recording(recorded)
    silent = tmp_path / "silent.mcap"
    with silent.open("wb") as stream:
        write_recording(stream, replace(recording, frames=recording.frames[:0]))
    assert "no state to show" in refused(2, "view", silent)
    foreign = tmp_path / "foreign.mcap"
    with foreign.open("wb") as stream:
        manifest = open_bundle(small_bundle_path).read_bytes(MANIFEST)
        write_recording(stream, replace(recording, manifest=manifest))
    assert "'tripod' cannot be drawn here: give its model with --mjcf" in refused(2, "view", foreign)
    assert "nothing was recorded from 5 to 6 s" in refused(2, "view", recorded, "--from", "5", "--until", "6")
    assert "the directory nowhere does not exist" in refused(2, "view", recorded, "--video", "nowhere/a.mp4")
    assert "x.gif: a video is written as MP4" in refused(2, "view", recorded, "--video", "x.gif")
    motion = play(recording, Robot()).motion
    last_s = f"{motion.time_s[-1] - float(motion.handover_s):.6f}"
    only_one = refused(2, "view", recorded, "--from", str(float(last_s) - 0.005), "--video", "one.mp4")
    assert "there is only one sample" in only_one
    assert not Path("one.mp4").exists()


def test_without_a_display_the_window_is_refused(
    recorded: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert "--window: there is no display (DISPLAY is not set); use --video" in refused(
        2, "view", recorded, "--window"
    )


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="xvfb is missing: sudo apt-get install xvfb")
def test_it_is_shown_in_a_window_in_real_time(recorded: Path) -> None:
    command = [sys.executable, "-m", "gaitforge.cli", "view", str(recorded), "--window"]
    done = subprocess.run(["xvfb-run", "-a", *command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "states in" in done.stdout
