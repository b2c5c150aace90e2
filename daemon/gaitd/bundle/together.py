"""Whether several policies may be loaded at once, so that a session goes from one to another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gaitd.bundle.models import model_files
from gaitd.bundle.read import Bundle, fallback_damping
from gaitd.errors import InputError
from gaitd.policy.action import ActionMapper
from gaitd.policy.brake import brakes
from gaitd.policy.encoder import encoded, feeds_of
from gaitd.policy.joints import default_position
from gaitd.policy.manifest import Manifest
from gaitd.policy.observation import required_fields
from gaitd.system.config import Config

MAX_TOGETHER = 3
"""Policies in one gaitd: there are four workers at most, and one may be a standby."""


def check_together(bundles: Sequence[Bundle], config: Config) -> None:
    """Raise InputError when these policies, the first one first, cannot run beside each other.

    They must agree in all that a controller acts on by itself: what it was told of the one holds for all.
    """
    if len(bundles) > MAX_TOGETHER:
        raise InputError(f"{len(bundles)} policies at once; {MAX_TOGETHER} are possible")
    first = bundles[0]
    for place, other in enumerate(bundles[1:], 1):
        if other.id in (each.id for each in bundles[:place]):
            raise InputError(f"{other.path}: policy {other.policy_id} is given twice")
        if not other.has_models("onnx"):
            raise InputError(
                f"{other.path}: a policy beside the first one runs on the CPU and needs model.onnx"
            )
        _check_streams(bundles[:place], other)
        for what, value in _terms(config).items():
            ours, theirs = value(first.manifest), value(other.manifest)
            if ours != theirs:
                raise InputError(
                    f"{other.path}: its {what} is {_short(theirs)}, that of {first.path} {_short(ours)}: "
                    "policies that run beside each other must agree in it; activate one of them alone"
                )


def _check_streams(before: Sequence[Bundle], other: Bundle) -> None:
    """A stream has one producer or encoder, which says the same to all."""
    known = {name: (made, bundle.path) for bundle in before for name, made in _made(bundle).items()}
    for name, theirs in _made(other).items():
        ours, path = known.get(name, (theirs, other.path))
        if ours != theirs:
            raise InputError(
                f"{other.path}: its stream {name} is {theirs}, that of {path} {ours}: "
                "one of them needs another name"
            )


def _made(bundle: Bundle) -> dict[str, str]:
    """What each stream is, and how it is made, in words."""
    streams = bundle.manifest.streams
    made = {feed.name: feed.kind for feed in feeds_of(streams)}
    for stream, encoder in encoded(streams):
        file = model_files(encoder.model)[0]
        takes = f"{encoder.input} of {encoder.takes.name} in {encoder.takes.min:g} to {encoder.takes.max:g}"
        made[stream.name] = (
            f"{stream.kind}, {encoder.output} of {file} ({bundle.manifest.files[file][:16]}) for {takes}"
        )
    return made


def _terms(config: Config) -> dict[str, Callable[[Manifest], Any]]:
    """What must be equal, by name."""
    terms: dict[str, Callable[[Manifest], Any]] = {
        "robot": lambda manifest: manifest.robot,
        "control_period_s": lambda manifest: manifest.control_period_s,
        "joints": lambda manifest: manifest.joints,
        "list of state fields": required_fields,
        "velocity_command": lambda manifest: manifest.velocity_command,
        "inputs": lambda manifest: manifest.inputs,
        "joint targets": lambda manifest: ActionMapper(manifest).kinds,
        "brake": lambda manifest: [values.tolist() for values in brakes(manifest)],
        "fallback damping": lambda manifest: fallback_damping(manifest).tolist(),
    }
    if config.guard.stance_s > 0:
        terms["stance (default pose and gains, because of guard.stance_s)"] = _stance
    return terms


def _stance(manifest: Manifest) -> list[list[float]]:
    mapper = ActionMapper(manifest)
    default = default_position(manifest)
    return [values.tolist() for values in (default, mapper.stiffness, mapper.damping)]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
