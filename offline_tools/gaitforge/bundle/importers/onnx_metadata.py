"""The metadata that mjlab and its kin attach to the ONNX file: comma-separated texts by key.

mjlab clips a term before it scales it, and its history begins with the first frame.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gaitd.errors import InputError
from gaitforge.bundle.importers.accounting import Account, Section
from gaitforge.bundle.importers.draft import Draft, Source
from gaitforge.bundle.importers.isaac_terms import no_such_term
from gaitforge.bundle.importers.onnx_file import metadata
from gaitforge.bundle.importers.values import Joints, count, gains, histories, numbers, pair, term

TERMS = {
    "actions": "last_action",
    "base_ang_vel": "base_angular_velocity",
    "base_lin_vel": "base_linear_velocity",
    "command": "velocity_command",
    "imu_ang_vel": "base_angular_velocity",
    "imu_lin_vel": "base_linear_velocity",
    "joint_pos": "joint_position_relative",
    "joint_vel": "joint_velocity",
    "projected_gravity": "projected_gravity",
    "twist": "velocity_command",
}
"""Names that mjlab's tasks give their terms; its joint positions are relative to the default."""

MEANINGLESS = {"run_path": "where the training run is kept"}

_ITEM = re.compile(r"\s*(\[[^\]]*\]|\([^)]*\)|[^,\[\(]+)\s*(?:,|$)")
"""An item of a list: older exporters write the brackets of lists within the list."""


def read(source: Source) -> Draft:
    """Read the metadata of one ONNX file. Raises InputError."""
    (path,) = source.paths
    entries, width = metadata(path)
    account = Account(str(path), source.ignored)
    top = account.open(entries)
    if not entries.get("joint_names"):
        if source.joints is None or entries:
            raise InputError(
                f"{path}: no metadata joint_names; it has {', '.join(entries) or 'none'}. Of a model that "
                "says nothing, --joints with the names in the action's order makes a draft to go on from"
            )
        return _plain(path, source.joints, width)
    draft = Draft(model_width=width)
    names = _texts(top, "joint_names")

    def joints(key: str) -> Joints:
        value = _values(top, key)
        return numbers(value[0] if len(value) == 1 else value, len(names), top.name(key))

    draft.manifest = {
        "joints": names,
        "default_joint_position_rad": joints("default_joint_pos"),
        "observation": _observation(top, draft),
        "action": {"scale": joints("action_scale")},
    }
    gains(draft, joints("joint_stiffness"), joints("joint_damping"), str(path))
    draft.lose("the control period: not in the metadata", "control_period_s")
    draft.lose("the range of the velocity command: not in the metadata", "velocity_command")
    draft.lose(
        "clips of the action, and an offset of it other than the default position: not in the metadata"
    )
    draft.lose("digits beyond the third decimal of gains, positions and scales: rounded by the exporter")
    _commands(top, account)
    top.skip(MEANINGLESS)
    for ignored in account.finish():
        draft.lose(f"{ignored}: --ignore says so")
    return draft


def _plain(path: Path, joints: Sequence[str], width: int | None) -> Draft:
    """Of a model alone: what its tensors tell. A manifest whose observation the controller makes."""
    if width is None:
        raise InputError(f"{path}: the length of its observation is not fixed: export it so")
    draft = Draft(model_width=width)
    draft.manifest = {"format": 2, "joints": list(joints), "observation": {"raw_size": width}}
    draft.lose(
        f"what the {width} values of the observation are: the controller makes them (raw_size), or give "
        "observation.terms, and null for raw_size",
        "observation.terms",
    )
    return draft


def _texts(top: Section, key: str) -> list[str]:
    text = str(top.take(key)).strip()
    items, place = [], 0
    while place < len(text):
        found = _ITEM.match(text, place)
        if found is None:
            raise InputError(f"{top.name(key)}: not a list: {text!r}")
        items.append(found[1].strip())
        place = found.end()
    return items


def _value(text: str, where: str) -> Any:
    """A number, or a list where one term has several: ``1;2``, of older exporters ``[1, 2]``."""
    parts = re.split(r"[;,]", text.strip("[]()"))
    if parts[0] in ("True", "False"):
        return float(parts[0] == "True")
    try:
        values = [float(part) for part in parts if part.strip()]
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error
    return values[0] if len(parts) == 1 and values else values


def _values(top: Section, key: str) -> list[Any]:
    return [_value(text, top.name(key)) for text in _texts(top, key)]


def _observation(top: Section, draft: Draft) -> dict[str, Any]:
    names = _texts(top, "observation_names")

    def by_term(*keys: str) -> list[Any] | None:
        there = [key for key in keys if top.get(key) is not None]
        if not there:
            return None
        values = _values(top, there[0])
        if len(values) != len(names):
            raise InputError(f"{top.name(there[0])}: {len(values)} entries for {len(names)} observations")
        return values

    scales = by_term("observation_terms_scale")
    clips = by_term("observation_terms_clip", "observation_term_clip")
    lengths = by_term("observation_terms_history_length")
    flat = by_term("observation_terms_flatten_history_dim")
    for given, what in ((scales, "scales, taken as 1"), (clips, "clips"), (lengths, "history")):
        if given is None:
            draft.lose(f"{what} of the observation terms: not in the metadata", "observation.terms")
    terms, frames = [], []
    for index, name in enumerate(names):
        where = f"{top.name('observation_names')}: {name}"
        if name not in TERMS:
            draft.refuse(f"{where}: {no_such_term(name)}", "observation.terms")
            continue
        length = count(lengths[index], where) if lengths is not None else 1
        if length > 1 and flat is not None and not flat[index]:
            draft.refuse(f"{where}: a history that is not flattened", "observation.terms")
        scale = numbers(scales[index] if scales is not None else 1.0, None, where)
        if 0.0 in (scale if isinstance(scale, list) else [scale]):
            draft.refuse(f"{where}: a scale of 0, perhaps rounded by the exporter", "observation.terms")
        clip = pair(clips[index] if clips is not None else None, where)
        terms.append(term(TERMS[name], scale, clip, where, draft, scale_first=False))
        frames.append(length)
    return histories(terms, frames, "term_major")


def _commands(top: Section, account: Account) -> None:
    """Which command the observation ``command`` is would be open if there were more than the velocity."""
    if top.get("command_names") is not None:
        names = Section(dict.fromkeys(_texts(top, "command_names"), True), account, "command_names")
        for name in TERMS:
            names.get(name)
