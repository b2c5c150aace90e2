"""Training checkpoints: load without running code, unwrap, and find the actor in them."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch

from gaitd.errors import InputError
from gaitforge.checkpoint.actor import ActorConfig, Layer
from gaitforge.common import files

WRAPPERS = ("actor_state_dict", "model_state_dict", "state_dict", "actor_critic", "policy", "model", "actor")
"""Keys under which a checkpoint holds its weights, first one first."""

CONFIG_KEY = "actor_config"
"""A checkpoint may carry the content of its YAML description under this key."""

ACTOR_NAMES = ("actor", "mlp", "policy", "net", "")
"""What an actor's Sequential is called, first one first; "" is a bare Sequential."""

_IGNORED = re.compile(
    r"(^|\.)(critic|value|std|log_std|distribution|memory_c|count|num_batches_tracked|sigma)"
)
"""Weights that acting without exploration does not need."""

_RNN = re.compile(r"^(?P<owner>.*?)(?P<name>(weight|bias)_[ih]h_l\d+)$")
_NORMALIZER = re.compile(
    r"^(?P<owner>(|.*\.)\w*(normalizer|norm_state|running_mean_std)\w*)\.(?P<name>_?\w+)$"
)

RSL_EPSILON = 1e-2
"""What rsl_rl's empirical normalizer adds to the standard deviation; the checkpoint does not tell."""


@dataclass
class Checkpoint:
    """The actor's part of a checkpoint."""

    layers: list[Layer]
    prefix: str
    """What stands before the layers' numbers, such as ``actor.``."""
    rnn: dict[str, torch.Tensor]
    normalizer: tuple[torch.Tensor, torch.Tensor] | None
    """Mean and standard deviation (dim,)."""
    config: dict[str, Any] | None
    """The description that the checkpoint carries itself."""
    of_rsl_rl: bool
    """Whether its form is that of rsl_rl and legged_gym."""
    ignored: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)


def is_torchscript(path: Path) -> bool:
    """Tell whether a file is a TorchScript archive."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def load(path: Path) -> Any:
    """Load a .pt file that holds only data. Raises InputError for anything else."""
    with files.existing(path, "the checkpoint").open("rb") as stream:
        is_pickle = stream.read(1) == b"\x80"
    if not is_pickle and not zipfile.is_zipfile(path):
        raise InputError(f"{path} is truncated or no PyTorch checkpoint")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        match = re.search(r"GLOBAL (\S+)", str(error))
        named = f" ({match[1]})" if match else ""
        raise InputError(
            f"{path} is a pickle that wants to run code{named}, which is refused: save only tensors, "
            "as with torch.save(model.state_dict(), ...)"
        ) from error
    except Exception as error:  # torch raises RuntimeError, EOFError, KeyError and others for damage
        raise InputError(f"{path} is truncated or no PyTorch checkpoint") from error


def read(path: Path) -> Checkpoint:
    """Find the actor in a checkpoint. Raises InputError when there is none, or more than one."""
    raw = load(path)
    if not isinstance(raw, Mapping):
        raise InputError(f"{path} holds a {type(raw).__name__}, expected a dictionary of weights")
    weights = _flatten(raw)
    if not weights:
        raise InputError(f"{path} holds no weights; its keys are {', '.join(map(str, raw)) or 'none'}")
    rnn, owner = _take_rnn(path, weights)
    normalizer, normalizer_keys = _normalizer(weights)
    prefix = _actor_prefix(path, weights)
    layers = _layers(path, weights, prefix)
    used = {f"{prefix}{layer.index}.{name}" for layer in layers for name in layer.weights}
    rest = [key for key in weights if key not in used and key not in normalizer_keys]
    rest = [key for key in rest if not (owner is not None and key.startswith(owner))]
    return Checkpoint(
        layers=layers,
        prefix=prefix,
        rnn=rnn,
        normalizer=normalizer,
        config=raw.get(CONFIG_KEY),
        of_rsl_rl=bool({"actor_state_dict", "model_state_dict"} & set(raw)) and "optimizer_state_dict" in raw,
        ignored=[key for key in rest if _IGNORED.search(key)],
        unexpected=[key for key in rest if not _IGNORED.search(key)],
    )


def _flatten(raw: Mapping[Any, Any]) -> dict[str, torch.Tensor]:
    """Unwrap to one dictionary of tensors without module. and _orig_mod. in its keys."""
    inner = next((raw[key] for key in WRAPPERS if isinstance(raw.get(key), Mapping)), None)
    if inner is None:
        tensors = {str(key): value for key, value in raw.items() if isinstance(value, torch.Tensor)}
        return {_clean(key): value.detach().float() for key, value in tensors.items()}
    weights = _flatten(inner)
    for key, value in raw.items():  # rsl_rl once kept its normalizer beside the weights
        if str(key).startswith("obs_norm_state") and isinstance(value, Mapping):
            weights.update({f"{key}.{name}": tensor for name, tensor in _flatten(value).items()})
    return weights


def _clean(key: str) -> str:
    return ".".join(part for part in key.split(".") if part not in ("module", "_orig_mod"))


def _take_rnn(path: Path, weights: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], str | None]:
    """Return the actor's recurrent layer and what stands before its names; ({}, None) if there is none."""
    owners: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in weights.items():
        match = _RNN.match(key)
        if match and not _IGNORED.search(match["owner"]):
            owners.setdefault(match["owner"], {})[match["name"]] = tensor
    if len(owners) > 1:
        raise InputError(f"{path} has several recurrent layers: {', '.join(owners)}; one is supported")
    if not owners:
        return {}, None
    owner, rnn = next(iter(owners.items()))
    return rnn, owner


