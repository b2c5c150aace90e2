"""The faults that are injected into the walking robot, one entry for each row of the table."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from gaitd.ctl.client import ControlClient
from gaitd.ctl.rehearse.threads import IO_THREAD, paused_thread, thread_named
from gaitd.errors import GaitdError, UnreachableError
from gaitd.wire.codec import encode_state
from gaitd.wire.generated import Reason
from gaitforge.faults import memory, peers, rings
from gaitforge.faults.disk import RECORDING, full_disk
from gaitforge.faults.explained import OVER_SHARED_MEMORY
from gaitforge.faults.fault import PLAIN, Fault
from gaitforge.faults.rig import PATIENCE_S, PINNED, WORKER_NAMES, Rig, Setting
from gaitforge.faults.shared_memory import GUARD_FILE, WORKER_FILE

TAMPERED = Setting("tampered", tampered=True)
LOADED = Setting("loaded", config=PINNED)
STANCE = Setting("stance", stance_s=0.3)
STANDBY = Setting("standby", config='[standby]\nmode = "on"\n')
SHM = Setting("shm", transport="shm")
SHM_STANDBY = replace(STANDBY, name="shm-standby", transport="shm")
SHM_STANCE = replace(STANCE, name="shm-stance", transport="shm")
SHM_ALONE = Setting("shm-controller", transport="shm")
ALONE = Setting("controller")
"""A killed controller takes its log with it, so these share a chain with no others."""

SEEN_AT_ONCE = 1.0
"""Periods from a death that the kernel reports to damping at the controller."""
DEADLINE = 5.0
"""Periods from the last fresh command to damping at the controller."""
FOR_EVER_S = 1e6
SESSIONS, SESSION_S = 2, 8.0
"""So many are given so long for a fresh standby to follow them."""
DEFAULT_FILES, MOST_FILES = 1024, 4096
"""File descriptors of a service."""
STRESS_S = 10
"""At most; ended when the fault has been watched."""

Inject = Callable[[Rig], None]


def _kill(name: str, number: signal.Signals) -> Inject:
    return lambda rig: rig.signal(name, number)


def _backend(kind: str, of: str = "worker", **details: object) -> Inject:
    return lambda rig: rig.run_backend(kind, of=of, **details)


def _tamper(kind: str, **details: object) -> Inject:
    return lambda rig: rig.tamper(kind, **details)


def _honest(rig: Rig) -> None:
    rig.run_backend("honest")


def _untampered(rig: Rig) -> None:
    rig.tamper("honest")


def _restart(name: str) -> Inject:
    return lambda rig: rig.chain.restart(name)


def _hang(seconds: float, *, holding_lock: bool) -> Inject:
    return _backend("hang", runs=1, seconds=seconds, holding_lock=holding_lock)


def _slow(periods: float) -> Inject:
    """Every run takes longer."""
    return lambda rig: rig.run_backend("hang", seconds=periods * rig.period_ns / 1e9, holding_lock=False)


def _kill_everything(rig: Rig) -> None:
    pids = [rig.pid(name) for name in ("gaitd", "worker", "telemetry")]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _stop_worker_tree(rig: Rig) -> None:
    """Worker and telemetry stopped: what the kernel does to a process in an uninterruptible wait."""
    for name in ("worker", "telemetry"):
        rig.signal(name, signal.SIGSTOP)


def _continue_telemetry(rig: Rig) -> None:
    rig.signal("telemetry", signal.SIGCONT)


def _damp_by_operator(rig: Rig) -> None:
    gaitctl = Path(sys.executable).with_name("gaitctl")
    command: list[os.PathLike[str] | str] = [gaitctl, "--runtime-dir", rig.runtime_dir, "damp"]
    subprocess.run(command, check=True, capture_output=True, timeout=10)


def _second_controller(rig: Rig) -> None:
    """Say hello, ask for a session, release the running one; send states of none and of that session."""
    session = rig.known["session"]
    hello = {
        "controller": "second", "joints": rig.manifest.joints, "message": "state",
        "fields": ["angular_velocity", "orientation", "velocity_command", "joint_position", "joint_velocity"],
    }  # fmt: skip
    with ControlClient(rig.runtime_dir) as client:
        client.demand("hello", **hello)
        for name, body in (("activate", {}), ("release", {"session": session})):
            if client.ask(name, **body).ok:
                raise GaitdError(f"gaitd granted a second controller's {name}")
    peer = peers.Peer(rig.runtime_dir, "state")
    for _ in range(40):
        for its_session in (0, session):
            peer.send(encode_state(peers.foreign_state(session=its_session)))
        time.sleep(rig.period_ns / 1e9)
    peer.close()


def _controller_restart(rig: Rig) -> None:
    rig.signal("controller", signal.SIGKILL)
    rig.chain.restart("controller")


def _malformed(rig: Rig) -> None:
    peers.malformed(rig.runtime_dir, seed=time.monotonic_ns() % 1000)


def _flood(endpoint: str) -> Inject:
    return lambda rig: rig.flood(endpoint, 0.8)


def _many_connections(rig: Rig) -> None:
    for raw in peers.connections(rig.runtime_dir, 400):
        raw.close()


def _limit_files(rig: Rig, name: str, limit: int) -> None:
    resource.prlimit(rig.pid(name), resource.RLIMIT_NOFILE, (limit, MOST_FILES))


def _exhaust_files(rig: Rig) -> None:
    """No new file descriptor for the guardian, which needs one when the worker dies."""
    _limit_files(rig, "gaitd", 3)


def _give_files_back(rig: Rig) -> None:
    _limit_files(rig, "gaitd", DEFAULT_FILES)


def _spawner_pid(rig: Rig) -> int:
    fields = Path(f"/proc/{rig.pid('worker')}/stat").read_text().rpartition(")")[2].split()
    return int(fields[1])


def _slow_restart_of_telemetry(rig: Rig) -> None:
    """What starts the processes stands still, as when the disk does, and telemetry dies."""
    os.kill(_spawner_pid(rig), signal.SIGSTOP)
    rig.signal("telemetry", signal.SIGKILL)


def _let_it_restart(rig: Rig) -> None:
    os.kill(_spawner_pid(rig), signal.SIGCONT)


def _stop_io_thread(name: str, seconds: float) -> Inject:
    """The thread of ZeroMQ in which all messages come and go."""

    def inject(rig: Rig) -> None:
        with paused_thread(thread_named(rig.pid(name), IO_THREAD)):
            time.sleep(seconds)

    return inject


def _delete_socket(rig: Rig) -> None:
    Path(peers.path_of(rig.runtime_dir, "control")).unlink()


def _few_descriptors(rig: Rig) -> None:
    """As many as a service gets by default."""
    for name in ("gaitd", "worker"):
        _limit_files(rig, name, DEFAULT_FILES)


def _attacked(name: str, kind: str, endpoint: str, count: int, then: Inject | None = None) -> Fault:
    """The attack goes on for a while before time counts, and while the robot is watched."""

    def prepare(rig: Rig) -> None:
        _few_descriptors(rig)
        rig.attack(kind, endpoint=endpoint, count=count, seconds=20.0)
        time.sleep(2.0)

    return Fault(name, then or (lambda rig: None), prepare=prepare, undo=Rig.end_attacks)


def _restart_alive(rig: Rig) -> None:
    rig.signal("gaitd", signal.SIGKILL)
    rig.chain.restart("gaitd")


def _damp_by_request(rig: Rig) -> None:
    # Where others ask for too much, the answer may be lost: what counts is that the robot is damped.
    with ControlClient(rig.runtime_dir) as client, contextlib.suppress(UnreachableError):
        client.demand("damp", session=0, reason=int(Reason.OPERATOR), detail="stop")


def _stress(*arguments: str) -> Inject:
    """Load from stress-ng, for a little longer than the robot is watched."""

    def load(rig: Rig) -> None:
        rig.stress(*arguments, seconds=STRESS_S)
        time.sleep(0.5)

    return load


def _wait_for_stress(rig: Rig) -> None:
    rig.end_stress()


def _wait_for(rig: Rig, name: str, timeout_s: float = PATIENCE_S) -> None:
    rig.wait(lambda status: bool(status[name]["ready"]), f"a {name} that is ready", timeout_s)


def _wait_for_standby(rig: Rig) -> None:
    """One that follows the session from its start, or for long enough."""
    _wait_for(rig, "standby")
    rig.known = rig.wait(lambda status: status["mode"] == "active", "walking")


def _new_session(rig: Rig) -> None:
    """With an honest worker and an honest standby: the lease moves once in a session."""
    for name in WORKER_NAMES:
        rig.run_backend("honest", of=name)
    _wait_for(rig, "worker")
    # A fresh one follows a policy with a clock only from a session's start, and may be too late for the next.
    for _ in range(SESSIONS):
        if (rig.status() or {}).get("mode") == "active":
            _damp_by_request(rig)
        with contextlib.suppress(GaitdError):
            _wait_for(rig, "standby", SESSION_S)
            return
    _wait_for(rig, "standby")


def _kill_both_workers(rig: Rig) -> None:
    for pid in [rig.pid(name) for name in WORKER_NAMES]:
        os.kill(pid, signal.SIGKILL)


def _slow_standby_then_kill(rig: Rig) -> None:
    rig.run_backend("hang", of="standby", seconds=rig.period_ns / 1e9, holding_lock=False)
    time.sleep(20 * rig.period_ns / 1e9)
    rig.signal("worker", signal.SIGKILL)


def _kill_one_after_the_other(rig: Rig) -> None:
    rig.signal("worker", signal.SIGKILL)
    time.sleep(10 * rig.period_ns / 1e9)
    rig.signal("standby", signal.SIGKILL)


DIED = frozenset({"worker_died"})
LATE = frozenset({"deadline"})
INVALID = frozenset({"state_invalid"})
STALE = frozenset({"state_stale"})
LOST = frozenset({"state_lost"})
CLIENT = frozenset({"client_deadline"})

WORKER_FAULTS = (
    Fault("worker: kill -9", _kill("worker", signal.SIGKILL), DIED, since="injection",
          bound_periods=SEEN_AT_ONCE),
    Fault("worker: segfault in a C library", _backend("crash", how="segfault"), DIED, bound_periods=2.0),
    Fault("worker: abort", _backend("crash", how="abort"), DIED, bound_periods=2.0),
    Fault("worker: exit", _backend("crash", how="exit"), DIED, bound_periods=2.0),
    Fault("worker: writes into the guardian's memory", _backend("crash", how="wild write"), DIED,
          bound_periods=2.0),
    Fault("worker: killed between staging and sending", _backend("die before", what="sending"), DIED,
          bound_periods=2.0, undo=memory.expect_unsent),
    Fault("worker: killed between sending and marking", _backend("die before", what="marking"), DIED,
          bound_periods=2.0, undo=memory.expect_unsent),
    Fault("worker: stopped (SIGSTOP)", _kill("worker", signal.SIGSTOP), LATE),
    Fault("worker and telemetry: stopped, as if uninterruptible", _stop_worker_tree, LATE,
          undo=_continue_telemetry),
    Fault("inference hangs 30 ms, lock free", _hang(0.03, holding_lock=False)),
    Fault("inference hangs 30 ms, lock held", _hang(0.03, holding_lock=True)),
    Fault("inference hangs 50 ms, lock free", _hang(0.05, holding_lock=False), LATE | LOST | CLIENT,
          either=True),
    Fault("inference hangs 50 ms, lock held", _hang(0.05, holding_lock=True), LATE | LOST | CLIENT,
          either=True),
    Fault("inference hangs 500 ms, lock free", _hang(0.5, holding_lock=False), LATE),
    Fault("inference hangs 500 ms, lock held", _hang(0.5, holding_lock=True), LATE),
    Fault("inference hangs for ever, lock free", _hang(FOR_EVER_S, holding_lock=False), LATE),
    Fault("inference hangs for ever, lock held", _hang(FOR_EVER_S, holding_lock=True), LATE),
    Fault("inference slower by 1 period", _slow(1), undo=_honest),
    Fault("inference slower by 2 periods", _slow(2), LATE | CLIENT, either=True, undo=_honest),
    Fault("inference slower by 5 periods", _slow(5), LATE),
    Fault("one run fails", _backend("raise", runs=2)),
    Fault("every run fails", _backend("raise"), frozenset({"backend_error"})),
    Fault("run answers None", _backend("none"), DIED | {"action_invalid"}),
    Fault("action NaN, once", _backend("value", value="nan", runs=2)),
    Fault("action NaN, for ever", _backend("value", value="nan"), frozenset({"action_invalid"}),
          undo=_honest),
    Fault("action Inf on one joint", _backend("value", value="inf", joint=4), frozenset({"action_invalid"}),
          undo=_honest),
    Fault("action 1e30 on one joint, once", _backend("value", value=1e30, joint=4, runs=2)),
    Fault("action of the wrong shape", _backend("shape"), frozenset({"action_invalid"}), undo=_honest),
    Fault("same answer for every input", _backend("constant"), frozenset({"action_invalid"}), undo=_honest),
)  # fmt: skip

WORKER_IO = "worker: its I/O thread stands still for 1 s"
GAITD_FAULTS = (
    Fault("guardian: kill -9 (all of gaitd goes)", _kill("gaitd", signal.SIGKILL), CLIENT,
          undo=_restart("gaitd")),
    Fault("guardian: stopped (SIGSTOP)", _kill("gaitd", signal.SIGSTOP), CLIENT | LATE,
          undo=_kill("gaitd", signal.SIGCONT)),
    Fault("guardian: writes into the worker's memory", memory.wild_write("gaitd", WORKER_FILE), CLIENT,
          undo=_restart("gaitd")),
    Fault("gaitd: all processes killed at once", _kill_everything, CLIENT, undo=_restart("gaitd")),
    Fault("gaitd: SIGTERM while the robot walks", _kill("gaitd", signal.SIGTERM),
          frozenset({"shutdown"}), since="injection", bound_periods=SEEN_AT_ONCE,
          undo=_restart("gaitd")),
    Fault("gaitctl damp", _damp_by_operator, frozenset({"operator"})),
    Fault("telemetry: kill -9", _kill("telemetry", signal.SIGKILL)),
    Fault("telemetry: writes into the guardian's memory", memory.wild_write("telemetry", GUARD_FILE)),
    Fault("telemetry: writes into the worker's memory", memory.wild_write("telemetry", WORKER_FILE)),
    Fault("telemetry: disk full, then an operator damps", full_disk(_damp_by_operator),
          frozenset({"operator"}), setting=RECORDING),
    Fault("telemetry: stopped (SIGSTOP)", _kill("telemetry", signal.SIGSTOP), undo=_continue_telemetry),
    Fault("shared memory: truncated from outside", memory.truncate),
    Fault("shared memory: worker's memory overwritten at random", memory.scramble_worker,
          DIED | LATE, either=True),
    Fault("shared memory: guardian's memory overwritten at random", memory.scramble_guard,
          LATE | LOST | CLIENT, either=True),
    Fault("shared memory: stamps of the far future", memory.far_future, LATE | LOST | CLIENT | DIED),
    Fault("guardian: no file descriptors, and the worker dies", _kill("worker", signal.SIGKILL), DIED,
          since="injection", bound_periods=SEEN_AT_ONCE, prepare=_exhaust_files, undo=_give_files_back),
    Fault("second controller: activate, states, release", _second_controller),
    Fault("malformed messages to every socket", _malformed),
    Fault("not ZeroMQ, and 1 GB announced, to every socket", lambda rig: peers.not_zeromq(rig.runtime_dir)),
    Fault("1600 connections", _many_connections),
    Fault("flood of states", _flood("state")),
    Fault("flood of requests", _flood("control")),
    Fault("flood to the command publisher", _flood("command")),
    Fault("flood to the guardian's publisher", _flood("guard")),
    Fault("guardian: its I/O thread stands still for 1 s", _stop_io_thread("gaitd", 1.0), CLIENT),
    Fault(WORKER_IO, _stop_io_thread("worker", 1.0), LOST | CLIENT),
    Fault("gaitd: the control socket's file is deleted", _delete_socket, CLIENT,
          undo=_restart_alive),
    Fault("telemetry: dies, and what restarts it stands still", _slow_restart_of_telemetry,
          undo=_let_it_restart),
    *(_attacked(f"1000 idle connections to {endpoint}", "idle", endpoint, 1000)
      for endpoint in peers.ENDPOINTS),
    *(_attacked(f"messages without end to {endpoint}", "endless", endpoint, 1)
      for endpoint in peers.ENDPOINTS),
    _attacked("requests of 60 kB from 16 connections", "oversized", "control", 16),
    replace(
        _attacked("300 busy connections, then an operator damps", "busy", "control", 300, _damp_by_request),
        reasons=frozenset({"operator"}), since="injection",
    ),
    replace(
        _attacked("topics without end at the guardian, then the worker is killed", "topics", "guard", 4,
                  _kill("worker", signal.SIGKILL)),
        reasons=DIED, since="injection", bound_periods=SEEN_AT_ONCE,
    ),
    _attacked("topics without end at the worker", "topics", "command", 4),
)  # fmt: skip

STANCE_FAULTS = (
    Fault("worker: kill -9, with stance first", _kill("worker", signal.SIGKILL), DIED, since="injection",
          bound_periods=SEEN_AT_ONCE, setting=STANCE),
    Fault("inference hangs for ever, with stance first", _hang(FOR_EVER_S, holding_lock=True), LATE,
          setting=STANCE),
    Fault("gaitd: all processes killed at once, with stance first", _kill_everything, CLIENT, setting=STANCE,
          undo=_restart("gaitd")),
)  # fmt: skip

WALKED_THROUGH = 2.0
"""Periods without a fresh command, where a death is heard of at once."""
HANG_WALKED_THROUGH = 4.0
"""The same where the wait of a state alone tells, for longer than is left until the deadline."""


def _with_standby(name: str, inject: Inject, bound_periods: float, **more: Any) -> Fault:
    return Fault(
        f"with standby: {name}", inject, bound_periods=bound_periods, setting=STANDBY, watch_s=1.2,
        prepare=_wait_for_standby, undo=_new_session, **more,
    )  # fmt: skip


STANDBY_FAULTS = (
    _with_standby("worker: kill -9", _kill("worker", signal.SIGKILL), WALKED_THROUGH),
    _with_standby("worker: segfault in a C library", _backend("crash", how="segfault"), WALKED_THROUGH),
    *(
        _with_standby(f"worker: killed between {between}", _backend("die before", what=what), WALKED_THROUGH)
        for between, what in (
            ("staging and sending", "sending"), ("sending and marking", "marking"),
            ("marking and delivery", "delivery"),
        )
    ),
    _with_standby("worker: stopped (SIGSTOP)", _kill("worker", signal.SIGSTOP), HANG_WALKED_THROUGH),
    *(
        _with_standby(f"inference hangs {name}", inject, HANG_WALKED_THROUGH)
        for name, inject in (
            ("for ever, lock free", _hang(FOR_EVER_S, holding_lock=False)),
            ("for ever, lock held", _hang(FOR_EVER_S, holding_lock=True)),
            ("32 ms, and ends as the lease moves", _hang(0.032, holding_lock=False)),
        )
    ),
    *(
        _with_standby(name, inject, HANG_WALKED_THROUGH)
        for name, inject in (
            ("inference slower by 5 periods", _slow(5)),
            ("every run fails", _backend("raise")),
            ("run answers None", _backend("none")),
            ("action NaN, for ever", _backend("value", value="nan")),
            ("action of the wrong shape", _backend("shape")),
        )
    ),
    _with_standby("standby: kill -9", _kill("standby", signal.SIGKILL), WALKED_THROUGH),
    _with_standby(
        "standby: hangs for ever",
        _backend("hang", of="standby", seconds=FOR_EVER_S, holding_lock=True), WALKED_THROUGH,
    ),
    _with_standby(
        "standby: slower by 1 period, then the worker is killed", _slow_standby_then_kill, DEADLINE,
        reasons=DIED | LATE | CLIENT, either=True,
    ),
    _with_standby(
        "worker and standby: killed at once", _kill_both_workers, 2 * SEEN_AT_ONCE, reasons=DIED,
        since="injection",
    ),
    _with_standby(
        "worker: kill -9, then the standby", _kill_one_after_the_other, WALKED_THROUGH, reasons=DIED
    ),
    _with_standby("an operator damps", _damp_by_request, DEADLINE, reasons=frozenset({"operator"})),
)  # fmt: skip

AFTER_ITS_CONTROLLER = frozenset({"kept walking", "lay down softly", "fell hard"})
"""Nothing of gaitd reaches the motors any more: they hold the last command until the robot's own timeout."""
CONTROLLER_FAULTS = tuple(
    Fault(name, inject, LOST, since="injection", bound_periods=6.5, at_gaitd=True, watch_s=2.2, undo=undo,
          setting=ALONE, outcomes=AFTER_ITS_CONTROLLER)
    for name, inject, undo in (
        ("controller: kill -9", _kill("controller", signal.SIGKILL), _restart("controller")),
        ("controller: killed and started again mid-session", _controller_restart, lambda rig: None),
        ("controller: stopped (SIGSTOP)", _kill("controller", signal.SIGSTOP),
         _kill("controller", signal.SIGCONT)),
    )
)  # fmt: skip

