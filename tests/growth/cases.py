"""Policies of a size, and one control step of theirs without a model's own time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from gaitd.policy.manifest import Manifest
from gaitd.policy.pipeline import PolicyPipeline
from support.states import random_state

STATES = 64
"""Different ones, in turn: none is like the one before."""
WHEELS_IN_TWELVE = 4


@dataclass(frozen=True)
class Size:
    """What a policy is made of."""

    joints: int = 12
    inputs: int = 0
    """Named ones, of three values each."""
    models: int = 1
    format: int = 2


def manifest_of(size: Size) -> Manifest:
    """A policy that sees its joints and inputs, with limits that clamp; in format 2 a third are wheels."""
    names = [f"joint_{index:02d}" for index in range(size.joints)]
    wheels = names[: size.joints * WHEELS_IN_TWELVE // 12] if size.format == 2 else []
    legs = [name for name in names if name not in wheels]
    terms: list[dict[str, Any]] = [
        {"term": "base_angular_velocity", "scale": 0.25},
        {"term": "projected_gravity"},
        {"term": "velocity_command"},
        {"term": "joint_position_relative"},
        {"term": "joint_velocity", "scale": 0.05},
        {"term": "last_action"},
        *({"term": "input", "name": f"input_{index}"} for index in range(size.inputs)),
    ]
    leg = {"scale": 0.25, "stiffness_nm_per_rad": 30.0, "damping_nms_per_rad": 1.0}
    wheel = {"joints": wheels, "target": "velocity", "scale": 5.0, "damping_nms_per_rad": 0.6}
    manifest: dict[str, Any] = {
        "format": size.format,
        "name": "growth",
        "version": "1",
        "robot": "any",
        "control_period_s": 0.02,
        "joints": names,
        "default_joint_position_rad": 0.0,
        "observation": {"terms": terms},
        "velocity_command": {"unit": "si", "min": [-1.0] * 3, "max": [1.0] * 3},
        "action": leg,
        "fallback_damping_nms_per_rad": 2.5,
        "limits": {
            "position": {"min_rad": -1.0, "max_rad": 1.0},
            "slew": {"max_rad_per_step": 0.3},
            "torque": {"max_nm": 60.0},
            "state": {"max_velocity_rad_per_s": 50.0},
        },
        "files": {},
    }
    if size.format == 2:
        manifest["action"] = [{"joints": legs, "target": "position", **leg}, wheel]
        manifest["continuous_joints"] = wheels
        manifest["brake"] = {"stiffness_nm_per_rad": 50.0, "max_nm": 5.0}
        manifest["inputs"] = [
            {"name": f"input_{i}", "size": 3, "min": -1, "max": 1} for i in range(size.inputs)
        ]
        manifest["limits"] |= {"velocity": {"max_rad_per_s": 40.0}, "acceleration": {"max_rad_per_s2": 900.0}}
    if size.models > 1:
        manifest["observation"]["parts"] = [{"name": "now"}]
        for term in terms:
            term["part"] = "now"
        encoders = [
            {"name": f"encoder_{i}", "inputs": {"obs": ["now"]}, "size": 16} for i in range(size.models - 1)
        ]
        taken = ["now", *(each["name"] for each in encoders)]
        manifest["models"] = [*encoders, {"name": "walker", "inputs": {"obs": taken}}]
    return msgspec.convert(manifest, Manifest)


class _Answers:
    """A model that takes no time: its answers are there already."""

    def __init__(self, size: int) -> None:
        rows = np.random.default_rng(0).normal(size=(STATES, size)) * 0.3
        self._rows = rows.astype(np.float32)
        self._step = 0

    def infer(self, observation: np.ndarray) -> np.ndarray:
        self._step += 1
        row: np.ndarray = self._rows[self._step % STATES]
        return row

    def commit(self) -> None: ...
    def reset(self) -> None: ...
    def close(self) -> None: ...
    def versions(self) -> dict[str, str]:
        return {}

    def memory(self) -> dict[str, int]:
        return {}


def stepper(size: Size) -> Callable[[int], tuple[float, float, float]]:
    """Takes so many steps; the seconds of one in building the observation, the models' wiring, the guard."""
    manifest = manifest_of(size)
    pipeline = PolicyPipeline(manifest, None)
    pipeline.reset()
    model: Any = _Answers(size.joints) if size.models == 1 else _graph(manifest)
    rng = np.random.default_rng(1)
    told: dict[str, Any] = {}
    if size.inputs:
        told["inputs"] = tuple(rng.normal(size=3).astype(np.float32) for _ in range(size.inputs))
    states = [
        random_state(rng, size.joints, joint_position=_near_zero(rng, size.joints), **told)
        for _ in range(STATES)
    ]

    def run(steps: int) -> tuple[float, float, float]:
        build = wiring = guard = 0
        for step in range(steps):
            began = time.perf_counter_ns()
            pipeline.observe(states[step % STATES])
            vector = pipeline.observation()
            built = time.perf_counter_ns()
            answer = model.infer(vector)
            answered = time.perf_counter_ns()
            pipeline.commit(pipeline.decide(answer))
            guarded = time.perf_counter_ns()
            model.commit()
            wired = time.perf_counter_ns()
            build += built - began
            wiring += answered - built + wired - guarded
            guard += guarded - answered
        return build / steps / 1e9, wiring / steps / 1e9, guard / steps / 1e9

    return run


def _graph(manifest: Manifest) -> Any:
    # Not there in a gaitd that knows only format 1, which this one may be measured against.
    from gaitd.backends.graph import GraphBackend
    from gaitd.policy.graph import model_graph

    nodes = model_graph(manifest)
    return GraphBackend(nodes, [_Answers(node.size) for node in nodes])


def _near_zero(rng: np.random.Generator, joints: int) -> np.ndarray:
    return (rng.normal(size=joints) * 0.2).astype(np.float32)
