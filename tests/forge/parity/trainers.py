"""Trainers of three made-up robots: they observe by naive code of their own, never by gaitd's pipeline."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gaitforge.parity.gaitd_capture import Capture
from support.bundles import mlp, mlp_onnx, mlp_weights, npz, recurrent_onnx, write_small_bundle

STEPS = 250
PERIOD_S = 0.02

Row = dict[str, np.ndarray]


def rotation(q: np.ndarray) -> np.ndarray:
    """Base to world, by rotating the three axes with quaternion products."""

    def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.array([
            a[0] * b[0] - a[1:] @ b[1:],
            *(a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:])),
        ])  # fmt: skip

    inverse = q * [1, -1, -1, -1]
    return np.stack([product(product(q, np.r_[0.0, axis]), inverse)[1:] for axis in np.eye(3)], axis=1)


@dataclass
class Spec:
    """One robot: its contract as a manifest, and how its trainer deviates from that."""

    manifest: dict[str, Any]
    stats: tuple[np.ndarray, np.ndarray] | None = None
    hidden: int = 0
    change: Callable[[str, np.ndarray, Row], np.ndarray] | None = None
    """Plants an error into a term (before scale) of the trainer."""
    after: Callable[[np.ndarray], np.ndarray] | None = None
    """Plants an error into the finished observation."""
    extra_delay: dict[str, int] = field(default_factory=dict)


def joint_values(values: Any, joints: list[str]) -> np.ndarray:
    if isinstance(values, dict):
        return np.array([values[name] for name in joints])
    return np.broadcast_to(np.asarray(values, float), (len(joints),))


def walk(
    joints: int, seed: int, steps: int = STEPS, period_s: float = PERIOD_S, moving_command: bool = True
) -> list[Row]:
    """States of something that walks: periodic, every joint in its own way, with a little noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(steps + 1) * PERIOD_S

    def waves(count: int, size: float, mean: float = 0.0) -> np.ndarray:
        out = np.zeros((len(t), count))
        for i in range(count):
            for k in (1, 2, 3):
                out[:, i] += (
                    rng.uniform(0.3, 1.0) / k * np.sin(2 * math.pi * k * 1.7 * t + rng.uniform(0, 6.28))
                )
            out[:, i] = size * (out[:, i] + 0.05 * rng.standard_normal(len(t))) + mean * rng.uniform(-1, 1)
        return out

    rpy = np.concatenate([waves(2, 0.12), waves(1, 0.2) + 0.3 + 0.4 * t[:, None]], axis=1)
    command = np.zeros((len(t), 3))
    for start in range(0, len(t), 50):
        command[start:] = rng.uniform(-1, 1, 3) if moving_command else (0.5, 0.0, 0.0)
    q = np.zeros((len(t), 4))
    for i, (r, p, y) in enumerate(rpy):
        cr, sr, cp, sp, cy, sy = (f(v / 2) for v in (r, p, y) for f in (math.cos, math.sin))
        q[i] = (cr * cp * cy + sr * sp * sy, sr * cp * cy - cr * sp * sy, cr * sp * cy + sr * cp * sy,
                cr * cp * sy - sr * sp * cy)  # fmt: skip
    arrays = {
        "joint_position": waves(joints, 0.25, 0.6),
        "joint_velocity": waves(joints, 3.0),
        "joint_torque": waves(joints, 10.0),
        "angular_velocity": waves(3, 0.8),
        "linear_velocity": waves(3, 0.4),
        "linear_acceleration": waves(3, 2.0) + np.array([0, 0, 9.8]),
        "velocity_command": command,
        "orientation": q,
    }
    arrays = {name: array.astype(np.float32).astype(float) for name, array in arrays.items()}
    return [{name: array[i] for name, array in arrays.items()} | {"rpy": rpy[i]} for i in range(steps)]


def term_value(spec: Spec, term: dict[str, Any], row: Row, step: int, last_action: np.ndarray) -> np.ndarray:
    """One term before delay, scale and clip."""
    joints = spec.manifest["joints"]
    name = term["term"]
    if name == "clock_phase":
        phase = 2 * math.pi * step * PERIOD_S / term["period_s"]
        return np.array([math.sin(phase), math.cos(phase)])
    value = {
        "base_angular_velocity": lambda: row["angular_velocity"],
        "base_linear_velocity": lambda: row["linear_velocity"],
        "linear_acceleration": lambda: row["linear_acceleration"],
        "projected_gravity": lambda: rotation(row["orientation"]).T @ [0.0, 0.0, -1.0],
        "roll_pitch_yaw": lambda: row["rpy"],
        "velocity_command": lambda: row["velocity_command"],
        "joint_position": lambda: row["joint_position"],
        "joint_position_relative": lambda: (
            row["joint_position"] - joint_values(spec.manifest["default_joint_position_rad"], joints)
        ),
        "joint_velocity": lambda: row["joint_velocity"],
        "joint_torque": lambda: row["joint_torque"],
        "last_action": lambda: last_action,
    }[name]()
    return np.array(value) if spec.change is None else spec.change(name, np.array(value), row)