CHANNEL_FAULTS = tuple(
    Fault(name, inject, reasons, setting=TAMPERED, undo=_untampered)
    for name, inject, reasons in (
        ("sensors frozen, fresh stamps", _tamper("freeze content"), STALE),
        ("stamps jump back 1 s", _tamper("shift stamp", ns=-1_000_000_000), INVALID),
        ("stamps jump forward 1 s", _tamper("shift stamp", ns=1_000_000_000), STALE),
        ("stamps jump forward 1 s, once", _tamper("shift stamp", ns=1_000_000_000, states=1), frozenset()),
        ("state NaN, once", _tamper("state value", field="joint_position", value="nan", states=1),
         frozenset()),
        ("state NaN, for ever", _tamper("state value", field="joint_position", value="nan"), INVALID),
        ("velocity command NaN", _tamper("state value", field="velocity_command", value="nan"), INVALID),
        ("joint position out of range", _tamper("state value", field="joint_position", value=9.0), INVALID),
        ("joint velocity spike, once", _tamper("state value", field="joint_velocity", value=1e4, states=1),
         frozenset()),
        ("joint velocity spikes, for ever", _tamper("state value", field="joint_velocity", value=1e4),
         INVALID),
        ("robot on its side", _tamper("state value", field="orientation", value=[0.7071, 0.7071, 0.0, 0.0]),
         frozenset({"limit"})),
        ("orientation is not a rotation", _tamper("state value", field="orientation", value=3.0), INVALID),
        ("states lost", _tamper("lose states", every=1), LOST),
        ("every fifth state lost", _tamper("lose states", every=5), frozenset()),
        ("states duplicated", _tamper("repeat states"), frozenset()),
        ("states in the wrong order", _tamper("reorder states"), frozenset()),
        ("states late by 1 period", _tamper("delay states", periods=1), frozenset()),
        ("states late by 3 periods", _tamper("delay states", periods=3), STALE),
        ("controller at half the rate", _tamper("half rate"), frozenset()),
        ("controller at double the rate", _tamper("double rate"), frozenset()),
        ("commands lost", _tamper("lose commands", every=1), CLIENT),
        ("every second command lost", _tamper("lose commands", every=2), frozenset()),
        ("commands duplicated", _tamper("repeat commands"), frozenset()),
        ("commands in the wrong order", _tamper("reorder commands"), frozenset()),
        ("commands late by 2 periods", _tamper("delay commands", periods=2), frozenset()),
        ("commands late by 6 periods", _tamper("delay commands", periods=6), CLIENT),
        ("commands truncated", _tamper("truncate commands"), CLIENT),
        ("commands with NaN", _tamper("command value", value="nan"), CLIENT),
        ("commands of another session", _tamper("foreign commands"), CLIENT),
    )
)  # fmt: skip

