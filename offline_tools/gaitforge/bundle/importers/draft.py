"""A manifest in the making, and what could not be taken over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gaitd.errors import InputError
from gaitd.policy.contract import FORMAT

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
)
"""Keys that a manifest needs and that no default can stand for."""


@dataclass
class Draft:
    """What an importer found out."""

    manifest: dict[str, Any] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    """What stands in the source, or belongs to the policy, and is not in the manifest; for people."""

    def lose(self, text: str) -> None:
        """Note something that could not be taken over."""
        self.lost.append(text)


def require(raw: Mapping[str, Any], key: str, where: str) -> Any:
    """Return a key's value. Raises InputError when it is missing."""
    if raw.get(key) is None:
        raise InputError(f"{where}: {key} is missing; is it a file of this kind?")
    return raw[key]


def numbers(value: Any, count: int, where: str) -> list[float] | float:
    """Return one number for all joints, or a list of ``count``; equal ones become one. Raises InputError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InputError(f"{where}: expected a number or a list of {count}, got {value!r}")
    try:
        values = [float(item) for item in value]
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {error}") from error
    if len(values) != count:
        raise InputError(f"{where}: expected {count} values, got {len(values)}")
    return values[0] if len(set(values)) == 1 else values


def clip_after_scale(
    clip: Any, scale: float | list[float], where: str, draft: Draft, *, scale_first: bool = False
) -> tuple[float, float] | None:
    """Turn a clip before scaling, as these trainers do it, into one after scaling, as gaitd does it."""
    if clip is None:
        return None
    low, high = (float(edge) for edge in clip)
    if scale_first:
        return low, high
    if isinstance(scale, list) or scale <= 0:
        draft.lose(f"{where}: the clip {low:g}..{high:g} before different scales of one term")
        return None
    return low * scale, high * scale


def term(name: str, scale: float | list[float], clip: tuple[float, float] | None) -> dict[str, Any]:
    """One observation term, without what is the default."""
    entry: dict[str, Any] = {"term": name}
    if scale != 1.0:
        entry["scale"] = scale
    if clip is not None:
        entry["clip"] = list(clip)
    return entry


def histories(terms: Sequence[dict[str, Any]], lengths: Sequence[int], layout: str) -> dict[str, Any]:
    """Put together the observation's section from terms and how many frames each has."""
    observation: dict[str, Any] = {"terms": [dict(entry) for entry in terms]}
    if not lengths or max(lengths) <= 1:
        return observation
    shared = len(set(lengths)) == 1
    observation["history"] = {"length": lengths[0] if shared else 1, "layout": layout}
    if not shared:
        for entry, length in zip(observation["terms"], lengths, strict=True):
            entry["history_length"] = length
    return observation


def complete(draft: Draft, additions: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Lay a person's additions over the draft, section by section."""
    merged = {"format": FORMAT, "name": name, "version": "0.1.0", **draft.manifest}
    for key, value in additions.items():
        known = merged.get(key)
        merged[key] = {**known, **value} if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def missing(manifest: Mapping[str, Any]) -> list[str]:
    """Keys that the manifest still needs."""
    absent = [key for key in REQUIRED if key not in manifest]
    action = manifest.get("action", {})
    wanted = ("scale", "stiffness_nm_per_rad", "damping_nms_per_rad")
    return absent + [f"action.{key}" for key in wanted if "action" in manifest and key not in action]
