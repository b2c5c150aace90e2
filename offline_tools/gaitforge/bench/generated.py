"""Bundles of any size: a made-up robot and a network that asks for little, for measuring how things grow."""

from __future__ import annotations

import io
import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from gaitd.backends.onnx import open_session
from gaitforge.bundle.write import write_bundle

GOLDEN_ROWS = 4
LAST_LAYER = 1e-3
"""Of the last layer's weights: the joints hardly move, whatever the observation is."""


@dataclass(frozen=True)
class Size:
    """Of a generated policy."""

    joints: int = 12
    history: int = 1
    """Frames in the observation."""
    parameters: int = 100_000
    """Of the network, about."""

    @property
    def observation(self) -> int:
        """Values that the model takes."""
        return (9 + 3 * self.joints) * self.history

    @property
    def width(self) -> int:
        """Of the two hidden layers w: observation w + w^2 + joints w are the parameters, biases left out."""
        ends = self.observation + self.joints
        return max(1, round((math.sqrt(ends**2 + 4 * self.parameters) - ends) / 2))


def write_generated(size: Size, period_s: float, target: Path) -> Path:
    """Write that policy's bundle; returns its path."""
    model = _network(size)
    observation = np.random.default_rng(1).normal(size=(GOLDEN_ROWS, size.observation)).astype(np.float32)
    session = open_session(model)
    action = np.concatenate([session.run(None, {"obs": row[None]})[0] for row in observation])
    golden = io.BytesIO()
    np.savez(golden, observation=observation, action=action)
    files = {"model.onnx": model, "golden.npz": golden.getvalue()}
    return write_bundle(target, _manifest(size, period_s), files)


def _manifest(size: Size, period_s: float) -> dict[str, Any]:
    count = size.joints
    terms = ("base_angular_velocity", "projected_gravity", "velocity_command", "joint_position_relative",
             "joint_velocity", "last_action")  # fmt: skip
    return {
        "format": 1,
        "name": "generated",
        "version": "1.0.0",
        "robot": f"generated_{count}",
        "control_period_s": period_s,
        "joints": [f"joint_{index}" for index in range(count)],
        "default_joint_position_rad": [0.0] * count,
        "observation": {
            "terms": [{"term": term} for term in terms],
            "history": {"length": size.history},
        },
        "velocity_command": {"unit": "normalized", "min": [-1.0] * 3, "max": [1.0] * 3},
        "action": {"scale": 0.25, "stiffness_nm_per_rad": 30.0, "damping_nms_per_rad": 1.0},
        "fallback_damping_nms_per_rad": 2.5,
        "limits": {"position": {"min_rad": [-1.0] * count, "max_rad": [1.0] * count}},
    }


def _network(size: Size) -> bytes:
    """Two hidden layers with tanh."""
    rng = np.random.default_rng(0)
    widths = (size.observation, size.width, size.width, size.joints)
    nodes, tensors, last = [], [], "obs"
    for layer, (rows, columns) in enumerate(itertools.pairwise(widths)):
        scale = LAST_LAYER if layer == len(widths) - 2 else 1.0
        weights = (scale * rng.normal(size=(rows, columns)) / math.sqrt(rows)).astype(np.float32)
        tensors += [
            numpy_helper.from_array(weights, f"w{layer}"),
            numpy_helper.from_array(np.zeros(columns, np.float32), f"b{layer}"),
        ]
        nodes.append(helper.make_node("Gemm", [last, f"w{layer}", f"b{layer}"], [f"g{layer}"]))
        last = "action" if layer == len(widths) - 2 else f"h{layer}"
        nodes.append(helper.make_node("Tanh", [f"g{layer}"], [last]))

    def value(name: str, count: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, count])

    ends = [value("obs", size.observation)], [value("action", size.joints)]
    graph = helper.make_graph(nodes, "policy", *ends, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