def play(spec: Spec, rows: list[Row], episodes: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observations, raw actions and reset flags of the trainer's own run over the states."""
    manifest = spec.manifest
    terms = manifest["observation"]["terms"]
    history = {"length": 1, "layout": "frame_major", "order": "oldest_first", "fill": "first_frame",
               **manifest["observation"].get("history", {})}  # fmt: skip
    count = len(manifest["joints"])
    act = make_actor(spec)
    observations, actions = [], []
    reset = np.arange(len(rows)) % (len(rows) // episodes) == 0
    past: list[list[np.ndarray]] = []
    last = np.zeros(count)
    step = 0
    for row, fresh in zip(rows, reset, strict=True):
        if fresh:
            past, last, step = [], np.zeros(count), 0
        values = []
        for term in terms:
            value = term_value(spec, term, row, step, last) * np.asarray(term.get("scale", 1.0))
            if "clip" in term:
                value = np.clip(value, *term["clip"])
            values.append(value)
        past.insert(0, values)

        def frame(term: int, age: int, past: list[list[np.ndarray]] = past) -> np.ndarray:
            if age < len(past):
                return past[age][term]
            return past[-1][term] if history["fill"] == "first_frame" else np.zeros_like(past[0][term])

        stacks = []
        for i, term in enumerate(terms):
            delay = term.get("delay_steps", 0) + spec.extra_delay.get(term["term"], 0)
            length = term.get("history_length", history["length"])
            stack = [frame(i, delay + age) for age in range(length)]
            stacks.append(stack[::-1] if history["order"] == "oldest_first" else stack)
        if history["layout"] == "term_major":
            observation = np.concatenate([value for stack in stacks for value in stack])
        else:
            observation = np.concatenate([stack[k] for k in range(history["length"]) for stack in stacks])
        clip = manifest["observation"].get("clip", math.inf)
        observation = np.clip(observation, -clip, clip)
        if spec.after is not None:
            observation = spec.after(observation)
        observations.append(observation.astype(np.float32))
        last = act(observations[-1], bool(fresh))
        actions.append(last)
        step += 1
    return np.array(observations), np.array(actions, np.float32), reset


def make_actor(spec: Spec) -> Callable[[np.ndarray, bool], np.ndarray]:
    """The policy in the trainer: normalizer and network."""
    dim, count = observation_dim(spec.manifest), len(spec.manifest["joints"])
    if spec.hidden:
        import onnxruntime

        session = onnxruntime.InferenceSession(recurrent_onnx(dim, count, spec.hidden))
        state = np.zeros((1, spec.hidden), np.float32)

        def recurrent(observation: np.ndarray, fresh: bool) -> np.ndarray:
            if fresh:
                state.fill(0.0)
            inputs = {"obs": observation[None], "hidden_in": state.copy()}
            action, state[:] = session.run(["action", "hidden_out"], inputs)
            return np.array(action[0])

        return recurrent
    weights = mlp_weights(dim, count)
    normalization = spec.manifest.get("normalization", {})

    def act(observation: np.ndarray, fresh: bool) -> np.ndarray:
        if spec.stats is not None:
            mean, std = spec.stats
            observation = (observation - mean) / (std + normalization.get("epsilon", 0.0))
        return mlp(weights, observation)

    return act


def observation_dim(manifest: dict[str, Any]) -> int:
    from support.bundles import observation_dim as dim

    return dim(manifest)


def write_bundle_of(target: Path, spec: Spec, manifest: dict[str, Any] | None = None) -> Path:
    """The policy's bundle; ``manifest`` may hold a planted error, the model is the trainer's."""
    manifest = manifest or spec.manifest
    dim, count = observation_dim(spec.manifest), len(spec.manifest["joints"])
    model = recurrent_onnx(dim, count, spec.hidden) if spec.hidden else mlp_onnx(mlp_weights(dim, count))
    golden = npz(observation=np.zeros((2, observation_dim(manifest))), action=np.zeros((2, count)))
    files = {"model": model, "golden": golden}
    if manifest.get("normalization") is not None:
        mean, std = spec.stats or (np.zeros(dim), np.ones(dim))
        files["obs_stats"] = npz(mean=mean, std=std)
    return write_small_bundle(target, manifest, **files)


def write_capture(
    target: Path,
    spec: Spec,
    seed: int = 0,
    capture_joints: list[int] | None = None,
    episodes: int = 1,
    edit: Callable[[dict[str, np.ndarray]], None] | None = None,
    steps: int = STEPS,
    moving_command: bool = True,
    **options: Any,
) -> Path:
    """Play and capture; joints in an order of the capture's own."""
    joints = spec.manifest["joints"]
    order = capture_joints or list(np.random.default_rng(seed + 1).permutation(len(joints)))
    rows = walk(len(joints), seed, steps, moving_command=moving_command)
    observations, actions, reset = play(spec, rows, episodes)
    arrays = {name: np.array([row[name] for row in rows]) for name in rows[0] if name != "rpy"}
    arrays |= {"observation": observations, "action": actions}
    for name in ("joint_position", "joint_velocity", "joint_torque"):
        arrays[name] = arrays[name][:, order]
    if edit is not None:
        edit(arrays)
    capture = Capture([joints[i] for i in order], PERIOD_S, **options)
    for index in range(steps):
        capture.add(reset=reset[index], **{name: array[index] for name, array in arrays.items()})
    capture.save(target)
    return target


def _common(joints: list[str], pose: list[float], robot: str) -> dict[str, Any]:
    return {
        "format": 1,
        "name": robot,
        "version": "1",
        "robot": robot,
        "control_period_s": PERIOD_S,
        "joints": joints,
        "default_joint_position_rad": pose,
        "velocity_command": {"unit": "si", "min": [-2.0, -2.0, -2.0], "max": [2.0, 2.0, 2.0]},
        "action": {"scale": 0.25, "stiffness_nm_per_rad": 30.0, "damping_nms_per_rad": 1.0},
        "fallback_damping_nms_per_rad": 2.0,
        "limits": {"position": {"min_rad": -4.0, "max_rad": 4.0}},
    }


def quadruped() -> Spec:
    """12 joints, one frame, all terms at scale 1, a normalizer: as Isaac Lab with rsl_rl trains."""
    joints = [f"{leg}_{part}_joint" for part in ("hip", "thigh", "calf") for leg in ("FL", "FR", "RL", "RR")]
    pose = [0.1, -0.1, 0.12, -0.12, 0.8, 0.81, 1.0, 1.02, -1.5, -1.51, -1.52, -1.53]
    manifest = _common(joints, pose, "quadruped")
    manifest["observation"] = {
        "terms": [
            {"term": "base_linear_velocity"},
            {"term": "base_angular_velocity"},
            {"term": "projected_gravity"},
            {"term": "velocity_command"},
            {"term": "joint_position_relative"},
            {"term": "joint_velocity"},
            {"term": "last_action"},
        ]
    }
    manifest["normalization"] = {"epsilon": 0.01}
    rng = np.random.default_rng(11)
    stats = rng.uniform(-0.3, 0.3, 48).astype(np.float32), rng.uniform(0.2, 2.0, 48).astype(np.float32)
    return Spec(manifest, stats)


def humanoid() -> Spec:
    """29 joints, five frames by term, the usual scales, a clock: as Unitree's trainers do."""
    sides = [f"{side}_{part}" for side in ("left", "right") for part in (
        "hip_pitch", "hip_roll", "hip_yaw", "knee", "ankle_pitch", "ankle_roll")]  # fmt: skip
    arms = [f"{side}_{part}" for side in ("left", "right") for part in (
        "shoulder_pitch", "shoulder_roll", "shoulder_yaw", "elbow", "wrist_roll", "wrist_pitch",
        "wrist_yaw")]  # fmt: skip
    joints = [f"{name}_joint" for name in [*sides, "waist_yaw", "waist_roll", "waist_pitch", *arms]]
    rng = np.random.default_rng(12)
    manifest = _common(joints, [round(float(x), 2) for x in rng.uniform(-0.6, 0.6, 29)], "humanoid")
    manifest["observation"] = {
        "terms": [
            {"term": "base_angular_velocity", "scale": 0.25},
            {"term": "projected_gravity"},
            {"term": "velocity_command", "scale": [2.0, 2.0, 0.25]},
            {"term": "joint_position_relative"},
            {"term": "joint_velocity", "scale": 0.05},
            {"term": "last_action"},
            {"term": "clock_phase", "period_s": 0.8},
        ],
        "history": {"length": 5, "layout": "term_major", "order": "oldest_first"},
        "clip": 100.0,
    }
    return Spec(manifest)


def biped() -> Spec:
    """6 joints, three frames newest first from zeros, absolute positions, a delay, a clip, a hidden state."""
    joints = [f"{side}_{part}" for side in ("L", "R") for part in ("hip", "knee", "ankle")]
    manifest = _common(joints, [0.3, -0.7, 0.4, 0.31, -0.71, 0.41], "biped")
    manifest["observation"] = {
        "terms": [
            {"term": "roll_pitch_yaw"},
            {"term": "base_angular_velocity", "scale": 0.5},
            {"term": "velocity_command"},
            {"term": "joint_position", "scale": 2.0},
            {"term": "joint_velocity", "scale": 0.1, "clip": [-0.35, 0.35], "delay_steps": 1},
            {"term": "last_action", "scale": 0.5},
        ],
        "history": {"length": 3, "order": "newest_first", "fill": "zeros"},
    }
    manifest["model"] = {"recurrent": [{"input": "hidden_in", "output": "hidden_out", "shape": [1, 8]}]}
    return Spec(manifest, hidden=8)


ROBOTS: dict[str, Callable[[], Spec]] = {"quadruped": quadruped, "humanoid": humanoid, "biped": biped}


def changed(spec: Spec, edit: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """A copy of the manifest with an error planted into it."""
    manifest = copy.deepcopy(spec.manifest)
    edit(manifest)
    return manifest
