"""Arrays in files: observations and normalization statistics."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from gaitd.errors import InputError
from gaitd.policy.manifest import Float32Array, Manifest
from gaitforge.common import files

Stats = tuple[Float32Array, Float32Array]
"""Mean and standard deviation of observations, each (observation_dim,)."""

MAX_BYTES = 1 << 30
"""Of a file of observations."""
STD_FLOOR = 1e-3
"""Smallest standard deviation that observations are divided by by default."""


def read_observations(path: Path, dim: int | None = None) -> Float32Array:
    """Read observations (samples, dim) from .npy, or .npz with ``obs``, a capture's
    ``observation``, or whatever comes first.

    Raises InputError when the file is not such an array, is empty, or holds values that are not finite.
    """
    files.existing(path, "the observations file", MAX_BYTES)
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            if not loaded.files:
                raise InputError(f"{path} holds no array")
            keys = [key for key in ("obs", "observation") if key in loaded.files]
            loaded = loaded[keys[0] if keys else loaded.files[0]]
        observations = np.asarray(loaded, np.float32)
    except (ValueError, OSError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not a readable .npy or .npz: {error}") from error
    if not observations.size:
        raise InputError(f"{path} holds no observations (its shape is {observations.shape})")
    if observations.ndim > 2:
        observations = observations.reshape(len(observations), -1)
    if observations.ndim != 2:
        raise InputError(f"{path}: expected observations (samples, values), got shape {observations.shape}")
    if dim is not None and observations.shape[1] != dim:
        raise InputError(f"{path}: {observations.shape[1]} values per observation, but the model takes {dim}")
    check_finite(observations, str(path))
    return observations


def check_finite(observations: Float32Array, where: str) -> None:
    """Raise InputError that names the first place where a value is not finite."""
    bad = np.argwhere(~np.isfinite(observations))
    if len(bad):
        row, column = bad[0]
        raise InputError(f"{where}: row {row}, value {column} is {observations[row, column]}")


def read_obs_stats(path: Path, dim: int | None = None) -> Stats:
    """Read ``mean`` and ``std`` (dim,). Raises InputError when they are missing or invalid."""
    files.existing(path, "the observation statistics", files.MAX_MODEL_BYTES)
    try:
        with np.load(path, allow_pickle=False) as data:
            missing = [name for name in ("mean", "std") if name not in data.files]
            if missing:
                raise InputError(f"{path} has no array {missing[0]!r}; it has {', '.join(data.files)}")
            mean, std = (np.asarray(data[name], np.float32).ravel() for name in ("mean", "std"))
    except (ValueError, OSError, EOFError, MemoryError, zipfile.BadZipFile, AttributeError) as error:
        raise InputError(f"{path} is not a readable .npz: {error}") from error
    if len(mean) != len(std) or (dim is not None and len(mean) != dim):
        raise InputError(f"{path}: mean has {len(mean)} values, std {len(std)}, expected {dim or len(mean)}")
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std >= 0).all()):
        raise InputError(f"{path}: mean and std must be finite, and std not negative")
    return mean, std


def check_stats(manifest: Manifest, stats: Stats | None, where: str) -> None:
    """Raise InputError that begins with ``where`` for a normalization without statistics or the reverse."""
    if manifest.normalization is not None and stats is None:
        raise InputError(
            f"{where} has a normalization, which needs the statistics of training (obs_stats.npz): "
            "give --obs-stats"
        )
    if manifest.normalization is None and stats is not None:
        raise InputError(
            f"{where} has no normalization, but --obs-stats gives statistics: drop one or add the other"
        )


def normalize(observations: Float32Array, stats: Stats | None, floor: float = STD_FLOOR) -> Float32Array:
    """(x - mean) / max(std, floor); without statistics, x."""
    if stats is None:
        return observations
    mean, std = stats
    return np.asarray((observations - mean) / np.maximum(std, floor), np.float32)


def thin(rows: Float32Array, count: int) -> Float32Array:
    """Return at most ``count`` rows, evenly chosen, first and last among them."""
    if count >= len(rows):
        return rows
    chosen: Float32Array = rows[np.linspace(0, len(rows) - 1, count).astype(int)]
    return chosen


def normal_rows(count: int, dim: int, seed: int = 0) -> Float32Array:
    """Random rows (count, dim) of a standard normal distribution."""
    return np.random.default_rng(seed).standard_normal((count, dim), dtype=np.float32)
