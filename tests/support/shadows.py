"""Candidates beside the small policy, and states of a robot that moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gaitd.shared.shadow import ShadowReport
from support.bundles import (
    HIDDEN,
    mlp_onnx,
    mlp_weights,
    npz,
    observation_dim,
    small_manifest,
    write_small_bundle,
)
from support.tape import Tape

REPORT = ShadowReport(
    policy="small 1.0.1",
    policy_id="abc",
    of="small 1.0.0",
    of_id="def",
    verdict="different",
    why="joint knee",
    against="the bound",
    compared=300,
    missed=4,
    left_out=5,
    one_only=6,
    not_finite=7,
    errors=8,
    refused={"slew_limit": 9, "torque_limit": 1},
    clamped={"slew": 11},
    step_s=[0.001, 0.002, 0.003, 0.004],
    cpu_s=[0.0005, 0.0006, 0.0007, 0.0008],
    joints={"hip": [0.1, 0.2, 0.3, 0.4], "knee": [0.5, 0.6, 0.7, 0.8]},
    mean_rad={"hip": 0.15, "knee": 0.55},
)


def exported_again(target: Path, manifest: dict[str, Any] | None = None, version: str = "1.0.1") -> Path:
    """The same policy from another export: its sums have another order, so the last digits differ."""
    manifest = {**(manifest or small_manifest()), "version": version}
    order = np.random.default_rng(2).permutation(HIDDEN)
    first, bias, second = mlp_weights(observation_dim(manifest), len(manifest["joints"]))
    return write_small_bundle(target, manifest, model=mlp_onnx([first[:, order], bias[order], second[order]]))


def one_scale_off(target: Path, term: int, factor: float = 1.1) -> Path:
    """The same model, fed with one term of the observation that is ``factor`` times what it should be."""
    manifest = small_manifest(version="1.0.2")
    manifest["observation"]["terms"][term]["scale"] = factor * manifest["observation"]["terms"][term].get(
        "scale", 1.0
    )
    return write_small_bundle(target, manifest)


def another_policy(target: Path, seed: int = 9, nudge: float | None = None, name: str = "small") -> Path:
    """One that was trained otherwise; with ``nudge``, the small one but for that part of its weights."""
    manifest = small_manifest(version="2.0.0", name=name)
    dim = observation_dim(manifest)
    weights = mlp_weights(dim, 3, seed)
    if nudge is not None:
        pairs = zip(mlp_weights(dim, 3), weights, strict=True)
        weights = [(own + np.float32(nudge) * other).astype(np.float32) for own, other in pairs]
    observation = np.random.default_rng(1).normal(size=(16, dim)).astype(np.float32)
    first, bias, second = weights
    action = np.tanh(observation @ first + bias) @ second
    golden = npz(observation=observation, action=action)
    return write_small_bundle(target, manifest, model=mlp_onnx(weights), golden=golden)


def moving(number: int, default: np.ndarray) -> dict[str, np.ndarray]:
    """What the ``number``-th state of a walk has; ``default`` (n,) rad in the controller's order."""
    phase = 0.37 * number + np.arange(len(default))
    return {
        "angular_velocity": (0.8 * np.sin(0.21 * number + np.arange(3))).astype(np.float32),
        "orientation": np.array([1.0, 0.05 * np.sin(0.1 * number), 0.03, 0.0], np.float32),
        "velocity_command": np.array([0.8, 0.0, 0.3], np.float32),
        "joint_position": (default + 0.2 * np.sin(phase)).astype(np.float32),
        "joint_velocity": (4.0 * np.cos(phase)).astype(np.float32),
    }


def move(tape: Tape, steps: int, after: int = 0) -> None:
    """Walk so for some steps, as if so many had come before."""
    default = tape.default[np.argsort(tape.order)]
    for _ in range(steps):
        tape.step(**moving(tape.seq + 1 + after, default))