SHM_SETTINGS = {PLAIN: SHM, STANDBY: SHM_STANDBY, ALONE: SHM_ALONE, STANCE: SHM_STANCE}
"""Where messages may go the other way as well."""
SHM_REASONS: dict[str, frozenset[str]] = {WORKER_IO: frozenset()}
"""What is otherwise over shared memory: no message of the controller's comes by that thread."""


def _over_shm(fault: Fault) -> Fault:
    name, reasons = f"{OVER_SHARED_MEMORY}{fault.name}", SHM_REASONS.get(fault.name, fault.reasons)
    return replace(fault, name=name, reasons=reasons, setting=SHM_SETTINGS[fault.setting])


SHM_FAULTS = (
    *(
        _over_shm(fault)
        for fault in (*WORKER_FAULTS, *STANDBY_FAULTS, *GAITD_FAULTS, *STANCE_FAULTS, *CONTROLLER_FAULTS)
        if fault.setting in SHM_SETTINGS
    ),
    *(
        Fault(f"{OVER_SHARED_MEMORY}{name}", inject, reasons, either=either, setting=SHM)
        for name, inject, reasons, either in (
            ("every ring truncated from outside", rings.truncate, frozenset(), False),
            ("states overwritten at random, once", rings.scramble(rings.STATES),
             LOST | INVALID | CLIENT, True),
            ("commands overwritten at random, once", rings.scramble(rings.COMMANDS), CLIENT, True),
            ("every ring overwritten at random, once", rings.scramble(rings.EVERYTHING),
             LOST | INVALID | CLIENT, True),
            ("states overwritten again and again", rings.scramble(rings.STATES, rings.FOR_S),
             LOST | INVALID | CLIENT, True),
            ("commands overwritten again and again", rings.scramble(rings.COMMANDS, rings.FOR_S),
             CLIENT, False),
            # Older states are announced again, and refused.
            ("states never announced", rings.freeze_counter(rings.STATES), LOST | INVALID | CLIENT, True),
            ("commands never announced", rings.freeze_counter(rings.COMMANDS), CLIENT, True),
            ("others take every lane that is left", rings.crowd, frozenset(), False),
            ("the socket's file is deleted", rings.delete_socket, frozenset(), False),
        )
    ),
)  # fmt: skip

