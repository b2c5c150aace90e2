"""A manifest in the making, and what could not be taken over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gaitd.errors import InputError

REQUIRED = (
    "robot",
    "control_period_s",
    "joints",
    "default_joint_position_rad",
    "observation",
    "velocity_command",
    "action",
    "fallback_damping_nms_per_rad",
    "limits",
    "limits.position",
    "action.scale",
    "action.stiffness_nm_per_rad",
    "action.damping_nms_per_rad",
)
"""Keys that a manifest needs and that no default can stand for."""

OF_WHEELS = ("brake", "limits.velocity")
"""What a manifest with continuous joints needs beyond that."""

NO_VELOCITY_TARGETS = (
    "velocity targets are not read from such files: write the action's groups of format 2 by hand"
)


@dataclass(frozen=True)
class Source:
    """What an importer is given."""

    paths: Sequence[Path]
    joints: Sequence[str] | None
    """Joint names, for files that have none."""
    ignored: Sequence[str] = ()
    """Paths of keys that a person wants passed over."""

    @property
    def where(self) -> str:
        """The files, for messages."""
        return ", ".join(map(str, self.paths))


@dataclass(frozen=True)
class _Remark:
    text: str
    key: str | None
    """Path in the manifest; when a person gives it, the remark is void."""


@dataclass
class Draft:
    """What an importer found out."""

    manifest: dict[str, Any] = field(default_factory=dict)
    model_width: int | None = None
    """Length of the model's observation, where the file is the model."""
    _lost: list[_Remark] = field(default_factory=list)
    _refused: list[_Remark] = field(default_factory=list)

    def lose(self, text: str, key: str | None = None) -> None:
        """Note what is not taken over or assumed, unless a person gives the manifest's ``key``."""
        self._lost.append(_Remark(text, key))

    def refuse(self, text: str, key: str) -> None:
        """End the import with this text, unless a person gives the manifest's ``key``."""
        self._refused.append(_Remark(text, key))

    def complete(self, additions: Mapping[str, Any], name: str) -> tuple[dict[str, Any], list[str]]:
        """The manifest with a person's additions laid over it, and the notes. Raises InputError."""
        for remark in self._refused:
            if not _has(additions, remark.key):
                raise InputError(f"{remark.text}; or give {remark.key} with --complete")
        notes = [remark.text for remark in self._lost if not _has(additions, remark.key)]
        manifest = {"format": 1, "name": name, "version": "0.1.0", **self.manifest}
        replaced = [key for key in _merge(manifest, additions, "") if _has(self.manifest, key)]
        return manifest, notes + [f"the file's {key}: --complete gives another" for key in replaced]


def missing(manifest: Mapping[str, Any]) -> list[str]:
    """Keys that the manifest still needs; of a missing section only the section."""
    grouped = isinstance(manifest.get("action"), list)
    wanted = [key for key in REQUIRED if not (grouped and key.startswith("action."))]
    wanted += OF_WHEELS if manifest.get("continuous_joints") else []
    absent = [key for key in wanted if not _has(manifest, key)]
    return [key for key in absent if key.rpartition(".")[0] not in absent]


def _has(mapping: Mapping[str, Any], path: str | None) -> bool:
    value: Any = mapping
    for key in (path or "").split("."):
        if not isinstance(value, Mapping) or value.get(key) is None:
            return False
        value = value[key]
    return True


def _merge(base: dict[str, Any], additions: Mapping[str, Any], path: str) -> list[str]:
    """Lay additions over ``base``, mapping by mapping; returns the paths whose values changed."""
    changed = []
    for key, value in additions.items():
        here = f"{path}{key}"
        known = base.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            base[key] = dict(known)
            changed += _merge(base[key], value, f"{here}.")
        else:
            if key in base and known != value:
                changed.append(here)
            base[key] = value
    return changed
