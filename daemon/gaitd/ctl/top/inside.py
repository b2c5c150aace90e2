"""What gaitd's processes have in their memory, mapped read-only as its telemetry process maps it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gaitd.bundle.read import decode_manifest
from gaitd.errors import GaitdError, ReplacedError
from gaitd.policy.action import ActionMapper
from gaitd.policy.bounds import TargetBounds
from gaitd.policy.joints import default_position
from gaitd.policy.limits import LIMIT_NAMES
from gaitd.policy.manifest import Manifest
from gaitd.shared.frame_ring import message_of
from gaitd.shared.guard_memory import GuardMemory
from gaitd.shared.launch import TelemetryLaunch, read_launch
from gaitd.shared.memory import read_all
from gaitd.shared.processes import TELEMETRY, policy_in
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.telemetry.headroom import WINDOW_NS as HEADROOM_NS
from gaitd.telemetry.headroom import Headroom
from gaitd.wire.codec import decode_either
from gaitd.wire.frame import WireError
from gaitd.wire.generated import Reason
from gaitd.wire.messages import Float32Array

WINDOW_NS = 60_000_000_000
_RATE_NS = 5_000_000_000
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Ages:
    """The commands of the last minute, oldest first."""

    sent_ns: Int64Array
    """(k,) CLOCK_MONOTONIC."""
    age_ns: Int64Array
    """(k,) since the state that each answers was sampled."""


@dataclass(frozen=True)
class Pose:
    """The joints at the newest state; (n,) rad each, in the policy's order."""

    at_ns: int
    target: Float32Array
    """What was sent for it; the policy's default pose where it was not answered."""
    measured: Float32Array
    answered: bool


@dataclass(frozen=True)
class Inside:
    """One look."""

    now_ns: int
    period_s: float
    deadline_s: float
    joints: Sequence[str]
    low: Float32Array
    """(n,) rad: where targets may be."""
    high: Float32Array
    pose: Pose | None
    """None before the first state that is told apart."""
    ages: Ages
    steps_per_s: float
    """Of the last seconds."""
    headroom: Mapping[str, float]
    """0 to 1 by limit, of the last 10 s (gaitd.telemetry.headroom)."""
    dampings: Mapping[str, int]
    """By reason, since gaitd's start; those there were."""
    clamped: Mapping[str, int]
    """Joint targets held, by limit; those there were."""
    worker_pid: int
    """Of the worker that the session is with."""


class _Policy(NamedTuple):
    """What is shown of one policy's joints, (n,) each."""

    low: Float32Array
    high: Float32Array
    """Of the joint targets."""
    default: Float32Array
    """rad"""
    follow: list[npt.NDArray[np.bool_]]
    """The joints that follow a position, and those that follow a velocity."""

    @classmethod
    def of(cls, manifest: Manifest) -> _Policy:
        mapper = ActionMapper(manifest)
        bounds = TargetBounds.of(manifest, mapper)
        follow = [mapper.follow(kind) for kind in ("position", "velocity")]
        return cls(bounds.low, bounds.high, default_position(manifest), follow)