HOGS = _stress("--cpu", "4")
LOAD_FAULTS = (
    *(
        Fault(name, lambda rig: None, prepare=load, setting=LOADED, watch_s=2.0, undo=_wait_for_stress)
        for name, load in (
            ("CPU hogs on the worker's core", _stress("--cpu", "2", "--taskset", "1")),
            ("CPU hogs on every core", HOGS),
            ("memory pressure: 2 GB allocated and touched", _stress("--vm", "2", "--vm-bytes", "1g")),
            ("disk and system call load", _stress("--hdd", "1", "--get", "1", "--temp-path", "/tmp")),
        )
    ),
    Fault("worker: kill -9 under CPU hogs", _kill("worker", signal.SIGKILL), DIED, since="injection",
          bound_periods=SEEN_AT_ONCE, setting=LOADED, prepare=HOGS, undo=_wait_for_stress),
    Fault("worker: stopped under CPU hogs", _kill("worker", signal.SIGSTOP), LATE, setting=LOADED,
          prepare=HOGS, undo=_wait_for_stress),
)  # fmt: skip

FAULTS = (
    *WORKER_FAULTS, *STANDBY_FAULTS, *GAITD_FAULTS, *STANCE_FAULTS, *CONTROLLER_FAULTS, *CHANNEL_FAULTS,
    *LOAD_FAULTS, *SHM_FAULTS,
)  # fmt: skip
QUICK = (
    "worker: kill -9",
    "inference hangs for ever, lock held",
    "action NaN, for ever",
    "action NaN, once",
    "guardian: kill -9 (all of gaitd goes)",
    "malformed messages to every socket",
    "over shared memory: worker: kill -9",
    "over shared memory: commands overwritten again and again",
)
"""A few rows of every kind, for the test suite."""
