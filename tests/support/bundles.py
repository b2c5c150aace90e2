"""Small policy bundles, made in a moment: an MLP with known weights and the contract around it."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import yaml
from onnx import TensorProto, helper, numpy_helper

from gaitd.policy.manifest import Manifest
from gaitd.policy.observation import ObservationBuilder
from gaitforge.bundle.write import write_bundle

HIDDEN = 16

_SMALL: dict[str, Any] = {
    "format": 1,
    "name": "small",
    "version": "1.0.0",
    "robot": "tripod",
    "control_period_s": 0.012,
    "joints": ["hip", "thigh", "knee"],
    "default_joint_position_rad": [0.0, -0.65, 1.3],
    "observation": {
        "terms": [
            {"term": "base_angular_velocity", "scale": 0.25},
            {"term": "projected_gravity"},
            {"term": "velocity_command"},
            {"term": "joint_position_relative"},
            {"term": "joint_velocity", "scale": 0.05},
            {"term": "last_action"},
        ]
    },
    "velocity_command": {"unit": "normalized", "min": [-1.0, -1.0, -1.0], "max": [1.0, 1.0, 1.0]},
    "action": {
        "scale": 0.25,
        "stiffness_nm_per_rad": [30.0, 31.0, 32.0],
        "damping_nms_per_rad": [1.0, 1.1, 1.2],
    },
    "fallback_damping_nms_per_rad": {"hip": 2.5, "thigh": 2.6, "knee": 2.7},
    "limits": {
        "position": {"min_rad": [-0.6, -3.5, 0.3], "max_rad": [0.6, 0.4, 2.8]},
        "state": {"max_velocity_rad_per_s": 50.0},
    },
}

LITE3_JOINTS = [
    f"{leg}_{joint}_joint" for leg in ("FL", "FR", "HL", "HR") for joint in ("HipX", "HipY", "Knee")
]


def small_manifest(**changes: Any) -> dict[str, Any]:
    """A contract of three joints and 18 observation values; without ``files``."""
    return {**copy.deepcopy(_SMALL), **changes}


def lite3_manifest(**changes: Any) -> dict[str, Any]:
    """The contract of the Lite3 walking policies: 12 joints, 45 observation values."""
    base = small_manifest(
        name="lite3_like",
        robot="lite3",
        joints=LITE3_JOINTS,
        default_joint_position_rad=[0.0, -0.65, 1.3] * 4,
        action={
            "scale": [0.125, 0.25, 0.25] * 4,
            "stiffness_nm_per_rad": 30.0,
            "damping_nms_per_rad": 1.0,
        },
        fallback_damping_nms_per_rad=2.5,
        limits={"position": {"min_rad": [-0.53, -3.5, 0.349] * 4, "max_rad": [0.53, 0.32, 2.8] * 4}},
    )
    base["observation"]["terms"][2]["scale"] = 0.8
    return {**base, **changes}


def mixed_manifest(**changes: Any) -> dict[str, Any]:
    """A contract of format 2: joints that follow a position, a velocity and a torque, a held one, inputs."""
    return small_manifest(
        format=2,
        name="mixed",
        joints=["hip", "wheel", "knee", "fin", "waist"],
        held_joints={"joints": ["waist"], "stiffness_nm_per_rad": 90.0, "damping_nms_per_rad": 2.0},
        continuous_joints=["wheel"],
        default_joint_position_rad=[0.0, 1.3, 0.1, 0.0],
        inputs=[
            {"name": "height", "size": 2, "min": 0.2, "max": 0.4},
            {"name": "gait", "min": 0.0, "max": 1.0},
        ],
        observation={
            "terms": [
                {"term": "projected_gravity"},
                {"term": "velocity_command"},
                {"term": "joint_position_relative", "joints": ["hip", "knee", "waist"]},
                {"term": "joint_velocity"},
                {"term": "input", "name": "height"},
                {"term": "input", "name": "gait"},
                {"term": "last_action"},
            ]
        },
        action=[
            {
                "joints": ["knee", "hip"],
                "target": "position",
                "scale": 0.25,
                "stiffness_nm_per_rad": 30.0,
                "damping_nms_per_rad": 1.0,
            },
            {"joints": ["wheel"], "target": "velocity", "scale": 5.0, "damping_nms_per_rad": 0.6},
            {
                "joints": ["fin"],
                "target": "torque",
                "scale": 4.0,
                "clip": [-9.0, 9.0],
                "damping_nms_per_rad": 0.1,
            },
        ],
        fallback_damping_nms_per_rad=2.5,
        brake={"stiffness_nm_per_rad": 50.0, "max_nm": 5.0},
        limits={
            "position": {"min_rad": [-0.6, 0.3, -1.0, -0.5], "max_rad": [0.6, 2.8, 1.0, 0.5]},
            "slew": {"max_rad_per_step": 0.5},
            "velocity": {"max_rad_per_s": 40.0},
            "acceleration": {"max_rad_per_s2": 1500.0, "response": "damp"},
            "torque": {"max_nm": {"hip": 40.0, "wheel": 12.0, "knee": 40.0, "fin": 20.0}},
            "torque_rate": {"max_nm_per_s": 2000.0, "response": "damp"},
            "state": {"max_velocity_rad_per_s": 50.0},
            "repetition": {"max_joint_motion_rad": 0.1, "max_turn_rad": 1.0},
        },
        **changes,
    )


def contract(manifest: dict[str, Any]) -> Manifest:
    """The manifest as the code sees it, without a bundle around it."""
    return msgspec.convert({"files": {}, **manifest}, Manifest)


def observation_dim(manifest: dict[str, Any]) -> int:
    return ObservationBuilder(contract(manifest)).dim


def mlp_weights(observation_dim: int, action_dim: int, seed: int = 7) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> np.ndarray:
        drawn: np.ndarray = (rng.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)
        return drawn

    return [weights(observation_dim, HIDDEN), weights(HIDDEN), weights(HIDDEN, action_dim)]


def mlp(weights: list[np.ndarray], observation: np.ndarray) -> np.ndarray:
    """What the model of ``mlp_onnx`` answers, computed here."""
    first, bias, second = weights
    action: np.ndarray = np.tanh(observation @ first + bias) @ second
    return action


def mlp_onnx(weights: list[np.ndarray], output: str = "action", batch: int | str = 1) -> bytes:
    first, bias, second = weights
    nodes = [
        helper.make_node("MatMul", ["obs", "first"], ["a"]),
        helper.make_node("Add", ["a", "bias"], ["b"]),
        helper.make_node("Tanh", ["b"], ["c"]),
        helper.make_node("MatMul", ["c", "second"], [output]),
    ]
    inputs = {"obs": [batch, first.shape[0]]}
    outputs = {output: [batch, second.shape[1]]}
    return _onnx(nodes, inputs, outputs, {"first": first, "bias": bias, "second": second})


def recurrent_onnx(observation_dim: int, action_dim: int, hidden: int) -> bytes:
    """next = tanh(obs @ w + hidden); action = next @ v."""
    rng = np.random.default_rng(3)
    weights = {
        "w": (rng.normal(size=(observation_dim, hidden)) * 0.3).astype(np.float32),
        "v": rng.normal(size=(hidden, action_dim)).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["obs", "w"], ["a"]),
        helper.make_node("Add", ["a", "hidden_in"], ["b"]),
        helper.make_node("Tanh", ["b"], ["hidden_out"]),
        helper.make_node("MatMul", ["hidden_out", "v"], ["action"]),
    ]
    inputs = {"obs": [1, observation_dim], "hidden_in": [1, hidden]}
    outputs = {"action": [1, action_dim], "hidden_out": [1, hidden]}
    return _onnx(nodes, inputs, outputs, weights)


def two_inputs_onnx(weights: dict[str, np.ndarray], unused: str) -> bytes:
    """action: the sum of each input times its weights; and an output that is the first of these products."""
    nodes = [helper.make_node("MatMul", [name, f"{name}_w"], [f"{name}_p"]) for name in weights]
    products = [f"{name}_p" for name in weights]
    nodes += [
        helper.make_node("Add", products, ["action"]),
        helper.make_node("Identity", products[:1], [unused]),
    ]
    inputs = {name: [1, len(each)] for name, each in weights.items()}
    size = next(iter(weights.values())).shape[1]
    initializers = {f"{name}_w": each for name, each in weights.items()}
    return _onnx(nodes, inputs, {"action": [1, size], unused: [1, size]}, initializers)


def echo_onnx(observation_dim: int, action_dim: int) -> tuple[bytes, int]:
    """Answers step k with part k of the observation, cut into parts as long as an action; how many there are.

    Which part is next is a hidden state of zeros and one 1, ``part_in`` and ``part_out``.
    """
    parts = -(-observation_dim // action_dim)
    weights = {
        "pad": np.eye(observation_dim, parts * action_dim, dtype=np.float32),
        "shape": np.array([parts, action_dim], np.int64),
        "one": np.ones((1, 1), np.float32),
        "first": np.eye(1, parts, dtype=np.float32),
        "next": np.roll(np.eye(parts, dtype=np.float32), 1, axis=1),
    }
    nodes = [
        helper.make_node("MatMul", ["obs", "pad"], ["padded"]),
        helper.make_node("Reshape", ["padded", "shape"], ["table"]),
        helper.make_node("ReduceSum", ["part_in"], ["begun"], keepdims=1),
        helper.make_node("Sub", ["one", "begun"], ["fresh"]),
        helper.make_node("Mul", ["fresh", "first"], ["start"]),
        helper.make_node("Add", ["part_in", "start"], ["part"]),
        helper.make_node("MatMul", ["part", "table"], ["action"]),
        helper.make_node("MatMul", ["part", "next"], ["part_out"]),
    ]
    inputs = {"obs": [1, observation_dim], "part_in": [1, parts]}
    outputs = {"action": [1, action_dim], "part_out": [1, parts]}
    return _onnx(nodes, inputs, outputs, weights), parts


def constant_onnx(observation_dim: int, value: np.ndarray) -> bytes:
    """The same answer whatever is asked."""
    zeros = np.zeros((observation_dim, len(value)), np.float32)
    nodes = [
        helper.make_node("MatMul", ["obs", "zeros"], ["a"]),
        helper.make_node("Add", ["a", "value"], ["action"]),
    ]
    inputs, outputs = {"obs": [1, observation_dim]}, {"action": [1, len(value)]}
    return _onnx(nodes, inputs, outputs, {"zeros": zeros, "value": value.astype(np.float32)})


def greedy_onnx(observation_dim: int, action_dim: int, values: int) -> bytes:
    """obs @ w, and beside it a sum over so many values that are made at run time."""
    weights = {
        "w": np.zeros((observation_dim, action_dim), np.float32),
        "shape": np.array([values], np.int64),
        "zero": np.zeros(1, np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["obs", "w"], ["answer"]),
        helper.make_node("ReduceSum", ["obs"], ["sum"], keepdims=0),
        helper.make_node("Expand", ["sum", "shape"], ["many"]),
        helper.make_node("ReduceSum", ["many"], ["total"], keepdims=0),
        helper.make_node("Mul", ["total", "zero"], ["nothing"]),
        helper.make_node("Add", ["answer", "nothing"], ["action"]),
    ]
    return _onnx(nodes, {"obs": [1, observation_dim]}, {"action": [1, action_dim]}, weights)


def _onnx(
    nodes: list[Any],
    inputs: dict[str, list[Any]],
    outputs: dict[str, list[Any]],
    initializers: dict[str, np.ndarray],
) -> bytes:
    def values(shapes: dict[str, list[Any]]) -> list[Any]:
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in shapes.items()]

    tensors = [numpy_helper.from_array(array, name) for name, array in initializers.items()]
    graph = helper.make_graph(nodes, "policy", values(inputs), values(outputs), tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def small_files(manifest: dict[str, Any], rows: int = 16) -> dict[str, bytes]:
    """Model and golden vectors for a manifest without normalization."""
    weights = mlp_weights(dim := observation_dim(manifest), len(contract(manifest).moved_joints))
    observation = np.random.default_rng(1).normal(size=(rows, dim)).astype(np.float32)
    golden = npz(observation=observation, action=mlp(weights, observation))
    return {"model.onnx": mlp_onnx(weights), "golden.npz": golden}


def write_small_bundle(target: Path, manifest: dict[str, Any] | None = None, **files: bytes) -> Path:
    """Write a good bundle; ``files`` are named without their suffix, as in ``model=...``, ``golden=...``."""
    manifest = manifest or small_manifest()
    names = {"model": "model.onnx", "golden": "golden.npz", "obs_stats": "obs_stats.npz"}
    names["encoder"] = "encoder.onnx"
    changed = {names[name]: data for name, data in files.items()}
    return write_bundle(target, manifest, {**small_files(manifest), **changed})


def edit_manifest(bundle: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change the manifest of a bundle directory as a careless hand would."""
    path = bundle / "manifest.yaml"
    manifest = yaml.safe_load(path.read_text())
    change(manifest)
    path.write_text(yaml.safe_dump(manifest, sort_keys=False))
    return bundle


