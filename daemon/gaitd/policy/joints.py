"""Joint-wise values and joint orders, always by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gaitd.errors import InputError
from gaitd.policy.manifest import Float32Array, JointValues, Manifest


def joint_array(values: JointValues, joints: Sequence[str], key: str) -> Float32Array:
    """Return one float32 per joint, in the order of ``joints``.

    Raises InputError, naming ``key``, for a list of the wrong length, a missing or unknown joint, or a
    value that is not finite.
    """
    if isinstance(values, dict):
        check_same_joints(joints, list(values), key)
        array = np.array([values[joint] for joint in joints], np.float32)
    elif isinstance(values, list):
        if len(values) != len(joints):
            raise InputError(f"{key}: expected {len(joints)} values, one per joint, got {len(values)}")
        array = np.array(values, np.float32)
    else:
        array = np.full(len(joints), values, np.float32)
    for joint, value in zip(joints, array, strict=True):
        if not np.isfinite(value):
            raise InputError(f"{key}: joint {joint!r} is {value}, expected a finite number")
    return array


def some_joints_array(
    values: JointValues, some: Sequence[str], joints: Sequence[str], key: str, rest: float
) -> Float32Array:
    """One float32 per joint of ``joints`` (n,), where the values are only for ``some`` of them.

    The others get ``rest``. Raises InputError as ``joint_array`` of ``some`` does.
    """
    if len(some) == len(joints):
        return joint_array(values, joints, key)
    array = np.full(len(joints), rest, np.float32)
    array[order_from(joints, some)] = joint_array(values, some, key)
    return array


def default_position(manifest: Manifest) -> Float32Array:
    """The pose (n,) rad that a session begins in; 0 for a continuous joint. Raises InputError."""
    return some_joints_array(
        manifest.default_joint_position_rad,
        manifest.bounded_joints,
        manifest.joints,
        "default_joint_position_rad",
        0.0,
    )


def positive_joint_array(values: JointValues, joints: Sequence[str], key: str) -> Float32Array:
    """Like ``joint_array``; a value that is not above 0 is an InputError too."""
    array = joint_array(values, joints, key)
    if (array <= 0).any():
        raise InputError(f"{key}: joint {joints[int(np.argmin(array))]!r} is {array.min()}, expected above 0")
    return array


def gain_array(
    values: JointValues, joints: Sequence[str], key: str, allowed: Sequence[str], allow_key: str
) -> Float32Array:
    """Like ``positive_joint_array``; a joint that is ``allowed`` to, named under ``allow_key``, may be 0."""
    array = joint_array(values, joints, key)
    for joint in allowed:
        if joint not in joints:
            raise InputError(f"{allow_key}: joint {joint!r} is unknown; the policy has {', '.join(joints)}")
    for joint, value in zip(joints, array, strict=True):
        if value < 0:
            raise InputError(f"{key}: joint {joint!r} is {value}, expected above 0")
        if value == 0 and joint not in allowed:
            raise InputError(
                f"{key}: joint {joint!r} is 0, expected above 0; if that is meant, name it under {allow_key}"
            )
    return array


def check_known_joints(known: Sequence[str], got: Sequence[str], where: str) -> None:
    """Raise InputError naming the first joint that is doubled or unknown in ``got``."""
    _check_not_doubled(got, where)
    unknown = [name for name in got if name not in known]
    if unknown:
        raise InputError(f"{where}: joint {unknown[0]!r} is unknown; known: {', '.join(known)}")


def check_same_joints(expected: Sequence[str], got: Sequence[str], where: str) -> None:
    """Raise InputError naming the first joint that is doubled, or missing and unknown in ``got``."""
    _check_not_doubled(got, where)
    missing = [name for name in expected if name not in got]
    unknown = [name for name in got if name not in expected]
    wrong = [f"{name!r} is missing" for name in missing[:1]] + [
        f"{name!r} is unknown" for name in unknown[:1]
    ]
    if wrong:
        raise InputError(f"{where}: joint {', and '.join(wrong)}; the policy has {', '.join(expected)}")


def order_from(source: Sequence[str], target: Sequence[str]) -> npt.NDArray[np.intp]:
    """Indices such that ``values_in_source_order[indices]`` is in ``target`` order."""
    position = {name: index for index, name in enumerate(source)}
    return np.array([position[name] for name in target], np.intp)


def _check_not_doubled(got: Sequence[str], where: str) -> None:
    doubled = [(name, count) for name, count in Counter(got).items() if count > 1]
    if doubled:
        raise InputError(f"{where}: joint {doubled[0][0]!r} is named {doubled[0][1]} times")
