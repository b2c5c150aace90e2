"""A capture that the C++ client writes is read, and proves a policy, as the Python one's."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from trainers import PERIOD_S, ROBOTS, play, walk, write_bundle_of

from gaitd.bundle.read import open_bundle
from gaitforge.parity.capture import read_capture
from gaitforge.parity.compare import compare

REPOSITORY = Path(__file__).parents[3]
ORDER = ("angular_velocity", "orientation", "velocity_command", "joint_position", "joint_velocity",
         "observation", "action", "linear_velocity", "linear_acceleration", "joint_torque",
         "joint_target")  # fmt: skip


def test_a_vendors_runner_is_captured(tmp_path: Path) -> None:
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler: sudo apt-get install g++")
    include = REPOSITORY / "proto/cpp/include"
    source = REPOSITORY / "tests/cpp/write_capture.cpp"
    program = tmp_path / "write_capture"
    flags = ("-std=c++17", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-O1")
    subprocess.run([compiler, *flags, f"-I{include}", source, "-o", program], check=True)
    spec = ROBOTS["quadruped"]()
    joints = spec.manifest["joints"]
    rows = walk(len(joints), 0)
    observations, actions, reset = play(spec, rows, episodes=2)
    pose = np.array(spec.manifest["default_joint_position_rad"])
    lines = [f"{len(joints)} {len(rows)} {observations.shape[1]} {len(joints)} {PERIOD_S}", " ".join(joints)]
    for index, row in enumerate(rows):
        row = row | {"observation": observations[index], "action": actions[index]}
        row["joint_target"] = actions[index] * 0.25 + pose
        lines.append(" ".join([str(int(reset[index])), *(f"{x:.9g}" for name in ORDER for x in row[name])]))
    path = tmp_path / "capture.npz"
    subprocess.run([program, path], input="\n".join(lines), text=True, check=True)
    capture = read_capture(path)
    assert capture.meta.writer == "gaitd::Capture"
    assert len(capture) == len(rows) - 1
    np.testing.assert_allclose(capture.observation, observations[:-1], atol=1e-6)
    assert np.isnan(capture.arrays["joint_target"][0]).all()
    with np.load(path) as arrays:  # numpy itself checks the archive's checksums
        assert arrays["action"].shape == (len(rows) - 1, 12)
    bundle = open_bundle(write_bundle_of(tmp_path / "policy.gaitd", spec))
    assert compare(bundle, capture).findings == []
