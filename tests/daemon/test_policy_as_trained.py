"""A real gaitd answers as the trainer's own deploy code would, whatever the controller's joint order.

Two bundles for each contract: the policy itself, whose targets are compared, and a model that answers with
the observation it was given, part by part, so that every value of the observation is seen on the wire.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from gaitd.policy.joints import joint_array
from gaitd.wire.generated import Mode
from gaitd.wire.messages import JointCommand, RobotState
from gaitforge.cli import main as gaitforge
from gaitforge.common.manifest import dump_yaml
from support.bundles import (
    echo_onnx,
    mlp,
    mlp_onnx,
    mlp_weights,
    npz,
    observation_dim,
    small_manifest,
    write_small_bundle,
)
from support.controller import ALL_FIELDS, Controller
from support.daemon import PATIENT, Gaitd
from support.deploy import (
    G1_ACTION,
    G1_DEFAULT,
    G1_TERMS,
    GO1_ACTION,
    GO1_DEFAULT,
    GO1_TERMS,
    POLICIES,
    WIDE,
    Array,
    Reference,
    by_hand,
    g1_reference,
    go1_reference,
    gravity,
    unitree_rl_lab,
)

STEPS = 60
TOLERANCE = 1e-5

Act = Callable[[Array], Array]
"""Observation to raw action; may carry a hidden state from step to step."""


def walking_state(rng: np.random.Generator, default: Array) -> RobotState:
    """Near the default pose, in the policy's joint order; session, seq and stamp are the caller's to set."""

    def values(size: int, scale: float) -> Array:
        return (rng.normal(size=size) * scale).astype(np.float32)

    orientation = np.concatenate(([1.0], values(3, 0.15)))
    return RobotState(
        session=0,
        seq=0,
        stamp_ns=0,
        angular_velocity=values(3, 0.5),
        orientation=(orientation / np.linalg.norm(orientation)).astype(np.float32),
        linear_acceleration=values(3, 1.0),
        linear_velocity=values(3, 0.5),
        velocity_command=rng.uniform(-1, 1, 3).astype(np.float32),
        joint_position=default.astype(np.float32) + values(len(default), 0.15),
        joint_velocity=values(len(default), 1.0),
        joint_torque=values(len(default), 5.0),
    )


def answer(controller: Controller, state: RobotState) -> JointCommand:
    """Send a state and wait for its command, then for the end of the control period."""
    begin_s = time.monotonic()
    controller.seq += 1
    stamp_ns = time.monotonic_ns()
    controller.send(replace(state, session=controller.session, seq=controller.seq, stamp_ns=stamp_ns))
    command = None
    while command is None or command.seq != controller.seq:
        command = controller.receive(1.0)
        assert command is not None, "no answer"
        assert command.mode is not Mode.DAMPING, command
    time.sleep(max(0.0, begin_s + controller.period_s - time.monotonic()))
    return command


def check(bundle: Path, manifest: dict[str, Any], reference: Reference, act: Act, steps: int = STEPS) -> None:
    """Walk with a controller that has the joints in another order; every command is as recomputed."""
    joints = manifest["joints"]
    rng = np.random.default_rng(11)
    order = rng.permutation(len(joints))
    assert (order != np.arange(len(joints))).any()
    default = joint_array(manifest["default_joint_position_rad"], joints, "default")
    gains = [
        joint_array(manifest["action"][key], joints, key)
        for key in ("stiffness_nm_per_rad", "damping_nms_per_rad")
    ]
    with Gaitd(bundle, "--backend", "onnx", config=PATIENT) as gaitd:
        controller = gaitd.wait_ready().connect(joints=[joints[index] for index in order])
        controller.hello(fields=[*ALL_FIELDS, "linear_velocity"])
        controller.settle()
        controller.activate()
        frames: list[list[Array]] = []
        last = np.zeros(len(joints), np.float32)
        for step in range(steps):
            state = walking_state(rng, default)
            command = answer(
                controller,
                replace(
                    state,
                    joint_position=state.joint_position[order],
                    joint_velocity=state.joint_velocity[order],
                    joint_torque=state.joint_torque[order],
                ),
            )
            frames.append(reference.frame(state, last, step))
            last = act(reference.observe(frames))
            expected = reference.target(last)
            allowed = TOLERANCE * np.abs(reference.scale) + np.spacing(np.abs(expected).astype(np.float32))
            difference = np.abs(command.joint_position - expected[order])
            assert (difference <= allowed[order]).all(), (step, difference)
            np.testing.assert_array_equal(command.stiffness, gains[0][order])
            np.testing.assert_array_equal(command.damping, gains[1][order])
        controller.control.demand("release", session=controller.session)


def check_observation(directory: Path, manifest: dict[str, Any], reference: Reference, seen: Act) -> None:
    """The same contract with a model that answers part k of its input in step k, as action in radians.

    ``seen``: what the model gets of an observation.
    """
    joints, dim = len(manifest["joints"]), observation_dim(manifest)
    gains = {key: manifest["action"][key] for key in ("stiffness_nm_per_rad", "damping_nms_per_rad")}
    allowed = {"allow_zero_damping": manifest["action"].get("allow_zero_damping", [])}
    model, parts = echo_onnx(dim, joints)
    recurrent = [{"input": "part_in", "output": "part_out", "shape": [1, parts]}]
    echoing = {**manifest, "action": {"scale": 1.0, **gains, **allowed}, "model": {"recurrent": recurrent}}
    rows = np.random.default_rng(2).normal(size=(2 * parts, dim)).astype(np.float32)

    def part(row: Array, step: int) -> Array:
        padded = np.concatenate((row, np.zeros(parts * joints - dim)))
        chosen: Array = padded.reshape(parts, joints)[step % parts].astype(np.float32)
        return chosen

    actions = np.stack([part(seen(row), step) for step, row in enumerate(rows)])
    files = {"model": model, "golden": npz(observation=rows, action=actions)}
    if "normalization" in manifest:
        files["obs_stats"] = npz(mean=MEAN, std=STD)
    bundle = write_small_bundle(directory / "echo.gaitd", echoing, **files)
    steps = iter(range(10**6))
    echo = replace(reference, scale=np.ones(joints), offset=default_of(manifest), clip=None)
    check(bundle, echoing, echo, lambda row: part(seen(row), next(steps)), steps=max(STEPS, 3 * parts))


def default_of(manifest: dict[str, Any]) -> Array:
    return joint_array(manifest["default_joint_position_rad"], manifest["joints"], "default").astype(float)


HISTORY = {"length": 3, "layout": "term_major", "order": "oldest_first"}
SMALL = small_manifest(
    normalization={"epsilon": 0.01, "clip": 4.0},
    limits={"position": WIDE},
    control_period_s=0.02,
)
SMALL["observation"]["history"] = HISTORY
SMALL["observation"]["terms"][3]["clip"] = [-0.2, 0.2]
DIM = observation_dim(SMALL)
MEAN = np.linspace(-0.5, 0.5, DIM).astype(np.float32)
STD = np.linspace(0.1, 1.0, DIM).astype(np.float32)


def small_reference() -> Reference:
    """A policy made here: three frames, a clipped term, a normalizer."""

    def frame(state: RobotState, last: Array, step: int) -> list[Array]:
        return [
            state.angular_velocity * 0.25,
            gravity(state.orientation),
            np.clip(state.velocity_command, -1, 1),
            np.clip(state.joint_position - default_of(SMALL), -0.2, 0.2),
            state.joint_velocity * 0.05,
            last,
        ]

    return Reference(frame, 3, np.full(3, 0.25), default_of(SMALL))


def normalized(observation: Array) -> Array:
    return np.clip((observation - MEAN) / (STD + 0.01), -4, 4)


def test_the_actions_of_a_policy_made_here(tmp_path: Path) -> None:
    weights = mlp_weights(DIM, 3)
    rows = np.random.default_rng(1).normal(size=(16, DIM)).astype(np.float32)
    golden = npz(observation=rows, action=mlp(weights, normalized(rows)))
    files = {"model": mlp_onnx(weights), "golden": golden, "obs_stats": npz(mean=MEAN, std=STD)}
    bundle = write_small_bundle(tmp_path / "small.gaitd", SMALL, **files)
    check(bundle, SMALL, small_reference(), lambda row: mlp(weights, normalized(row)))


def test_the_observation_of_a_policy_made_here(tmp_path: Path) -> None:
    check_observation(tmp_path, SMALL, small_reference(), normalized)


def in_numpy(path: Path) -> Act:
    """The published ONNX file, computed by numpy."""
    model = onnx.load(path)
    evaluator = ReferenceEvaluator(model)
    name = model.graph.input[0].name
    return lambda row: np.asarray(evaluator.run(None, {name: row[None].astype(np.float32)})[0]).reshape(-1)


def in_torch(path: Path) -> Act:
    """The published module, with its hidden state inside."""
    module = torch.jit.load(str(path))

    def act(row: Array) -> Array:
        with torch.no_grad():
            action: Array = module(torch.from_numpy(row[None].astype(np.float32))).numpy().reshape(-1).copy()
        return action

    return act


def published(name: str) -> tuple[dict[str, Any], Reference, Path, Callable[[Path], Act]]:
    if name == "g1_lstm":
        contract = by_hand(G1_DEFAULT, G1_TERMS, G1_ACTION)
        return contract, g1_reference(), POLICIES / name / "motion.pt", in_torch
    if name == "go1_tf2onnx":
        contract = by_hand(GO1_DEFAULT, GO1_TERMS, GO1_ACTION)
        return contract, go1_reference(), POLICIES / name / "go1_policy.onnx", in_numpy
    return *unitree_rl_lab(POLICIES / name / "deploy.yaml"), POLICIES / name / "policy.onnx", in_numpy


PUBLISHED = ("g1_lstm", "go1_tf2onnx", "g1_deploy_yaml", "g1_external_data")
needs_policies = pytest.mark.skipif(
    not POLICIES.is_dir(), reason="the published policies are not here (../shared)"
)


@pytest.mark.slow
@needs_policies
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_actions_of_a_published_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    manifest, reference, model, run = published(name)
    Path("manifest.yaml").write_bytes(dump_yaml(manifest))
    rows = np.random.default_rng(5).normal(size=(16, observation_dim(manifest))).astype(np.float32)
    np.save("rows.npy", rows)
    exported = model
    if model.suffix == ".pt":
        exported = Path("policy.onnx")
        assert gaitforge(["export", str(model), "--output", str(exported)]) == 0
    pack = ["pack", "--manifest", "manifest.yaml", "--onnx", str(exported), "--observations", "rows.npy"]
    assert gaitforge([*pack, "--output", "policy.gaitd"]) == 0
    check(tmp_path / "policy.gaitd", manifest, reference, run(model))


@pytest.mark.slow
@needs_policies
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_observation_of_a_published_policy(tmp_path: Path, name: str) -> None:
    manifest, reference, _, _ = published(name)
    check_observation(tmp_path, manifest, reference, lambda row: row)
