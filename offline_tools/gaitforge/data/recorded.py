"""Observations of a robot's recorded steps, rebuilt as the worker built them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitd.errors import InputError
from gaitd.policy.manifest import Float32Array, Manifest
from gaitd.policy.observation import required_fields
from gaitd.policy.pipeline import PolicyPipeline
from gaitd.telemetry.recording import read_recording
from gaitd.wire.messages import RobotState


def from_recording(path: Path, manifest: Manifest) -> Float32Array:
    """Observations (steps, observation_dim) before normalization, of all steps that can be rebuilt.

    Where the recording does not hold what came before (it began in mid-session, or a state was answered
    by no command), the steps until history and last action are known again are left out; all of them, if
    the policy has a clock. Raises InputError when the recording is not of this contract.
    """
    recording = read_recording(path)
    if recording.info.joints != manifest.joints:
        raise InputError(
            f"{path}: recorded with the joints {' '.join(recording.info.joints)}, but the policy has "
            f"{' '.join(manifest.joints)}"
        )
    if "linear_velocity" in required_fields(manifest):
        raise InputError(f"{path}: recordings hold no linear velocity, which the policy observes")
    records = recording.records[recording.records["cause"] == 0]
    if len(records) and not records["orientation"].any(axis=1).all():
        raise InputError(f"{path}: the controller built the observations itself; recordings do not hold them")
    pipeline = PolicyPipeline(manifest, None)
    rows = [row for run in _runs(records) for row in _observations(run, manifest, pipeline)]
    if not rows:
        raise InputError(f"{path}: no observation can be rebuilt from its {len(records)} steps")
    return np.stack(rows)


def _runs(records: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """Split where a step is missing or another session begins."""
    follows = (records["session"][1:] == records["session"][:-1]) & (
        records["seq"][1:] == records["seq"][:-1] + np.uint64(1)
    )
    return np.split(records, np.flatnonzero(~follows) + 1)


def _observations(
    run: npt.NDArray[Any], manifest: Manifest, pipeline: PolicyPipeline
) -> Iterator[Float32Array]:
    """The observations of one run of successive steps, without those that need what was before it."""
    observation = manifest.observation
    unknown = 0
    if len(run) and run[0]["seq"] != 1:
        if any(term.term == "clock_phase" for term in observation.terms):
            return
        # The oldest frame of a whole history, and that frame's last action.
        unknown = max(observation.history.length, *(term.history_length or 0 for term in observation.terms))
    pipeline.reset()
    for index, record in enumerate(run):
        pipeline.observe(_state(record))
        if index >= unknown:
            yield pipeline.raw_observation().copy()
        pipeline.assume(record["action"])


def _state(record: npt.NDArray[Any]) -> RobotState:
    return RobotState(
        session=int(record["session"]),
        seq=int(record["seq"]),
        stamp_ns=int(record["state_stamp_ns"]),
        angular_velocity=record["angular_velocity"],
        orientation=record["orientation"],
        linear_acceleration=record["linear_acceleration"],
        linear_velocity=None,
        velocity_command=record["velocity_command"],
        joint_position=record["joint_position"],
        joint_velocity=record["joint_velocity"],
        joint_torque=record["joint_torque"],
    )