class Memory:
    """The memory of one gaitd, and how far it has been read."""

    def __init__(self, telemetry_pid: int) -> None:
        """``telemetry_pid``: of its telemetry process, whose one argument names the descriptors.

        Raises PermissionError for anybody but root and gaitd's own user, GaitdError when there is no such
        process now, or it is of another version.
        """
        self.telemetry_pid = telemetry_pid
        launch = _launch_of(telemetry_pid)
        self._launch = launch
        try:
            self._guard = _map(telemetry_pid, launch.guard_memory_fd, GuardMemory)
            self._workers = [_map(telemetry_pid, fd, WorkerMemory) for fd in launch.worker_memory_fds]
            fds = [launch.manifest_fd, *(each.manifest_fd for each in launch.beside)]
            manifests = [_manifest(telemetry_pid, fd, launch.bundle) for fd in fds]
        except PermissionError:
            raise
        except (OSError, TypeError, ValueError) as error:
            raise GaitdError(f"gaitd's memory cannot be mapped: {error}") from None
        self._policies = [_Policy.of(manifest) for manifest in manifests]
        self._headroom = Headroom(manifests, launch.deadline_s)
        self._steps = [0] * len(self._workers)
        self._frames = [0] * len(self._workers)
        nothing = np.zeros(0, np.int64)
        self._ages = Ages(nothing, nothing)
        self._pose: Pose | None = None

    def look(self, now_ns: int) -> Inside:
        """What is new, and what has come of it."""
        words = self._guard.words
        holder, policy = words["holder"], policy_in(words["holder"])
        for place, (slot, worker) in enumerate(zip(self._launch.slots, self._workers, strict=True)):
            records, self._steps[place] = worker.steps.read_since(self._steps[place])
            recent = records[records["sent_ns"] > max(0, now_ns - HEADROOM_NS)]
            self._headroom.feed(recent, policy_in(slot))
            self._take_steps(records[records["sent_ns"] != 0], self._policies[policy_in(slot)])
            frames, self._frames[place] = worker.frames.read_since(self._frames[place])
            if slot == holder:
                self._take_unanswered(frames, worker.shape.observation_dim, self._policies[policy])
        shown = self._ages.sent_ns > now_ns - WINDOW_NS
        self._ages = Ages(self._ages.sent_ns[shown], self._ages.age_ns[shown])
        return Inside(
            now_ns=now_ns,
            period_s=self._launch.period_s,
            deadline_s=self._launch.deadline_s,
            joints=self._launch.joints,
            low=self._policies[policy].low,
            high=self._policies[policy].high,
            pose=self._pose,
            ages=self._ages,
            steps_per_s=float(np.count_nonzero(self._ages.sent_ns > now_ns - _RATE_NS)) / (_RATE_NS / 1e9),
            headroom=self._headroom.least() if (self._ages.sent_ns > now_ns - HEADROOM_NS).any() else {},
            dampings=_some(
                zip((reason.name.lower() for reason in Reason), words.row("damping_by_reason"), strict=True)
            ),
            clamped=_some(
                (name, sum(worker.words.row("clamped")[place] for worker in self._workers))
                for place, name in enumerate(LIMIT_NAMES)
            ),
            worker_pid=words.row("worker_pid")[holder],
        )

    def _take_steps(self, sent: npt.NDArray[Any], policy: _Policy) -> None:
        if not len(sent):
            return
        sent_ns = sent["sent_ns"].astype(np.int64)
        age_ns = sent_ns - sent["state_stamp_ns"].astype(np.int64)
        together = np.concatenate((self._ages.sent_ns, sent_ns)), np.concatenate((self._ages.age_ns, age_ns))
        order = np.argsort(together[0], kind="stable")
        self._ages = Ages(together[0][order], together[1][order])
        newest = sent[-1]
        at_ns = int(newest["receive_ns"])
        if self._pose is None or at_ns >= self._pose.at_ns:
            measured = [newest[name] for name in ("joint_position", "joint_velocity")]
            followed = np.select(policy.follow, measured, newest["joint_torque"])
            self._pose = Pose(at_ns, newest["target"].copy(), followed, True)

    def _take_unanswered(self, frames: npt.NDArray[Any], observation_dim: int, policy: _Policy) -> None:
        """The newest state, where there is no session for it: how far is it from where one may begin?"""
        setup = self._guard.read_session()
        if not len(frames) or frames[-1]["step_ns"] != 0 or setup is None:
            return
        try:
            state = decode_either(message_of(frames[-1]), observation_dim, len(policy.default))
        except WireError:
            return
        order = setup.policy_from_controller
        measured = np.where(policy.follow[0], state.joint_position[order], policy.default)
        self._pose = Pose(int(frames[-1]["received_ns"]), policy.default, measured, False)


def _some(counts: Any) -> dict[str, int]:
    return {name: count for name, count in counts if count}


def _launch_of(pid: int) -> TelemetryLaunch:
    """What gaitd's telemetry process was told, and no other process that has its number by now."""
    place = Path(f"/proc/{pid}")
    try:
        name = (place / "comm").read_text().strip()
        argument = (place / "cmdline").read_bytes().rstrip(b"\0").rpartition(b"\0")[2]
    except OSError:
        name, argument = "", b""
    if name != TELEMETRY.title:
        raise GaitdError("gaitd's telemetry process is not running now")
    try:
        return read_launch(argument.decode(), TelemetryLaunch)
    except (ReplacedError, UnicodeDecodeError):
        raise ReplacedError("the running gaitd is of another version than this gaitctl: restart it") from None


def _open(pid: int, fd: int) -> int:
    """A descriptor of that process's file, which can only be read. Raises OSError."""
    # Whatever somebody may have put there, opening it waits for nobody.
    own = os.open(f"/proc/{pid}/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(own).st_mode):
        os.close(own)
        raise OSError("it is no memory file")
    return own


def _manifest(pid: int, fd: int, what: str) -> Manifest:
    own = _open(pid, fd)
    try:
        return decode_manifest(read_all(own), what)
    finally:
        os.close(own)


def _map(pid: int, fd: int, kind: Any) -> Any:
    own = _open(pid, fd)
    try:
        return kind(own, writable=False)
    finally:
        os.close(own)  # the mapping stays
