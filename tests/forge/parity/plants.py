"""Errors planted into good manifests, or into a trainer that the manifest does not describe."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from trainers import Spec, changed, joint_values, observation_dim, rotation

from gaitforge.parity.findings import Kind

JOINT_TERMS = ("joint_position", "joint_position_relative", "joint_velocity", "joint_torque", "last_action")


@dataclass
class Plant:
    """One error, and how it must be named."""

    name: str
    manifest: dict[str, Any]
    kind: Kind
    trainer: Spec
    """The trainer that is captured."""
    terms: tuple[str, ...] = ()
    """Terms that the finding must name; empty: the whole observation, or the model."""
    values: tuple[str, ...] = ()
    capture: dict[str, Any] = field(default_factory=dict)
    """Options of the capture."""
    fixable: bool = True
    """Whether the proposed manifest change must leave nothing."""


def plants(spec: Spec) -> Iterator[Plant]:
    """Every kind of error, in every term that can have it."""
    yield from _factors(spec)
    yield from _permutations(spec)
    yield from _poses(spec)
    yield from _history(spec)
    yield from _delays(spec)
    yield from _frames(spec)
    yield from _normalizers(spec)
    yield from _clips(spec)
    yield from _noise(spec)


def _in_term(spec: Spec, index: int, **keys: Any) -> dict[str, Any]:
    return changed(spec, lambda manifest: manifest["observation"]["terms"][index].update(keys))


def _terms(spec: Spec) -> list[tuple[int, str, dict[str, Any]]]:
    return [(i, term["term"], term) for i, term in enumerate(spec.manifest["observation"]["terms"])]


def _dim(spec: Spec, name: str) -> int:
    return len(spec.manifest["joints"]) if name in JOINT_TERMS else 2 if name == "clock_phase" else 3


def _factors(spec: Spec) -> Iterator[Plant]:
    for index, name, term in _terms(spec):
        scale = np.broadcast_to(np.asarray(term.get("scale", 1.0)), (_dim(spec, name),))
        for factor in (20.0, 0.5, 1.05):
            manifest = _in_term(spec, index, scale=(scale * factor).tolist())
            yield Plant(f"{name} x {factor}", manifest, Kind.FACTOR, spec, (name,))
        manifest = _in_term(spec, index, scale=(-scale).tolist())
        yield Plant(f"{name} negative", manifest, Kind.SIGN, spec, (name,))
        one = scale.astype(float).copy()
        one[-1] *= 3.0
        label = spec.manifest["joints"][-1] if name in JOINT_TERMS else f"[{_dim(spec, name) - 1}]"
        manifest = _in_term(spec, index, scale=one.tolist())
        yield Plant(f"{name} last x 3", manifest, Kind.FACTOR, spec, (name,), (label,))
        one = scale.astype(float).copy()
        one[1] *= -1.0
        label = spec.manifest["joints"][1] if name in JOINT_TERMS else "[1]"
        manifest = _in_term(spec, index, scale=one.tolist())
        yield Plant(f"{name} second negative", manifest, Kind.SIGN, spec, (name,), (label,))


def _permutations(spec: Spec) -> Iterator[Plant]:
    joints = spec.manifest["joints"]
    orders = {
        "reversed": joints[::-1],
        "two swapped": [joints[1], joints[0], *joints[2:]],
        "by side": joints[1::2] + joints[::2],
    }
    observed = [name for _, name, _ in _terms(spec) if name in JOINT_TERMS and name != "last_action"]
    for text, order in orders.items():

        def reorder(manifest: dict[str, Any], order: list[str] = order) -> None:
            pose = dict(zip(joints, manifest["default_joint_position_rad"], strict=True))
            manifest["joints"] = order
            manifest["default_joint_position_rad"] = pose

        yield Plant(f"joints {text}", changed(spec, reorder), Kind.PERMUTATION, spec, tuple(observed))

        def reorder_names(manifest: dict[str, Any], order: list[str] = order) -> None:
            manifest["joints"] = order

        manifest = changed(spec, reorder_names)
        yield Plant(f"joint names {text}", manifest, Kind.PERMUTATION, spec, tuple(observed))
    terms = spec.manifest["observation"]["terms"]
    for first in range(len(terms) - 1):

        def swap(manifest: dict[str, Any], first: int = first) -> None:
            own = manifest["observation"]["terms"]
            own[first], own[first + 1] = own[first + 1], own[first]

        names = (terms[first]["term"], terms[first + 1]["term"])
        yield Plant(f"{names[0]} and {names[1]} swapped", changed(spec, swap), Kind.PERMUTATION, spec, names)
    for _, name, _ in _terms(spec):
        if name == "clock_phase":
            continue

        def turn(term: str, value: np.ndarray, row: Any, name: str = name) -> np.ndarray:
            return np.roll(value, 1) if term == name else value

        trainer = replace(spec, change=turn)
        yield Plant(f"{name} rolled", spec.manifest, Kind.PERMUTATION, trainer, (name,), fixable=False)


def _poses(spec: Spec) -> Iterator[Plant]:
    for index, name, _ in _terms(spec):
        if name == "joint_position_relative":
            manifest = _in_term(spec, index, term="joint_position")
            yield Plant("pose left out", manifest, Kind.DEFAULT_POSE_MISSING, spec, ("joint_position",))

            def double(manifest: dict[str, Any]) -> None:
                pose = manifest["default_joint_position_rad"]
                manifest["default_joint_position_rad"] = [2 * value for value in pose]

            yield Plant("pose doubled", changed(spec, double), Kind.DEFAULT_POSE_TWICE, spec, (name,))

            def relative(arrays: dict[str, np.ndarray]) -> None:
                pose = joint_values(spec.manifest["default_joint_position_rad"], spec.manifest["joints"])
                arrays["joint_position"] -= pose

            order = list(range(len(spec.manifest["joints"])))
            options = {"edit": relative, "capture_joints": order}
            yield Plant("positions relative already", spec.manifest, Kind.DEFAULT_POSE_TWICE, spec, (name,),
                        capture=options, fixable=False)  # fmt: skip

            def other(manifest: dict[str, Any]) -> None:
                manifest["default_joint_position_rad"][2] += 0.2

            joint = (spec.manifest["joints"][2],)
            yield Plant("another pose", changed(spec, other), Kind.DEFAULT_POSE, spec, (name,), joint)
        if name == "joint_position":
            manifest = _in_term(spec, index, term="joint_position_relative")
            kind = Kind.DEFAULT_POSE_TWICE
            yield Plant("pose subtracted", manifest, kind, spec, ("joint_position_relative",))


def _history(spec: Spec) -> Iterator[Plant]:
    history = spec.manifest["observation"].get("history", {})
    if history.get("length", 1) == 1:
        return

    def with_history(**keys: Any) -> dict[str, Any]:
        return changed(spec, lambda manifest: manifest["observation"]["history"].update(keys))

    order = "newest_first" if history.get("order", "oldest_first") == "oldest_first" else "oldest_first"
    yield Plant("history reversed", with_history(order=order), Kind.HISTORY_REVERSED, spec)
    layout = "term_major" if history.get("layout", "frame_major") == "frame_major" else "frame_major"
    yield Plant("other layout", with_history(layout=layout), Kind.HISTORY_LAYOUT, spec)
    both = with_history(order=order, layout=layout)
    yield Plant("other layout, reversed", both, Kind.HISTORY_LAYOUT, spec)
    yield Plant("other layout and reversed", both, Kind.HISTORY_REVERSED, spec)
    longer = with_history(length=history["length"] + 2)
    yield Plant("history longer", longer, Kind.HISTORY_LENGTH, spec)
    fill = "zeros" if history.get("fill", "first_frame") == "first_frame" else "first_frame"
    yield Plant("other fill", with_history(fill=fill), Kind.HISTORY_FILL, spec)


def _delays(spec: Spec) -> Iterator[Plant]:
    for index, name, term in _terms(spec):
        delay = term.get("delay_steps", 0) + 1
        yield Plant(f"{name} late", _in_term(spec, index, delay_steps=delay), Kind.LATE, spec, (name,))
        trainer = replace(spec, extra_delay={name: 1})
        yield Plant(f"trainer's {name} late", spec.manifest, Kind.LATE, trainer, (name,))


def _frames(spec: Spec) -> Iterator[Plant]:
    for _, name, _ in _terms(spec):
        if name not in ("base_angular_velocity", "base_linear_velocity", "projected_gravity"):
            continue

        def turn(term: str, value: np.ndarray, row: Any, name: str = name) -> np.ndarray:
            return rotation(row["orientation"]) @ value if term == name else value

        yield Plant(f"{name} in the world", spec.manifest, Kind.FRAME, replace(spec, change=turn), (name,),
                    fixable=False)  # fmt: skip

        def back(term: str, value: np.ndarray, row: Any, name: str = name) -> np.ndarray:
            matrix = rotation(row["orientation"])
            if name == "projected_gravity":
                return matrix @ [0.0, 0.0, -1.0] if term == name else value
            return matrix.T @ value if term == name else value

        yield Plant(f"{name} rotated the wrong way", spec.manifest, Kind.FRAME, replace(spec, change=back),
                    (name,), fixable=False)  # fmt: skip


def _normalizers(spec: Spec) -> Iterator[Plant]:
    dim = observation_dim(spec.manifest)
    if spec.stats is None:
        if not spec.hidden:
            manifest = {**copy.deepcopy(spec.manifest), "normalization": {"epsilon": 0.0}}
            rng = np.random.default_rng(3)
            stats = (
                rng.uniform(-0.3, 0.3, dim).astype(np.float32),
                rng.uniform(0.2, 2.0, dim).astype(np.float32),
            )
            yield Plant("normalizer though the model has none", manifest, Kind.NORMALIZER_DOUBLED,
                        replace(spec, stats=None), capture={"bundle_stats": stats})  # fmt: skip
        return
    mean, std = spec.stats
    epsilon = spec.manifest["normalization"]["epsilon"]
    without = changed(spec, lambda manifest: manifest.pop("normalization"))
    yield Plant("normalizer left out", without, Kind.NORMALIZER_MISSING, spec, fixable=False)
    yield Plant("normalizer left out, statistics captured", without, Kind.NORMALIZER_MISSING, spec,
                capture={"mean": mean, "std": std})  # fmt: skip

    def normalize(observation: np.ndarray) -> np.ndarray:
        return (observation - mean) / (std + epsilon)

    def arrays_normalized(arrays: dict[str, np.ndarray]) -> None:
        arrays["observation"] = normalize(arrays["observation"])

    yield Plant("normalized observations, no normalizer", without, Kind.NORMALIZER_MISSING, spec,
                capture={"edit": arrays_normalized, "normalized": True})  # fmt: skip
    yield Plant("normalized observations said to be raw", spec.manifest, Kind.NORMALIZER_DOUBLED, spec,
                capture={"edit": arrays_normalized}, fixable=False)  # fmt: skip
    plain = replace(spec, stats=None)
    yield Plant("normalizer though the model has one", spec.manifest, Kind.NORMALIZER_DOUBLED, plain,
                capture={"bundle_stats": spec.stats})  # fmt: skip


def _clips(spec: Spec) -> Iterator[Plant]:
    bounds = {"joint_velocity": 2.0, "base_angular_velocity": 0.9, "joint_position_relative": 0.3}
    for index, name, term in _terms(spec):
        if name not in bounds:
            continue
        bound = round(bounds[name] * float(np.max(term.get("scale", 1.0))), 3)
        if "clip" in term:
            manifest = changed(spec, lambda m, i=index: m["observation"]["terms"][i].pop("clip"))
            yield Plant(f"{name}: clip left out", manifest, Kind.CLIPPED, spec, (name,))
            manifest = _in_term(spec, index, clip=[x / 2 for x in term["clip"]])
            yield Plant(f"{name}: clip halved", manifest, Kind.CLIPPED, spec, (name,))
            continue
        manifest = _in_term(spec, index, clip=[-bound, bound])
        yield Plant(f"{name} clipped", manifest, Kind.CLIPPED, spec, (name,))
        trainer = replace(spec, manifest=manifest)
        yield Plant(f"trainer's {name} clipped", spec.manifest, Kind.CLIPPED, trainer, (name,))
    narrow = {"unit": "si", "min": [-0.4] * 3, "max": [0.4] * 3}
    manifest = {**spec.manifest, "velocity_command": narrow}
    yield Plant("command's range", manifest, Kind.CLIPPED, spec, ("velocity_command",), fixable=False)


def _noise(spec: Spec) -> Iterator[Plant]:
    for _, name, _ in _terms(spec):
        if name in ("clock_phase", "last_action", "velocity_command"):
            continue
        rng = np.random.default_rng(8)

        def shake(term: str, value: np.ndarray, row: Any, name: str = name, rng: Any = rng) -> np.ndarray:
            size = {"joint_velocity": 0.5, "joint_torque": 1.0}.get(name, 0.03)
            return value + rng.uniform(-size, size, value.shape) if term == name else value

        yield Plant(f"{name} noisy", spec.manifest, Kind.NOISE, replace(spec, change=shake), (name,),
                    fixable=False)  # fmt: skip
