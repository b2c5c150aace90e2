"""The trainers whose files can be imported, and the manifest that comes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gaitd.errors import InputError
from gaitd.policy.observation import ObservationBuilder
from gaitforge.bundle.importers import holosoma, isaac_lab, leapp, onnx_metadata, rl_sar, unitree_rl_lab
from gaitforge.bundle.importers.draft import Draft, Source, missing
from gaitforge.common.manifest import checked_manifest

FORMATS: dict[str, tuple[Callable[[Source], Draft], str, int]] = {
    "holosoma": (holosoma.read, "policy.onnx with holosoma's metadata", 1),
    "isaaclab": (isaac_lab.read, "IO_descriptors.yaml", 1),
    "leapp": (leapp.read, "the YAML of a LEAPP export", 1),
    "onnx": (onnx_metadata.read, "policy.onnx with metadata as mjlab attaches it", 1),
    "rl_sar": (rl_sar.read, "config.yaml of the policy, base.yaml of the robot", 2),
    "unitree_rl_lab": (unitree_rl_lab.read, "deploy.yaml", 1),
    "unitree_rl_mjlab": (unitree_rl_lab.read, "deploy.yaml, policy.onnx for the joint names", 2),
}
"""Reader, what to give it, and how many files at most."""


@dataclass(frozen=True)
class Imported:
    """What came of a trainer's files."""

    manifest: dict[str, Any]
    notes: list[str]
    """What was not taken over, assumed or replaced."""
    missing: list[str]
    """Keys that the manifest still needs; without them it is not checked."""


def read(format: str, source: Source, additions: dict[str, Any], name: str, where: str) -> Imported:
    """Make a manifest of a trainer's files and of ``additions``, and check it as a bundle's is.

    ``where`` names the manifest in errors. Raises InputError.
    """
    reader, expected, count = FORMATS[format]
    if len(source.paths) > count:
        raise InputError(f"{format} takes {expected}, not {len(source.paths)} files")
    draft = reader(source)
    manifest, notes = draft.complete(additions, name)
    absent = missing(manifest)
    if not absent:
        _check(manifest, draft.model_width, where)
    return Imported(manifest, notes, absent)


def _check(manifest: dict[str, Any], model_width: int | None, where: str) -> None:
    decoded = checked_manifest(manifest, where)
    width = ObservationBuilder(decoded).dim
    if model_width not in (None, width):
        raise InputError(
            f"{where}: the model takes {model_width} values, the manifest's observation terms make {width}"
        )