COUNT_STEP = 0.001
"""What an action of ``counting_bundle`` grows by with each step."""


def counting_bundle(directory: Path) -> Path:
    """A recurrent policy of three joints: its action counts the steps that its hidden state went through."""
    count = {"input": "count_in", "output": "count_out", "shape": [1, 1]}
    manifest = small_manifest(name="counting", model={"recurrent": [count]})
    dim = observation_dim(manifest)
    weights = {
        "one": np.ones((1, 1), np.float32),
        "step": np.full((1, 3), COUNT_STEP, np.float32),
        "nothing": np.zeros((dim, 3), np.float32),
    }
    nodes = [
        helper.make_node("Add", ["count_in", "one"], ["count_out"]),
        helper.make_node("MatMul", ["count_out", "step"], ["counted"]),
        helper.make_node("MatMul", ["obs", "nothing"], ["ignored"]),
        helper.make_node("Add", ["counted", "ignored"], ["action"]),
    ]
    inputs, outputs = {"obs": [1, dim], "count_in": [1, 1]}, {"action": [1, 3], "count_out": [1, 1]}
    golden = {
        "observation": np.random.default_rng(1).normal(size=(16, dim)).astype(np.float32),
        "action": np.repeat(np.arange(1, 17, dtype=np.float32)[:, None] * np.float32(COUNT_STEP), 3, 1),
    }
    files = {"model.onnx": _onnx(nodes, inputs, outputs, weights), "golden.npz": npz(**golden)}
    return write_bundle(directory / "counting.gaitd", manifest, files)
