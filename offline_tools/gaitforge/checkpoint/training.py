"""What training wrote beside a checkpoint: params/agent.yaml, params/env.yaml and exported/policy.pt."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from gaitd.errors import InputError
from gaitforge.checkpoint.activations import of_class

AGENT, ENV, EXPORTED = Path("params/agent.yaml"), Path("params/env.yaml"), Path("exported/policy.pt")
LEVELS = 3
"""Folders looked into, from the checkpoint's own upwards: skrl and rl_games save one deeper."""


@dataclass(frozen=True)
class Training:
    """The files found, and what they say."""

    agent_path: Path | None
    agent: Mapping[str, Any]
    """The trainer's configuration; empty if there is none."""

    def get(self, *keys: str) -> Any:
        """Return a value deep in the trainer's configuration, None if it is not there."""
        value: Any = self.agent
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value


def find(checkpoint: Path) -> Training:
    """Read the configuration beside a checkpoint. Raises InputError when it is there and no YAML."""
    path = _near(checkpoint, AGENT)
    return Training(path, read_yaml(path) if path is not None else {})


def used_files(checkpoint: Path) -> list[Path]:
    """Files beside a checkpoint that an export depends on."""
    found = [_near(checkpoint, name) for name in (AGENT, ENV, EXPORTED)]
    return [path for path in found if path is not None]


def observation_terms(checkpoint: Path) -> tuple[Path, list[str]] | None:
    """Return the terms of the policy's observation in order, as Isaac Lab's env.yaml describes them."""
    path = _near(checkpoint, ENV)
    if path is None:
        return None
    group = read_yaml(path).get("observations", {})
    group = group.get("policy") if isinstance(group, Mapping) else None
    if not isinstance(group, Mapping):
        return None
    terms = []
    for name, term in group.items():
        if not (isinstance(term, Mapping) and "func" in term):
            continue
        told = [f"{key} {term[key]}" for key in ("scale", "clip", "history_length") if term.get(key)]
        terms.append(f"{name} ({', '.join(told)})" if told else name)
    if group.get("history_length"):
        terms.append(f"each with a history of {group['history_length']}")
    return path, terms


def exported_activation(checkpoint: Path) -> tuple[str, Path] | None:
    """Return the activation of the exported TorchScript, if all its activations are of one kind."""
    path = _near(checkpoint, EXPORTED)
    if path is None or path.resolve() == checkpoint.resolve():
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = torch.jit.load(str(path), map_location="cpu")
    except Exception:  # no TorchScript: it tells nothing
        return None
    name = script_activation(module)
    return None if name is None else (name, path)


def script_activation(module: Any) -> str | None:
    """Return the activation of a TorchScript module, None without one or with several."""
    names = {of_class(str(getattr(part, "original_name", ""))) for part in module.modules()} - {None}
    return names.pop() if len(names) == 1 else None


def read_yaml(path: Path) -> Mapping[str, Any]:
    """Read YAML with Python's tags as the data below them. Raises InputError."""
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), _Lenient)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    return raw if isinstance(raw, Mapping) else {}


class _Lenient(yaml.SafeLoader):
    """Takes ``!!python/tuple`` and the like, as Isaac Lab writes them, without running anything."""


def _untagged(loader: Any, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node) or suffix


_Lenient.add_multi_constructor("tag:yaml.org,2002:python/", _untagged)


def _near(checkpoint: Path, name: Path) -> Path | None:
    folders = [checkpoint.resolve().parent, *checkpoint.resolve().parent.parents][:LEVELS]
    return next((folder / name for folder in folders if (folder / name).is_file()), None)
