"""What was recorded against what came of it now. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitd.ctl.replay.run import Replayed
from gaitd.policy.joints import order_from
from gaitd.telemetry.recording import Recording
from gaitd.wire.generated import CauseKind

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """Differences of the steps that were computed again, joints in the recording's order."""

    joints: list[str]
    seconds: Float64Array
    """(steps,) from the recording's first step."""
    seqs: npt.NDArray[np.uint64]
    recorded: Float64Array
    """(steps, n) rad, the targets."""
    computed: Float64Array
    """(steps, n) rad"""
    action_difference: Float64Array
    """(steps, n) of the model's raw actions; nan where one of the two has none."""
    observation_difference: float | None
    """The largest; None where the policies observe something else."""
    exact: npt.NDArray[np.bool_]
    """(steps,) whether observation, raw action and target are the same, bit for bit."""
    causes_differ: int
    """Steps accepted by one and rejected by the other."""
    unanswered: int
    """Steps whose state the replaying policy refuses, or whose inference failed."""
    unknown_past: int
    missing: int
    refused: dict[str, int]

    @property
    def difference(self) -> Float64Array:
        """(steps, n) rad: between the targets; nan where only one of the two has one."""
        return np.abs(self.computed - self.recorded)

    def first(self, more_than: float) -> int | None:
        """The first step whose targets differ by more, rad."""
        beyond = np.flatnonzero(np.nanmax(self.difference, axis=1, initial=0.0) > more_than)
        return int(beyond[0]) if len(beyond) else None

    def as_map(self) -> dict[str, Any]:
        """For programs."""
        first, steps = self.first(0.0), len(self.seqs)
        largest = _largest(self.difference)
        return {
            "steps": steps,
            "exact": int(self.exact.sum()),
            "unanswered": self.unanswered,
            "unknown_past": self.unknown_past,
            "missing": self.missing,
            "accepted_by_one_only": self.causes_differ,
            "refused": self.refused,
            "observation_difference": self.observation_difference,
            "first_difference": None
            if first is None
            else {"seq": int(self.seqs[first]), "s": float(self.seconds[first])},
            "joints": {
                joint: {
                    "target_rad_max": float(largest[place]),
                    "action_max": float(_largest(self.action_difference)[place]),
                }
                for place, joint in enumerate(self.joints)
            },
        }


def compare(recording: Recording, replayed: Replayed, joints: list[str]) -> Comparison:
    """``joints``: in the order of the policy that replayed."""
    records = recording.records[replayed.indices]
    back = order_from(joints, recording.info.joints)
    count = (len(records), len(joints))
    actions = _stack(replayed.model_action, count)[:, back]
    targets = _stack(replayed.target, count)[:, back]
    causes = np.array(replayed.causes, np.uint64)
    accepted = (causes == 0) & (records["cause"] == 0)
    observed = np.array(replayed.observation, np.float32).reshape(len(records), -1)
    same_observation = observed.shape == records["observation"].shape
    exact = (causes == records["cause"]) & (_same(actions, records["model_action"]))
    exact &= _same(targets, records["target"]) | (causes != 0)
    if same_observation:
        exact &= _same(observed, records["observation"])
    largest = None
    if same_observation:
        largest = float(np.nanmax(np.abs(observed - records["observation"]), initial=0.0))
    started_ns = int(recording.records["state_stamp_ns"][0]) if len(recording.records) else 0
    nan = np.where(accepted, 0.0, np.nan)[:, None]
    return Comparison(
        joints=recording.info.joints,
        seconds=(records["state_stamp_ns"].astype(np.int64) - started_ns) / 1e9,
        seqs=records["seq"],
        recorded=records["target"].astype(np.float64) + nan,
        computed=targets.astype(np.float64) + nan,
        action_difference=np.abs(actions - records["model_action"]).astype(float),
        observation_difference=largest,
        exact=exact,
        causes_differ=int(np.count_nonzero((causes == 0) != (records["cause"] == 0))),
        unanswered=len(replayed.unanswered),
        unknown_past=replayed.unknown_past,
        missing=replayed.missing,
        refused={CauseKind(kind).name.lower(): count for kind, count in replayed.refused.items()},
    )


def _stack(rows: list[npt.NDArray[np.float32]], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """A row of another length, as of an action of the wrong shape, is nan."""
    return np.array(
        [row if row.shape == shape[1:] else np.full(shape[1], np.nan) for row in rows], np.float32
    ).reshape(shape)


def _same(one: Any, other: Any) -> npt.NDArray[np.bool_]:
    same: npt.NDArray[np.bool_] = ((one == other) | (np.isnan(one) & np.isnan(other))).all(axis=1)
    return same


def _largest(values: Float64Array) -> Float64Array:
    if not len(values):
        return np.zeros(values.shape[1])
    known = np.where(np.isnan(values), 0.0, values)
    return np.asarray(known.max(axis=0))
