"""Does gaitctl explain name what was injected? What it may say of each damping and failover."""

from __future__ import annotations

import time
from pathlib import Path

from gaitd.ctl.explain.account import Account
from gaitd.errors import GaitdError
from gaitd.telemetry.files import RecordingFiles
from gaitd.telemetry.recording import read_recording

WAIT_S = 4.0
"""For the recording; it is written two seconds after the damping."""
LAST_NS = 100_000_000
"""What died at once left its last word so shortly before the injection; what was before is older."""
CRASHED, LATE = frozenset({"worker_crashed"}), frozenset({"inference_hung"})
SLOW, KILLED = frozenset({"inference_slow", "inference_hung"}), frozenset({"worker_killed"})
LOST = frozenset({"state_lost"})

OVER_SHARED_MEMORY = "over shared memory: "
"""Before the name of a fault that comes by that way, too; its cause is the same."""
NAMES: dict[str, frozenset[str]] = {
    "worker: kill -9": KILLED,
    "worker: segfault in a C library": CRASHED,
    "worker: abort": CRASHED,
    "worker: exit": frozenset({"worker_ended"}),
    "worker: writes into the guardian's memory": CRASHED,
    "worker: killed between staging and sending": KILLED,
    "worker: killed between sending and marking": KILLED,
    "worker: stopped (SIGSTOP)": frozenset({"worker_stopped"}),
    "worker and telemetry: stopped, as if uninterruptible": frozenset({"worker_stopped"}),
    "inference hangs 50 ms, lock free": LATE,
    "inference hangs 50 ms, lock held": LATE,
    "inference hangs 500 ms, lock free": LATE,
    "inference hangs 500 ms, lock held": LATE,
    "inference hangs for ever, lock free": LATE,
    "inference hangs for ever, lock held": LATE,
    "inference slower by 2 periods": SLOW,
    "inference slower by 5 periods": SLOW,
    "every run fails": frozenset({"backend_error"}),
    "run answers None": frozenset({"worker_error"}),
    "action NaN, for ever": frozenset({"action_not_finite"}),
    "action Inf on one joint": frozenset({"action_not_finite"}),
    "action of the wrong shape": frozenset({"action_shape"}),
    "same answer for every input": frozenset({"action_repeated"}),
    "guardian: kill -9 (all of gaitd goes)": frozenset({"guardian_died"}),
    "guardian: stopped (SIGSTOP)": frozenset({"guardian_stopped"}),
    "guardian: writes into the worker's memory": frozenset({"guardian_died"}),
    "gaitd: all processes killed at once": frozenset({"gaitd_killed"}),
    "gaitd: SIGTERM while the robot walks": frozenset({"shutdown"}),
    "gaitctl damp": frozenset({"operator"}),
    "guardian: no file descriptors, and the worker dies": KILLED,
    "guardian: its I/O thread stands still for 1 s": frozenset({"gaitd_unheard"}),
    "worker: its I/O thread stands still for 1 s": frozenset({"states_delayed"}),
    "gaitd: the control socket's file is deleted": frozenset({"gaitd_unheard", "guardian_died"}),
    "300 busy connections, then an operator damps": frozenset({"operator"}),
    "topics without end at the guardian, then the worker is killed": KILLED,
    "worker: kill -9, with stance first": KILLED,
    "inference hangs for ever, with stance first": LATE,
    "gaitd: all processes killed at once, with stance first": frozenset({"gaitd_killed"}),
    "controller: kill -9": LOST,
    "controller: killed and started again mid-session": LOST,
    "controller: stopped (SIGSTOP)": LOST,
    "sensors frozen, fresh stamps": frozenset({"frozen"}),
    "stamps jump back 1 s": frozenset({"sequence"}),
    "stamps jump forward 1 s": frozenset({"future"}),
    "state NaN, for ever": frozenset({"not_finite"}),
    "velocity command NaN": frozenset({"not_finite"}),
    "joint position out of range": frozenset({"out_of_range"}),
    "joint velocity spikes, for ever": frozenset({"velocity_out_of_range"}),
    "robot on its side": frozenset({"tilt"}),
    "orientation is not a rotation": frozenset({"orientation_norm"}),
    "states lost": LOST,
    "states late by 3 periods": frozenset({"old", "states_delayed"}),
    "commands lost": frozenset({"commands_lost"}),
    "commands late by 6 periods": frozenset({"commands_lost"}),
    "commands truncated": frozenset({"commands_lost"}),
    "commands with NaN": frozenset({"commands_lost"}),
    "commands of another session": frozenset({"commands_lost"}),
    "worker: kill -9 under CPU hogs": KILLED,
    "worker: stopped under CPU hogs": frozenset({"worker_stopped"}),
    "with standby: worker: kill -9": KILLED,
    "with standby: worker: segfault in a C library": CRASHED,
    "with standby: worker: killed between staging and sending": KILLED,
    "with standby: worker: killed between sending and marking": KILLED,
    "with standby: worker: killed between marking and delivery": KILLED,
    "with standby: worker: stopped (SIGSTOP)": frozenset({"worker_stopped"}),
    "with standby: inference hangs for ever, lock free": LATE,
    "with standby: inference hangs for ever, lock held": LATE,
    "with standby: inference hangs 32 ms, and ends as the lease moves": LATE,
    "with standby: inference slower by 5 periods": SLOW,
    "with standby: every run fails": frozenset({"backend_error"}),
    "with standby: run answers None": frozenset({"worker_error"}),
    "with standby: action NaN, for ever": frozenset({"action_not_finite"}),
    "with standby: action of the wrong shape": frozenset({"action_shape"}),
    "with standby: worker and standby: killed at once": KILLED,
    "with standby: worker: kill -9, then the standby": KILLED,
    "with standby: an operator damps": frozenset({"operator"}),
}
"""What its verdict may be, by the fault's name. Faults that damage gaitd's own memory are left out: the
recording is made from it."""


def newest_number(directory: Path) -> int:
    """Of the newest recording there, 0 without any."""
    newest = RecordingFiles(directory).newest()
    return 0 if newest is None else int(newest.name.split("-")[1])


def explained(directory: Path, after: int, since_ns: int) -> str:
    """The verdict on the first recording of what happened since then; empty when none comes in time.

    ``after``: the number of a recording that was there before. ``since_ns``: CLOCK_MONOTONIC.
    """
    until_s, seen = time.monotonic() + WAIT_S, after
    while time.monotonic() < until_s:
        numbered = ((int(path.name.split("-")[1]), path) for path in directory.glob("gaitd-*.mcap"))
        for number, path in sorted(entry for entry in numbered if entry[0] > seen):
            seen = number
            try:
                account = Account.of(path, read_recording(path))
            except GaitdError as error:
                return f"unreadable: {error}"
            if account.facts.zero_ns > since_ns - LAST_NS:
                return account.verdict.kind
        time.sleep(0.05)
    return ""
