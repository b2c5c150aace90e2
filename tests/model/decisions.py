"""What the real Python decides, for every input that the model can give it.

The guardian, the sessions and the session runner are pure or take their clock as a parameter. Here the real
ones are asked about every combination of ages that the model distinguishes, in units of one control step, and
the answers become the tables that explore.cpp works with. Nothing of their logic is written down twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
from gaitd.shared.blackboard import Blackboard, SessionSetup

from gaitd.backends.base import Backend
from gaitd.guardian.main import EXIT_REASONS
from gaitd.guardian.rules import GuardLimits, GuardState, WorkerView
from gaitd.policy.admission import AdmissionLimits
from gaitd.policy.contract import Manifest
from gaitd.policy.pipeline import PolicyPipeline
from gaitd.wire.codec import decode_command, encode_state
from gaitd.wire.contract import Mode, Reason
from gaitd.wire.control import Request
from support.bundles import contract, small_manifest
from support.states import random_state

NOW = 10**12
SESSION, OTHER = 7, 9
NONE = 15
"""An age that stands for: never."""
FIRST_COMMAND_NS = 500_000_000
"""The client's own limit for the first command (latch.hpp); the guardian is given the same."""


@dataclass(frozen=True)
class Bounds:
    """Times in control steps."""

    deadline: int
    max_age: int
    first_command: int

    @property
    def unit_ns(self) -> int:
        return FIRST_COMMAND_NS // self.first_command

    @property
    def guard_ages(self) -> range:
        """From the oldest kind that is told apart down to 0; beyond it all are equally too old."""
        return range(max(self.deadline, self.first_command) + 3)

    @property
    def state_ages(self) -> range:
        return range(self.max_age + 2)


@dataclass(frozen=True)
class Code:
    """The modules under proof; a planted bug replaces one of them."""

    rules: ModuleType
    sessions: ModuleType
    runner: ModuleType


def tables(code: Code, bounds: Bounds) -> dict[str, list[int]]:
    """Every table by name; explore.cpp names the indices."""
    return {
        "bounds": [bounds.deadline, bounds.max_age, bounds.first_command, bounds.unit_ns],
        "tick": [cell for outcome in _ticks(code.rules, bounds) for cell in outcome],
        "died": [int(code.rules.worker_died(_guard(mode), "", NOW).mode) for mode in Mode],
        **_sessions(code, bounds),
        **_runner(code, bounds),
    }


def as_text(all_tables: Mapping[str, list[int]]) -> str:
    return "".join(f"{name} {len(t)} {' '.join(map(str, t))}\n" for name, t in all_tables.items())


def _guard(mode: Mode, fed_ns: int = NOW, *, by_command: bool = False) -> GuardState:
    session = 0 if mode is Mode.IDLE else SESSION
    return GuardState(mode, Reason.NONE, "", session, NOW, fed_ns, by_command)


