"""A policy's models as a graph: what each takes of the observation and of the models before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from gaitd.errors import InputError
from gaitd.policy.manifest import GraphModel, Manifest, Model
from gaitd.policy.terms import compile_terms

Taken: TypeAlias = slice | int
"""A part of the observation, or the output of the model of that index."""


@dataclass(frozen=True, slots=True)
class Node:
    """One model, what it takes and what it gives."""

    model: GraphModel
    takes: tuple[Taken, ...]
    """One behind the other, tensor by tensor."""
    input_sizes: dict[str, int]
    """By tensor, in that order."""
    size: int
    """Of the output."""


def model_graph(manifest: Manifest) -> tuple[Node, ...]:
    """The models in the order in which they run; none where there is only the section ``model``.

    Raises InputError, naming the key, when something is taken that is not there yet.
    """
    models = manifest.models
    if models and manifest.model != Model():
        raise InputError("model: stands for a single model; with models, leave it out")
    parts = compile_terms(manifest).parts
    known: dict[str, tuple[Taken, int]] = {
        name: (place, place.stop - place.start) for name, place in parts.items()
    }
    nodes: list[Node] = []
    for index, model in enumerate(models):
        where, last = f"models[{index}] ({model.name})", index == len(models) - 1
        _check(model, where, last=last)
        takes: list[Taken] = []
        sizes: dict[str, int] = {}
        for tensor, names in model.inputs.items():
            for name in names:
                if name not in known:
                    raise InputError(
                        f"{where}.inputs.{tensor}: {name!r} is no part of the observation and no model "
                        f"before it; known: {', '.join(known)}"
                    )
            takes += [known[name][0] for name in names]
            sizes[tensor] = sum(known[name][1] for name in names)
        size = len(manifest.moved_joints) if model.size is None else model.size
        if model.name in known:
            raise InputError(f"{where}.name: a part of the observation, or a model before, has that name")
        known[model.name] = index, size
        nodes.append(Node(model, tuple(takes), sizes, size))
    _check_used(nodes)
    return tuple(nodes)


def _check(model: GraphModel, where: str, *, last: bool) -> None:
    if not model.inputs or not all(model.inputs.values()):
        raise InputError(f"{where}.inputs: expected at least one tensor, each with what it takes")
    if last and (model.size is not None or model.every_steps != 1):
        raise InputError(f"{where}: the last model gives the action, in every step: no size, no every_steps")
    if not last and model.size is None:
        raise InputError(f"{where}.size: missing; it is how many values the models behind it get")
    for key in ("npu_core", "npu_memory_kib"):
        if model.backend == "onnx" and getattr(model, key) is not None:
            raise InputError(f"{where}.{key}: with the backend onnx it runs on the CPU")


def _check_used(nodes: list[Node]) -> None:
    used = {taken for node in nodes for taken in node.takes if isinstance(taken, int)}
    for index, node in enumerate(nodes[:-1]):
        if index not in used:
            raise InputError(f"models[{index}] ({node.model.name}): nobody takes what it gives")
