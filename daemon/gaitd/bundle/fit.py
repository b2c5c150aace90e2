"""Whether a policy may run on this robot: what the robot's configuration says against the manifest."""

from __future__ import annotations

from gaitd.bundle.read import Bundle, fallback_damping
from gaitd.errors import InputError
from gaitd.system.config import Config, Guard


def check_fit(bundle: Bundle, config: Config) -> None:
    """Raise InputError when the robot's configuration forbids the policy, or its times contradict it."""
    _check_fallback_damping(bundle, config.guard)
    _check_times(bundle, config.guard)


def notes_of_fit(bundle: Bundle, config: Config) -> list[str]:
    """What this policy changes in the robot's configuration, for people."""
    quarter_ms = bundle.manifest.control_period_s * 1000 / 4
    if config.realtime.anticipate_ms <= quarter_ms:
        return []
    return [
        f"realtime.anticipate_ms is {config.realtime.anticipate_ms:g}, a quarter of the policy's control "
        f"period is {quarter_ms:g} ms: the worker anticipates by that"
    ]


def _check_fallback_damping(bundle: Bundle, guard: Guard) -> None:
    """The last line of defence comes from the bundle: too little drops the robot, too much shakes it."""
    low, high = guard.fallback_damping_min_nms_per_rad, guard.fallback_damping_max_nms_per_rad
    for joint, value in zip(bundle.manifest.joints, fallback_damping(bundle.manifest), strict=True):
        if not low <= value <= high:
            key = "min" if value < low else "max"
            raise InputError(
                f"{bundle.path}: fallback_damping_nms_per_rad: joint {joint!r} has {value:g} Nm s/rad, "
                f"this robot allows {low:g} to {high:g}; correct the manifest, or, where that lays this "
                f"robot down softly, set guard.fallback_damping_{key}_nms_per_rad in gaitd.toml"
            )


def _check_times(bundle: Bundle, guard: Guard) -> None:
    deadline_s = guard.deadline_periods * bundle.manifest.control_period_s
    if guard.first_command_s < deadline_s:
        raise InputError(
            f"guard.first_command_s is {guard.first_command_s:g} s, less than guard.deadline_periods "
            f"({guard.deadline_periods:g}) of the control period of {bundle.path}, {deadline_s:g} s: the "
            "first command would have less time than each later one; set first_command_s to "
            f"{deadline_s:g} at least, or lower deadline_periods"
        )
