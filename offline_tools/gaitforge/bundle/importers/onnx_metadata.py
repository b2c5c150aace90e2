"""The metadata that mjlab and its kin attach to the ONNX file: comma-separated texts by key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gaitd.errors import InputError
from gaitforge.bundle.importers.draft import Draft, numbers
from gaitforge.common import files

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


def read(paths: Sequence[Path], joints: Sequence[str] | None) -> Draft:
    """Read the metadata of one ONNX file. Raises InputError."""
    import onnx

    (path,) = paths
    try:
        proto = onnx.load(str(files.existing(path, "the ONNX model")), load_external_data=False)
    except Exception as error:  # protobuf raises kinds of its own
        raise InputError(f"{path} is no valid ONNX model") from error
    entries = {item.key: item.value for item in proto.metadata_props}

    def texts(key: str) -> list[str]:
        if key not in entries:
            raise InputError(f"{path}: no metadata {key}; it has {', '.join(entries) or 'none'}")
        return [text.strip() for text in entries[key].split(",") if text.strip()]

    draft = Draft()
    names = texts("joint_names")

    def values(key: str) -> list[float] | float:
        given = texts(key)
        where = f"{path}: {key}"
        try:
            figures = [float(text) for text in given]
        except ValueError as error:
            raise InputError(f"{where}: {error}") from error
        return figures[0] if len(figures) == 1 else numbers(figures, len(names), where)

    terms = []
    for name in texts("observation_names"):
        if name in TERMS:
            terms.append({"term": TERMS[name]})
        else:
            draft.lose(f"the observation {name!r}: gaitd has no such term")
    draft.manifest = {
        "joints": names,
        "default_joint_position_rad": values("default_joint_pos"),
        "observation": {"terms": terms},
        "action": {
            "scale": values("action_scale"),
            "stiffness_nm_per_rad": values("joint_stiffness"),
            "damping_nms_per_rad": values("joint_damping"),
        },
    }
    draft.lose(
        "scales, clips and history of the observation terms: not in the metadata, taken as 1, none and 1"
    )
    draft.lose("the control period and the range of the velocity command: not in the metadata")
    draft.lose("digits beyond the third decimal of gains, positions and scales: rounded by the exporter")
    for name in texts("command_names") if "command_names" in entries else []:
        if name not in TERMS:
            draft.lose(f"the command {name!r}: gaitd knows a velocity command only")
    return draft
