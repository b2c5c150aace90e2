"""What training wrote beside a checkpoint: params/agent.yaml, params/env.yaml and exported/policy.pt."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gaitd.errors import InputError
from gaitforge.checkpoint.activations import of_class
from gaitforge.common import console, files

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
        """Return a value deep in the trainer's configuration, None if it is not there. Raises InputError."""
        *above, last = keys
        return self.section(*above).get(last)

    def section(self, *keys: str) -> Mapping[str, Any]:
        """Return keys and values deep in the trainer's configuration, {} if they are not there.

        Raises InputError when something else stands there.
        """
        section = self.agent
        for depth, key in enumerate(keys, 1):
            value = section.get(key)
            if value is None:
                return {}
            if not isinstance(value, Mapping):
                raise InputError(
                    f"{self.agent_path}: {'.'.join(keys[:depth])}: expected keys and values, got {value!r}"
                )
            section = value
        return section

    def number(self, *keys: str) -> float | None:
        """Return a number that is not negative, None if it is not there. Raises InputError for others."""
        value = self.get(*keys)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise InputError(
                f"{self.agent_path}: {'.'.join(keys)}: expected a number, not negative, got {value!r}"
            )
        return float(value)


def find(checkpoint: Path) -> Training:
    """Read the trainer's configuration beside a checkpoint. Raises InputError for what is not understood."""
    path = _near(checkpoint, AGENT)
    return Training(path, files.read_yaml(path, "the trainer's configuration") if path is not None else {})


def used_files(checkpoint: Path) -> list[Path]:
    """Files beside a checkpoint that an export depends on."""
    found = [_near(checkpoint, name) for name in (AGENT, ENV, EXPORTED)]
    return [path for path in found if path is not None]


def observation_terms(checkpoint: Path) -> tuple[Path, list[str]] | None:
    """Return the terms of the policy's observation in order, as Isaac Lab's env.yaml describes them.

    Nothing is taken from there but these words, so a file that is not understood is named and left.
    """
    path = _near(checkpoint, ENV)
    if path is None:
        return None
    try:
        group: Any = files.read_yaml(path, "the environment's configuration")
        for key in ("observations", "policy"):
            group = group.get(key) if isinstance(group, Mapping) else None
        if not isinstance(group, Mapping):
            raise InputError(f"{path}: observations.policy: expected keys and values, got {group!r}")
    except InputError as error:
        console.note(f"the observation's terms are not shown: {error}")
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


def _near(checkpoint: Path, name: Path) -> Path | None:
    folders = [checkpoint.resolve().parent, *checkpoint.resolve().parent.parents][:LEVELS]
    return next((folder / name for folder in folders if files.found(folder / name)), None)
