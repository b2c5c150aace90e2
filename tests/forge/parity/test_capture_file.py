"""Capture files: what is written can be read, and nothing else is let in."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitd.errors import InputError
from gaitforge.parity.capture import read_capture
from gaitforge.parity.gaitd_capture import Capture

STATE: dict[str, Any] = {
    "joint_position": [0.1, 0.2],
    "joint_velocity": [0.0, 0.0],
    "angular_velocity": [0.0, 0.0, 0.1],
    "orientation": [1.0, 0.0, 0.0, 0.0],
    "observation": [1.0, 2.0, 3.0],
    "action": [0.5, -0.5],
}


def written(path: Path, **changes: Any) -> Path:
    capture = Capture(["hip", "knee"], 0.02)
    values = {name: value for name, value in {**STATE, **changes}.items() if value is not None}
    for step in range(3):
        capture.add(reset=step == 0, **values)
    capture.save(path)
    return path


def edited(path: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    arrays = dict(np.load(written(path)))
    edit(arrays)
    np.savez(path, **arrays)
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    capture = read_capture(written(tmp_path / "capture.npz"))
    assert capture.meta.joints == ["hip", "knee"]
    assert capture.reset.tolist() == [True, False, False]
    np.testing.assert_array_equal(capture.observation, np.tile(np.float32([1, 2, 3]), (3, 1)))


def test_projected_gravity_alone_gives_an_orientation(tmp_path: Path) -> None:
    path = written(tmp_path / "capture.npz", orientation=None, projected_gravity=[-0.6, 0.0, -0.8])
    w, x, y, z = read_capture(path).arrays["orientation"][0]
    gravity = [2 * (w * y - x * z), -2 * (w * x + y * z), x * x + y * y - w * w - z * z]
    np.testing.assert_allclose(gravity, [-0.6, 0.0, -0.8], atol=1e-6)


def test_quaternions_in_another_order_are_told_by_the_gravity(tmp_path: Path) -> None:
    level = {"orientation": [0.0, 0.6, 0.0, 0.8], "projected_gravity": [0.96, 0.0, -0.28]}
    capture = read_capture(written(tmp_path / "capture.npz", **level))
    np.testing.assert_allclose(capture.arrays["orientation"][0], [0.8, 0.0, 0.6, 0.0], atol=1e-6)
    assert "x, y, z, w" in capture.meta.notes[0]


META = {"format": "gaitd-capture", "version": 1, "writer": "w", "joints": ["hip", "knee"],
        "control_period_s": 0.02, "observation": "raw", "notes": []}  # fmt: skip


def with_meta(**changes: Any) -> Callable[[dict[str, Any]], None]:
    data = np.frombuffer(json.dumps({**META, **changes}).encode(), np.uint8)
    return lambda arrays: arrays.update(meta=data)


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda arrays: arrays.pop("action"), "array 'action' is missing"),
        (lambda arrays: arrays.pop("meta"), "array 'meta' is missing"),
        (lambda arrays: arrays.update(extra=np.zeros(3)), "'extra.npy' is no array of a capture"),
        (lambda arrays: arrays.update(action=np.zeros((3, 2, 1))), r"action has shape \(3, 2, 1\)"),
        (lambda arrays: arrays.update(observation=np.zeros((2, 3))), r"observation has shape \(2, 3\)"),
        (lambda arrays: arrays.update(action=np.full((3, 2), np.nan)), "action, step 0, value 0 is nan"),
        (lambda arrays: arrays.update(orientation=np.zeros((3, 4))), "orientation, step 0: its norm is 0"),
        (lambda arrays: arrays.update(reset=np.full(3, 0.5)), "reset has shape|reset: shape"),
        (lambda arrays: arrays.update(action=np.array([[object()]] * 3)), "not a readable .npz"),
        (lambda arrays: arrays.update(observation_mean=np.zeros(3)), "expected both"),
        (with_meta(version=2), "version 2; this gaitforge reads"),
        (with_meta(format="other"), "format 'other'"),
        (with_meta(joints=["hip", "hip"]), "different names"),
        (with_meta(control_period_s=0), "control_period_s is 0"),
        (with_meta(surprise=1), "surprise"),
        (lambda arrays: arrays.update(meta=np.zeros(3, np.uint8)), "meta: "),
    ],
)
def test_what_is_no_capture_is_refused(tmp_path: Path, edit: Any, named: str) -> None:
    path = edited(tmp_path / "capture.npz", edit)
    with pytest.raises(InputError, match=named) as refused:
        read_capture(path)
    assert str(refused.value).startswith(str(path))


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "capture.npz"
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_capture(path)
    path.write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(InputError, match="not a capture, or damaged"):
        read_capture(path)


def test_the_writer_refuses_what_cannot_be_read() -> None:
    capture = Capture(["hip", "knee"], 0.02)
    with pytest.raises(ValueError, match="no control step"):
        capture.save("nowhere.npz")
    with pytest.raises(ValueError, match="torque: not a field"):
        capture.add(torque=[1.0])
    with pytest.raises(ValueError, match="joint_position: 3 values, expected 2"):
        capture.add(joint_position=[1.0, 2.0, 3.0])
    capture.add(**STATE)
    with pytest.raises(ValueError, match="joint_torque: in some steps, but not in all"):
        capture.add(**STATE, joint_torque=[0.0, 0.0])


def test_the_file_for_the_trainer_needs_nothing_of_gaitd(tmp_path: Path) -> None:
    from gaitforge.cli import main

    assert main(["capture", "--output", str(tmp_path / "gaitd_capture.py")]) == 0
    code = "import sys, gaitd_capture; assert not [m for m in sys.modules if m.startswith('gaitd.')]"
    subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
                   check=True, cwd=tmp_path)  # fmt: skip