def _normalizer(
    weights: dict[str, torch.Tensor],
) -> tuple[tuple[torch.Tensor, torch.Tensor] | None, set[str]]:
    found: dict[str, torch.Tensor] = {}
    keys = set()
    for key, tensor in weights.items():
        match = _NORMALIZER.match(key)
        if match and not re.search(r"critic|value|privileged|reward", match["owner"]):
            found[match["name"].strip("_").removeprefix("running_")] = tensor
            keys.add(key)
    if "mean" not in found or not {"std", "var"} & set(found):
        return None, set()
    std = found["std"] if "std" in found else found["var"].sqrt()
    return (found["mean"].flatten(), std.flatten()), keys


def _actor_prefix(path: Path, weights: dict[str, torch.Tensor]) -> str:
    """Return what stands before the numbers of the actor's layers."""
    prefixes = dict.fromkeys(
        match[1] for key in weights if (match := re.match(r"^(.*?)\d+\.weight$", key)) is not None
    )
    candidates = [prefix for prefix in prefixes if not _IGNORED.search(prefix)]
    for name in ACTOR_NAMES:
        matching = [prefix for prefix in candidates if name in prefix.rstrip(".").split(".")]
        if len(matching) == 1:
            return matching[0]
    if len(candidates) == 1:
        return candidates[0]
    named = ", ".join(repr(prefix) for prefix in candidates) or "none"
    raise InputError(
        f"{path}: cannot tell the actor's layers, named like actor.0.weight; numbered layers found: {named}"
    )


def _layers(path: Path, weights: dict[str, torch.Tensor], prefix: str) -> list[Layer]:
    parts: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in weights.items():
        match = re.match(r"^(\d+)\.(\w+)$", key.removeprefix(prefix)) if key.startswith(prefix) else None
        if match:
            parts.setdefault(int(match[1]), {})[match[2]] = tensor
    layers = []
    for index, tensors in sorted(parts.items()):
        if "weight" not in tensors or tensors["weight"].dim() not in (1, 2):
            raise InputError(
                f"{path}: {prefix}{index} has {', '.join(tensors)}, which is no linear layer or norm"
            )
        kind = "linear" if tensors["weight"].dim() == 2 else "layer_norm"
        if "running_mean" in tensors:
            kind = "batch_norm"
        layers.append(Layer(index, kind, tensors))
    if not any(layer.kind == "linear" for layer in layers):
        raise InputError(f"{path}: {prefix} has no linear layer")
    return layers


def expected_keys(config: ActorConfig, prefix: str) -> list[str]:
    """Keys of the actor's layers as described; none where the description leaves the widths open."""
    if config.hidden_sizes is None:
        return []
    stride = 3 if config.layer_norm else 2
    weighted = range(0, stride * len(config.hidden_sizes) + 1, stride)
    norms = [index + 1 for index in weighted[:-1]] if config.layer_norm else []
    return [f"{prefix}{index}.{name}" for index in sorted([*weighted, *norms]) for name in ("weight", "bias")]


def own_config(path: Path, found: Checkpoint) -> ActorConfig | None:
    """Return the description that the checkpoint carries itself, if any. Raises InputError."""
    if found.config is None:
        return None
    try:
        return msgspec.convert(found.config, ActorConfig)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: {CONFIG_KEY}: {error}") from error
