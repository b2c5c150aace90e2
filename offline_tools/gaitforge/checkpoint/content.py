"""What a checkpoint file holds, loaded without running code: tensors by dotted key, and plain values."""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from gaitd.errors import InputError
from gaitforge.common import files

WEIGHTS = "policy.pth"
"""Where a stable-baselines3 archive keeps its weights."""

VECNORMALIZE = (
    "is a pickled VecNormalize, which cannot be read without running its code. Where you train, write "
    "np.savez('obs_stats.npz', mean=v.obs_rms.mean, std=np.sqrt(v.obs_rms.var + v.epsilon)); then give "
    "--obs-stats obs_stats.npz, and in the manifest normalization: {clip: <v.clip_obs>}"
)


@dataclass(frozen=True)
class Content:
    """A checkpoint, flat."""

    path: Path
    tensors: dict[str, torch.Tensor]
    """Weights and statistics by dotted key, without ``module.`` and ``_orig_mod.``."""
    values: dict[str, Any] = field(default_factory=dict)
    """Everything else: the top-level entries without tensors."""

    def has(self, prefix: str) -> bool:
        """Tell whether there are tensors below a prefix, which ends in a dot."""
        return any(key.startswith(prefix) for key in self.tensors)

    def matches(self, pattern: str) -> bool:
        """Tell whether the pattern matches the begin of a key."""
        return any(re.match(pattern, key) for key in self.tensors)


def is_torchscript(path: Path) -> bool:
    """Tell whether a file is a TorchScript archive."""
    return any("/code/" in name for name in _names(path))


def load(path: Path) -> Content:
    """Load a file that holds only data. Raises InputError for anything else."""
    files.existing(path, "the checkpoint")
    if path.suffix == ".onnx":
        raise InputError(
            f"{path} is an ONNX model, not a checkpoint: there is nothing to export; go on with gaitforge "
            "calibrate, convert, verify and pack"
        )
    if "VecNormalize" in _globals(path):
        raise InputError(f"{path} {VECNORMALIZE}")
    if WEIGHTS in _names(path):
        return _load_archive(path)
    with path.open("rb") as stream:
        is_pickle = stream.read(1) == b"\x80"
        if not is_pickle and not zipfile.is_zipfile(path):
            raise InputError(f"{path} is truncated or no PyTorch checkpoint")
        stream.seek(0)
        raw = _load_data(path, stream)
    if not isinstance(raw, Mapping):
        raise InputError(f"{path} holds a {type(raw).__name__}, expected a dictionary of weights")
    return content_of(path, raw)


def content_of(path: Path, raw: Mapping[Any, Any]) -> Content:
    """Flatten nested dictionaries. Raises InputError when two keys become one, or nothing is left."""
    tensors: dict[str, torch.Tensor] = {}
    for key, tensor in _leaves(raw):
        clean = ".".join(part for part in key.split(".") if part not in ("module", "_orig_mod"))
        if clean in tensors:
            raise InputError(
                f"{path} holds {clean} twice, with and without a wrapper's module. or _orig_mod."
            )
        tensors[clean] = tensor
    values = {str(key): value for key, value in raw.items() if not any(True for _ in _leaves({key: value}))}
    if not any(tensor.dim() for tensor in tensors.values()):
        raise InputError(f"{path} holds no weights; its keys are {', '.join(map(str, raw)) or 'none'}")
    return Content(path, tensors, values)


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield key, value.detach()
    elif isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
        yield key, torch.from_numpy(np.array(value))
    elif isinstance(value, list | tuple) and _is_statistics(key, value):
        yield key, torch.tensor([float(number) for number in value])
    elif isinstance(value, Mapping | list | tuple):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for name, inner in items:
            yield from _leaves(inner, f"{key}.{name}" if key else str(name))


def _is_statistics(key: str, value: Sequence[Any]) -> bool:
    """Tell whether a plain list may be a normalizer's, so that it is not overlooked."""
    named = re.search(r"mean|var|std", key.rpartition(".")[2])
    return bool(named and value and all(isinstance(number, float | int) for number in value))


def _names(path: Path) -> list[str]:
    if not zipfile.is_zipfile(path):
        return []
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def _load_archive(path: Path) -> Content:
    """Read the archive that stable-baselines3's model.save() writes (common/save_util.py there)."""
    with zipfile.ZipFile(path) as archive:
        raw = _load_data(path, io.BytesIO(archive.read(WEIGHTS)))
        data = json.loads(archive.read("data")) if "data" in archive.namelist() else {}
    content = content_of(path, raw)
    content.values["data"] = data
    return content


def _load_data(path: Path, stream: BinaryIO) -> Any:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_numpy_data()):
            warnings.simplefilter("ignore")
            return torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        match = re.search(r"GLOBAL (\S+)", str(error))
        named = f" ({match[1]})" if match else ""
        raise InputError(
            f"{path} is a pickle that wants to run code{named}, which is refused: save only tensors, "
            "as with torch.save(model.state_dict(), ...)"
        ) from error
    except Exception as error:  # torch raises RuntimeError, EOFError, KeyError and others for damage
        raise InputError(f"{path} is truncated or no PyTorch checkpoint") from error


def _numpy_data() -> list[Any]:
    """The constructors of numpy's scalars and arrays, under the names of numpy 1 and 2."""
    import _codecs

    scalar = np.float64(0).__reduce__()[0]
    reconstruct = np.zeros(0).__reduce__()[0]
    allowed: list[Any] = [np.ndarray, np.dtype, _codecs.encode]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        allowed += [(scalar, f"{module}.scalar"), (reconstruct, f"{module}._reconstruct")]
    kinds = {type(np.dtype(code)) for code in "?bhilqBHILQefdgSU"}
    return allowed + sorted(kinds, key=lambda kind: kind.__name__)


def _globals(path: Path) -> str:
    """Names of what a plain pickle would import; empty for other files."""
    names = []
    with path.open("rb") as stream:
        if stream.read(1) != b"\x80":
            return ""
        stream.seek(0)
        try:
            for operation, argument, _ in pickletools.genops(stream):
                if operation.name in ("GLOBAL", "SHORT_BINUNICODE", "BINUNICODE"):
                    names.append(str(argument))
                if len(names) > 50:
                    break
        except (ValueError, EOFError, UnicodeDecodeError):  # damage; torch.load says so
            pass
    return " ".join(names)
