"""What all parts of a manifest's schema are made with."""

from __future__ import annotations

from typing import TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

JointValues: TypeAlias = float | list[float] | dict[str, float]
"""One number for all joints, a list in policy order, or a map by joint name."""

SINCE_2 = msgspec.Meta(extra={"since": 2})
"""Marks the keys that a manifest of format 1 does not have."""


class Strict(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A section in which unknown and missing keys are errors."""


def newest_keys(section: msgspec.Struct, where: str = "") -> list[str]:
    """The keys of format 2 that a section makes use of, as ``observation.terms[3].joints``."""
    found = []
    for field in msgspec.structs.fields(section):
        value, key = getattr(section, field.name), f"{where}{field.name}"
        if value and _is_since_2(field.type):  # unset they are null or empty
            found.append(key)
        elif isinstance(value, msgspec.Struct):
            found += newest_keys(value, f"{key}.")
        elif isinstance(value, list):
            for index, entry in enumerate(value):
                if isinstance(entry, msgspec.Struct):
                    found += newest_keys(entry, f"{key}[{index}].")
    return found


def _is_since_2(kind: object) -> bool:
    metas = getattr(kind, "__metadata__", ())
    return any(isinstance(meta, msgspec.Meta) and (meta.extra or {}).get("since") == 2 for meta in metas)