def _age(at_ns: int, bounds: Bounds) -> int:
    """In whole steps; what is older than all that is told apart is as old as that."""
    return min((NOW - at_ns) // bounds.unit_ns, bounds.guard_ages[-1])


def _ticks(guardian: ModuleType, bounds: Bounds) -> Iterator[list[int]]:
    """[by command][age of feeding][age of the last command or NONE][tripped][clock read one step ago].

    An outcome is: stays ACTIVE and fed how (-1: cannot be; else 16 * by command + age), the same again where
    a bug makes it ambiguous, damps and leaves the worker, damps and kills it.
    """
    unit, ages = bounds.unit_ns, bounds.guard_ages
    # An activate is taken to be a nanosecond before any command of the same step.
    limits = GuardLimits(bounds.deadline * unit, bounds.first_command * unit + 1)
    cases = itertools.product((False, True), ages, [*ages, NONE], (False, True), (0, 1))
    for by_command, fed, command, tripped, lag in cases:
        before = _guard(Mode.ACTIVE, NOW - fed * unit - (not by_command), by_command=by_command)
        active: set[int] = set()
        damped: set[int] = set()
        for view in _views(bounds, command, tripped=tripped):
            after = guardian.tick(before, view, limits, NOW - lag * unit)
            if after.mode is Mode.ACTIVE:
                active.add(16 * after.fed_by_command + _age(after.fed_ns, bounds))
            else:
                assert after.mode is Mode.DAMPING
                assert after.session == before.session
                damped.add(int(after.reason in EXIT_REASONS))
        assert len(active) <= 2
        first, second = ([*sorted(active), -1, -1])[:2]
        yield [first, second, int(0 in damped), int(1 in damped)]


def _views(bounds: Bounds, command: int, *, tripped: bool) -> Iterator[WorkerView]:
    """Everything that the worker may have written beside the age of its last command."""
    old = NOW - 100 * bounds.unit_ns
    commands = (
        [(NOW - command * bounds.unit_ns, SESSION)]
        if command != NONE
        else [(0, 0), (NOW - bounds.unit_ns, OTHER)]
    )
    times = (old, NOW)
    for (at, of), beat, busy, state, refusal, reason in itertools.product(
        commands, times, (0, NOW), times, times, (Reason.STATE_INVALID, Reason.BACKEND_ERROR)
    ):
        yield WorkerView(
            heartbeat_ns=beat,
            busy_since_ns=busy,
            last_state_ns=state,
            last_command_ns=at,
            last_command_session=of,
            last_refusal_ns=refusal,
            last_refusal_reason=reason,
            trip_session=SESSION if tripped else 0,
            trip_reason=Reason.LIMIT if tripped else Reason.NONE,
        )


def _manifest(bounds: Bounds, **limits: Any) -> Manifest:
    plain = small_manifest(control_period_s=bounds.unit_ns / 1e9)
    for name, change in limits.items():
        plain["limits"][name] = {**plain["limits"][name], **change}
    return contract(plain)


def _bundle(manifest: Manifest) -> Any:
    return SimpleNamespace(
        manifest=manifest, policy_id="0" * 16, pipeline=lambda: PolicyPipeline(manifest, None)
    )


def _sessions(code: Code, bounds: Bounds) -> dict[str, list[int]]:
    """What becomes of requests, asked through the same door as the control channel's.

    activate [mode][ours][worker ready]: 1 granted. damp [mode][session 0, the running one, another] and
    release [mode][running one, another][ours]: the mode afterwards.
    """
    manifest = _manifest(bounds)
    me, stranger = b"me", b"stranger"

    def at(mode: Mode, owner: bytes) -> Any:
        sessions = code.sessions.Sessions(_bundle(manifest), bounds.deadline * bounds.unit_ns, SESSION, dict)
        hello = {"controller": "model", "joints": manifest.joints, "fields": _FIELDS}
        for peer in (me, stranger):
            assert ask(sessions, peer, "hello", **hello).ok
        sessions.worker_ready = True
        if mode is not Mode.IDLE:
            assert ask(sessions, owner, "activate").ok
        if mode is Mode.DAMPING:
            assert ask(sessions, owner, "damp", session=0, reason=int(Reason.OPERATOR)).ok
        assert sessions.state.mode is mode
        return sessions

    def ask(sessions: Any, peer: bytes, name: str, **body: Any) -> Any:
        return sessions.answer(peer, Request(1, name, body), NOW)

    def activate(mode: Mode, owner: bytes, ready: bool) -> int:
        sessions = at(mode, owner)
        sessions.worker_ready = ready
        before = sessions.state
        reply = ask(sessions, me, "activate")
        if not reply.ok:
            assert sessions.state == before
            return 0
        state = sessions.state
        assert state.session == reply.body["session"] != before.session
        assert state.mode is Mode.ACTIVE
        return 1

    def damp(mode: Mode, which: int) -> int:
        sessions = at(mode, me)
        running = sessions.state.session
        body = {"session": (0, running, 12345)[which], "reason": int(Reason.CLIENT_DEADLINE)}
        ask(sessions, stranger, "damp", **body)
        assert sessions.state.session == running
        return int(sessions.state.mode)

    def release(mode: Mode, which: int, owner: bytes) -> int:
        sessions = at(mode, owner)
        ask(sessions, me, "release", session=(sessions.state.session or SESSION, 12345)[which])
        return int(sessions.state.mode)

    granted = _fed_at_activate(code.rules, bounds)
    return {
        "fed_at_activate": [granted],
        "activate": [activate(m, o, r) for m in Mode for o in (stranger, me) for r in (False, True)],
        "damp": [damp(m, which) for m in Mode for which in range(3)],
        "release": [release(m, w, o) for m in Mode for w in range(2) for o in (stranger, me)],
    }


def _fed_at_activate(guardian: ModuleType, bounds: Bounds) -> int:
    state = guardian.activate(SESSION, NOW)
    assert state.mode is Mode.ACTIVE
    assert not state.fed_by_command
    return _age(state.fed_ns, bounds)


_FIELDS = [
    "angular_velocity",
    "orientation",
    "linear_acceleration",
    "velocity_command",
    "joint_position",
    "joint_velocity",
    "joint_torque",
]


class _ReachedError(Exception):
    """The runner got as far as the inference."""


class _Answers:
    """A backend that says the given thing."""

    def __init__(self, action: np.ndarray | None) -> None:
        self._action = action

    def infer(self, observation: np.ndarray) -> np.ndarray:
        if self._action is None:
            raise _ReachedError
        return self._action

    def reset(self) -> None: ...

    def accept(self) -> None: ...


def _runner(code: Code, bounds: Bounds) -> dict[str, list[int]]:
    """The worker's side, by the real SessionRunner on a real blackboard, with the model's clock.

    take [age of the last state or NONE][age][of its session]: 1 admitted. begin [age]: 1 it infers.
    publish [guard has the session active][age of the guard's heartbeat]: 1 it publishes.
    trips: 1 a limit that damps is asked for on the blackboard.
    """
    unit = bounds.unit_ns
    clock = SimpleNamespace(monotonic_ns=lambda: NOW)

    def runner(action: np.ndarray | None = None, manifest: Manifest | None = None) -> tuple[Any, Blackboard]:
        manifest = manifest or _manifest(bounds)
        joints = len(manifest.joints)
        board = Blackboard.create(joints)
        board.guard["active_session"], board.guard["heartbeat_ns"] = SESSION, NOW
        backend: Any = _Answers(action)
        checked: Backend = backend
        return code.runner.SessionRunner(
            _bundle(manifest),
            checked,
            board,
            SessionSetup(SESSION, False, np.arange(joints)),
            AdmissionLimits(max_age_ns=bounds.max_age * unit),
            bounds.deadline * unit,
        ), board

    newest_seq = bounds.state_ages[-1] + 1

    def frame(age: int, session: int = SESSION) -> bytes:
        at_rest = np.array([0.0, -0.65, 1.3], np.float32)
        state = random_state(np.random.default_rng(age), 3, joint_position=at_rest)
        return encode_state(replace(state, session=session, seq=newest_seq - age, stamp_ns=NOW - age * unit))

    def take(last: int, age: int, session: int) -> int:
        subject, board = runner()
        if last != NONE:
            subject.take(frame(last), NOW)
            assert board.worker["last_state_ns"] == NOW
            board.worker["last_state_ns"] = 0
        subject.take(frame(age, session), NOW)
        return int(board.worker["last_state_ns"] == NOW)

    def begin(age: int) -> int:
        subject, _ = runner()
        subject.take(frame(age), NOW)
        try:
            assert subject.answer() is None
        except _ReachedError:
            return 1
        return 0

    def publish(active: bool, beat: int) -> int:
        subject, board = runner(np.zeros(3, np.float32))
        board.guard["active_session"] = SESSION if active else OTHER
        board.guard["heartbeat_ns"] = NOW - beat * unit
        subject.take(frame(0), NOW)
        data = subject.answer()
        if data is None:
            return 0
        command = decode_command(data, 3)
        assert (command.session, command.seq, command.state_stamp_ns) == (SESSION, newest_seq, NOW)
        subject.published()
        assert (board.worker["last_command_session"], board.worker["last_command_ns"]) == (SESSION, NOW)
        return 1

    def trips() -> int:
        strict = _manifest(bounds, position={"response": "damp"})
        subject, board = runner(np.full(3, 100, np.float32), strict)
        subject.take(frame(0), NOW)
        assert subject.answer() is None
        return int(board.worker["trip_session"] == SESSION)

    with mock.patch.object(code.runner, "time", clock):
        ages = bounds.state_ages
        return {
            "take": [take(last, age, s) for last in (*ages, NONE) for age in ages for s in (SESSION, OTHER)],
            "begin": [begin(age) for age in ages],
            "publish": [publish(active, beat) for active in (False, True) for beat in range(NONE)],
            "trips": [trips()],
        }
