"""The trainers whose files can be imported, and the manifest that comes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaitd.errors import InputError
from gaitforge.bundle.importers import isaac_lab, onnx_metadata, rl_sar, unitree_rl_lab
from gaitforge.bundle.importers.draft import Draft, complete, missing

Reader = Callable[[Sequence[Path], Sequence[str] | None], Draft]

FORMATS: dict[str, tuple[Reader, str, int]] = {
    "isaaclab": (isaac_lab.read, "IO_descriptors.yaml", 1),
    "onnx": (onnx_metadata.read, "policy.onnx with metadata as mjlab attaches it", 1),
    "rl_sar": (rl_sar.read, "config.yaml of the policy, base.yaml of the robot", 2),
    "unitree_rl_lab": (unitree_rl_lab.read, "deploy.yaml", 1),
}
"""Reader, what to give it, and how many files at most."""


@dataclass(frozen=True)
class Imported:
    """What came of a trainer's files."""

    manifest: dict[str, Any]
    lost: list[str]
    """What could not be taken over."""
    missing: list[str]
    """Keys that the manifest still needs."""


def read(
    format: str, paths: Sequence[Path], joints: Sequence[str] | None, additions: dict[str, Any], name: str
) -> Imported:
    """Make a manifest of a trainer's files and of ``additions``. Raises InputError."""
    reader, expected, count = FORMATS[format]
    if len(paths) > count:
        raise InputError(f"{format} takes {expected}, not {len(paths)} files")
    draft = reader(paths, joints)
    manifest = complete(draft, additions, name)
    return Imported(manifest, draft.lost, missing(manifest))
