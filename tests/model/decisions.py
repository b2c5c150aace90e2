"""What the real Python decides, for every input that the model can give it.

The guardian, the sessions and the step are pure; of guardian and worker, the order in which they write, read
and send is taken down while the real ones do it on real memory. They are asked about every combination of
ages that the model distinguishes, in units of one control step, and the answers become the tables that
explore.cpp works with. Nothing of their logic is written down twice.
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

from gaitd.guardian.rules import GuardLimits, GuardState, WorkerView
from gaitd.policy.admission import AdmissionLimits
from gaitd.policy.manifest import Manifest
from gaitd.policy.pipeline import PolicyPipeline
from gaitd.shared.findings import Finding
from gaitd.shared.guard_memory import GuardMemory, SessionSetup
from gaitd.shared.processes import POLICY_SLOTS, STANDBY_SLOT, WORKER_SLOT
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.wire.causes import Cause
from gaitd.wire.codec import decode_command, encode_state
from gaitd.wire.control import Request
from gaitd.wire.generated import WORKER_REPLACING_REASONS, CauseKind, Mode, Reason
from gaitd.worker.step import Frame
from support.bundles import contract, small_manifest
from support.controller import ALL_FIELDS
from support.states import random_state
from support.watched import LoopedWorker, Op, WatchedBackend, watched_guard, watched_memory

NOW = 10**12
SESSION, OTHER = 7, 9
EPOCH, OTHER_EPOCH = 107, 109
NONE = 15
"""An age that stands for: never."""
STRICT: dict[CauseKind, dict[str, Any]] = {
    CauseKind.POSITION_LIMIT: {"position": {"min_rad": -2.0, "max_rad": 2.0, "response": "damp"}},
    CauseKind.SLEW_LIMIT: {"slew": {"max_rad_per_step": 1.0, "response": "damp"}},
    CauseKind.TORQUE_LIMIT: {"torque": {"max_nm": 9.0, "response": "damp"}},
    CauseKind.VELOCITY_LIMIT: {"velocity": {"max_rad_per_s": 9.0, "response": "damp"}},
    CauseKind.ACCELERATION_LIMIT: {"acceleration": {"max_rad_per_s2": 9.0, "response": "damp"}},
    CauseKind.TORQUE_RATE_LIMIT: {"torque_rate": {"max_nm_per_s": 9.0, "response": "damp"}},
}
"""Each limit that can damp, as the manifest has it: an action of 100 exceeds it."""
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
    failover: ModuleType
    switching: ModuleType
    sessions: ModuleType
    main: ModuleType
    lease: ModuleType
    step: ModuleType
    answer: ModuleType
    loop: ModuleType


def tables(
    code: Code, bounds: Bounds, *, standby: bool = False, switch: bool = False
) -> dict[str, list[int]]:
    """Every table by name; explore.cpp names the indices. Those of the last two take a while."""
    with (
        mock.patch.object(time, "monotonic_ns", return_value=NOW),
        mock.patch.object(code.main, "lease", code.lease),
        mock.patch.object(code.failover, "rules", code.rules),
        mock.patch.object(code.switching, "rules", code.rules),
        mock.patch.object(code.sessions, "failover", code.failover),
        mock.patch.object(code.sessions, "switching", code.switching),
        mock.patch.object(code.answer, "lease", code.lease),
        mock.patch.object(code.loop, "lease", code.lease),
    ):
        return {
            **_tables(code, bounds),
            **(_failover(code, bounds) if standby else {}),
            **(_switch(code, bounds) if switch else {}),
        }


def _tables(code: Code, bounds: Bounds) -> dict[str, list[int]]:
    return {
        "bounds": [bounds.deadline, bounds.max_age, bounds.first_command, bounds.unit_ns],
        "tick": [cell for outcome in _ticks(code.rules, bounds) for cell in outcome],
        "died": [int(code.rules.worker_died(_guard(mode), "", NOW).mode) for mode in Mode],
        **_sessions(code, bounds),
        **_guardian(code, bounds),
        **_step(code, bounds),
        **_answer(code, bounds),
        **_follow(code, bounds),
    }


def as_text(all_tables: Mapping[str, list[int]]) -> str:
    return "".join(
        f"{name} {len(t)} {' '.join(str(int(cell)) for cell in t)}\n" for name, t in all_tables.items()
    )


def _guard(mode: Mode, fed_ns: int = NOW, *, by_command: bool = False) -> GuardState:
    session = 0 if mode is Mode.IDLE else SESSION
    return GuardState(
        mode, session=session, epoch=EPOCH, since_ns=NOW, fed_ns=fed_ns, fed_by_command=by_command
    )


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
                assert (after.session, after.epoch) == (before.session, before.epoch)
                damped.add(int(after.reason in WORKER_REPLACING_REASONS))
        assert len(active) <= 2
        first, second = ([*sorted(active), -1, -1])[:2]
        yield [first, second, int(0 in damped), int(1 in damped)]


def _views(bounds: Bounds, command: int, *, tripped: bool) -> Iterator[WorkerView]:
    """Everything that the worker may have written beside the age of its last command."""
    old = NOW - 100 * bounds.unit_ns
    commands = (
        [(NOW - command * bounds.unit_ns, EPOCH)]
        if command != NONE
        else [(0, 0), (NOW - bounds.unit_ns, OTHER_EPOCH)]
    )
    times = (old, NOW)
    kinds = (CauseKind.MALFORMED, CauseKind.BACKEND_ERROR)
    trips: list[tuple[int, CauseKind | None]] = [(OTHER_EPOCH, CauseKind.POSITION_LIMIT), (0, None)]
    if tripped:
        trips = [(EPOCH, limit) for limit in STRICT]
    for (at, of), beat, busy, state, refusal, kind, (trip, limit) in itertools.product(
        commands, times, (0, NOW), times, times, kinds, trips
    ):
        yield WorkerView(
            heartbeat_ns=beat,
            busy_since_ns=busy,
            last_state_ns=state,
            last_command_ns=at,
            last_command_epoch=of,
            refusal=Finding(refusal, EPOCH, Cause(kind)),
            trip=None if limit is None else Finding(NOW, trip, Cause(limit)),
        )


def _failover(code: Code, bounds: Bounds) -> dict[str, list[int]]:
    """Whether the standby goes on with the session, and what its timer is then.

    movable [moved before][tripped][by command][age of feeding][age of the last command or NONE][clock read
    one step ago][the standby's answer is to a fresh state, to an old one, of another session]: 1 it may.
    silent [by command][age of feeding][age of the last command or NONE][clock]: 1 one that lives may lose
    the lease. moved [the same]: 16 * by command + age of feeding.
    """
    unit, ages = bounds.unit_ns, bounds.guard_ages
    limits = GuardLimits(bounds.deadline * unit, bounds.first_command * unit + 1)
    commands = (*ages, NONE)

    def state(by_command: bool, fed: int) -> GuardState:
        return _guard(Mode.ACTIVE, NOW - fed * unit - (not by_command), by_command=by_command)

    def standby(prepared_ns: int, epoch: int) -> WorkerView:
        view = next(_views(bounds, NONE, tripped=False))
        return replace(view, prepared_ns=prepared_ns, prepared_epoch=epoch)

    def movable(moved: bool, tripped: bool, by: bool, fed: int, command: int, lag: int, kind: int) -> int:
        # Once only, wherever the session is by then.
        places = [(STANDBY_SLOT, NOW), (WORKER_SLOT, NOW)] if moved else [(WORKER_SLOT, 0)]
        now_ns = NOW - lag * unit
        prepared_ns = now_ns - 2 * bounds.deadline * unit if kind == 1 else now_ns
        second = standby(prepared_ns, OTHER_EPOCH if kind == 2 else EPOCH)
        views = _views(bounds, command, tripped=tripped)
        return int(
            any(
                code.failover.is_possible(
                    replace(state(by, fed), slot=slot, moved_ns=moved_ns), view, second, limits, now_ns
                )
                for view in views
                for slot, moved_ns in places
            )
        )

    def silent(by: bool, fed: int, command: int, lag: int) -> int:
        """For how long a state has waited, and how many inferences failed, the model does not know: any."""
        now_ns, before = NOW - lag * unit, state(by, fed)
        waiting = [replace(standby(now_ns, EPOCH), unanswered_ns=at) for at in (1, now_ns)]
        return int(
            any(
                code.failover.wanted(before, replace(view, errors_in_a_row=errors), second, limits, now_ns)
                for view in _views(bounds, command, tripped=False)
                for errors in (0, code.failover.ERRORS)
                for second in waiting
            )
        )

    def moved(by: bool, fed: int, command: int, lag: int) -> int:
        found = set()
        sessions = code.sessions.Sessions(_bundle(_manifest(bounds)), limits, SESSION, dict, 0)
        for view in _views(bounds, command, tripped=False):
            before = sessions.state = state(by, fed)
            sessions.fail_over(view, "", NOW - lag * unit)
            after, setup = sessions.state, sessions.joint_order.setup
            assert (after.mode, after.session, after.slot) == (Mode.ACTIVE, before.session, STANDBY_SLOT)
            assert (setup.epoch, setup.slot) == (after.epoch, after.slot)
            found.add(16 * after.fed_by_command + _age(after.fed_ns, bounds))
        assert len(found) == 1
        return found.pop()

    yes_no = (False, True)
    inputs = list(itertools.product(yes_no, ages, commands, (0, 1)))
    silences = [silent(*each) for each in inputs]
    assert any(silences), "no worker that lives ever loses the lease: nothing would be shown"
    return {
        "movable": [
            movable(m, t, *each, kind) for m in yes_no for t in yes_no for each in inputs for kind in range(3)
        ],
        "silent": silences,
        "moved": [moved(*each) for each in inputs],
    }


class _Switchable:
    """Real sessions with two policies, and a controller in one that walks."""

    def __init__(self, code: Code, bounds: Bounds, *, agreed: bool = False) -> None:
        manifest, unit = _manifest(bounds), bounds.unit_ns
        self.limits = limits = GuardLimits(bounds.deadline * unit, bounds.first_command * unit + 1)
        bundles = [_bundle(manifest, policy_id=digit * 16) for digit in "ab"]
        self.views: dict[int, WorkerView | None] = {}
        self._bounds = bounds
        self._real = code.sessions.Sessions(
            bundles[0], limits, SESSION, dict, 0, beside=bundles[1:], view=lambda slot: self.views[slot]
        )
        self._real.worker_ready = True
        hello = {"controller": "model", "joints": manifest.joints, "fields": ALL_FIELDS}
        for peer, consent in ((b"me", {"switchable": True} if agreed else {}), (b"another", {})):
            assert self._ask(peer, "hello", **hello, **consent).ok
        assert self._ask(b"me", "activate").ok
        self._order = self._real.joint_order

    def _ask(self, peer: bytes, name: str, now_ns: int = NOW, **body: Any) -> Any:
        return self._real.answer(peer, Request(1, name, body), now_ns)

    def undo(self, changed: GuardState) -> GuardState:
        """The session as it goes on when that change is undone."""
        real = self._real
        real.state, real.joint_order, epoch = changed, self._order, real._epoch
        real.undo_switch()
        after, setup = real.state, real.joint_order.setup
        assert isinstance(after, GuardState)
        assert (setup.epoch, setup.slot) == (after.epoch, after.slot) == (epoch + 1, WORKER_SLOT)
        return after

    def returns(self, *, moved: bool) -> int:
        """Who gets the session when it comes back to the first policy; each worker is ready, and answers."""
        real, slots = self._real, (WORKER_SLOT, STANDBY_SLOT, POLICY_SLOTS[1])
        idle = next(_views(self._bounds, NONE, tripped=False))
        answers = replace(idle, last_command_ns=NOW, last_command_epoch=EPOCH)
        self.views = dict.fromkeys(slots, replace(answers, prepared_ns=NOW, prepared_epoch=EPOCH))
        before = _guard(Mode.ACTIVE, NOW, by_command=True)
        real.state = replace(before, slot=POLICY_SLOTS[1], moved_ns=NOW if moved else 0)
        real.joint_order = self._order
        assert self._ask(b"me", "switch", policy="a").ok
        assert real.state.slot == real.joint_order.setup.slot
        return int(real.state.slot)

    def switch(self, before: GuardState, view: WorkerView, lag: int, peer: bytes = b"me") -> int | None:
        """16 * by command + age of feeding, when the session goes on with the other policy."""
        real, self.views[WORKER_SLOT] = self._real, view
        real.state, real.joint_order = before, self._order
        reply = self._ask(peer, "switch", NOW - lag * self._bounds.unit_ns, policy="b")
        after, setup = real.state, real.joint_order.setup
        if not reply.ok:
            assert (after, setup) == (before, self._order.setup), "a change that is refused changes nothing"
            return None
        assert (after.mode, after.session, after.slot) == (Mode.ACTIVE, before.session, POLICY_SLOTS[1])
        assert (after.moved_ns, after.epoch) == (before.moved_ns, reply.body["epoch"])
        assert (setup.epoch, setup.slot) == (after.epoch, after.slot)
        assert reply.body["policy"] == 1
        return 16 * after.fed_by_command + _age(after.fed_ns, self._bounds)


def _switch(code: Code, bounds: Bounds) -> dict[str, list[int]]:
    """Whether a session goes on with another policy, and what its timer is then.

    switchable [tripped][by command][age of feeding][age of the last command or NONE][clock read one step
    ago][the other worker's answer is to a fresh state, to an old one, of another session]: 1 it may.
    switched [by command][age of feeding][age of the last command or NONE][clock]: 16 * by command + age of
    feeding. undoable [tripped][by command][age of feeding][clock]: 1 a change may be undone; undone [as
    switched]: the same of it. selects [the session's owner asks][its hello agreed to others][both workers
    ready, the next one not, the holder not]: 1 granted. returns [the lease has failed over]: 1 the way back
    to the first policy leads to the standby, not to the first slot.
    """
    unit, ages = bounds.unit_ns, bounds.guard_ages
    sessions = _Switchable(code, bounds)
    idle = next(_views(bounds, NONE, tripped=False))

    def outcomes(tripped: bool, by: bool, fed: int, command: int, lag: int, kind: int = 0) -> set[int | None]:
        now_ns = NOW - lag * unit
        before = _guard(Mode.ACTIVE, NOW - fed * unit - (not by), by_command=by)
        prepared_ns = now_ns - 2 * bounds.deadline * unit if kind == 1 else now_ns
        epoch = OTHER_EPOCH if kind == 2 else EPOCH
        sessions.views[POLICY_SLOTS[1]] = replace(idle, prepared_ns=prepared_ns, prepared_epoch=epoch)
        return {sessions.switch(before, view, lag) for view in _views(bounds, command, tripped=tripped)}

    def switchable(*case: Any) -> int:
        return int(outcomes(*case) != {None})

    def switched(*case: Any) -> int:
        found = outcomes(False, *case) - {None}
        assert len(found) <= 1
        return next(iter(found), 0) or 0

    def selects(ours: bool, agreed: bool, missing: int) -> int:
        asked = _Switchable(code, bounds, agreed=agreed)
        walking = replace(idle, last_command_epoch=EPOCH, last_command_ns=NOW)
        other = replace(idle, prepared_ns=NOW, prepared_epoch=EPOCH)
        asked.views[POLICY_SLOTS[1]] = None if missing == 1 else other
        before = _guard(Mode.ACTIVE, NOW, by_command=True)
        holder: Any = None if missing == 2 else walking
        return int(asked.switch(before, holder, 0, b"me" if ours else b"another") is not None)

    def changed(by: bool, fed: int) -> GuardState:
        before = _guard(Mode.ACTIVE, NOW - fed * unit - (not by), by_command=by)
        return replace(before, slot=POLICY_SLOTS[1], changed_from=WORKER_SLOT)

    def undoable(tripped: bool, by: bool, fed: int, lag: int) -> int:
        views, now_ns = _views(bounds, NONE, tripped=tripped), NOW - lag * unit
        limits = sessions.limits
        return int(any(code.switching.is_undoable(changed(by, fed), view, limits, now_ns) for view in views))

    def undone(by: bool, fed: int, command: int, lag: int) -> int:
        before = changed(by, fed)
        after = sessions.undo(before)
        assert (after.mode, after.session, after.slot) == (Mode.ACTIVE, before.session, WORKER_SLOT)
        assert after.changed_from is None
        return 16 * after.fed_by_command + _age(after.fed_ns, bounds)

    yes_no = (False, True)
    inputs = list(itertools.product(yes_no, ages, (*ages, NONE), (0, 1)))
    return {
        "undoable": [
            undoable(t, by, fed, lag) for t in yes_no for by in yes_no for fed in ages for lag in (0, 1)
        ],
        "undone": [undone(*each) for each in inputs],
        "switchable": [switchable(t, *each, kind) for t in yes_no for each in inputs for kind in range(3)],
        "switched": [switched(*each) for each in inputs],
        "returns": [int(sessions.returns(moved=moved) == STANDBY_SLOT) for moved in yes_no],
        "selects": [selects(o, a, m) for o in yes_no for a in yes_no for m in range(3)],
    }


def _manifest(bounds: Bounds, **limits: Any) -> Manifest:
    plain = small_manifest(control_period_s=bounds.unit_ns / 1e9)
    for name, change in limits.items():
        plain["limits"][name] = {**plain["limits"][name], **change}
    return contract(plain)


def _strict_manifest(bounds: Bounds, **limits: Any) -> Manifest:
    """A policy whose joints follow a position, a velocity and a torque, each within a wide range."""
    wheel = {"joints": ["thigh"], "target": "velocity", "scale": 5.0, "damping_nms_per_rad": 1.0}
    leg = {
        "joints": ["hip"],
        "target": "position",
        "scale": 0.25,
        "stiffness_nm_per_rad": 30.0,
        "damping_nms_per_rad": 1.0,
    }
    wide = {
        "position": {"min_rad": -1e6, "max_rad": 1e6},
        "velocity": {"max_rad_per_s": 1e6},
        "torque": {"max_nm": 1e6},
    }
    return contract(
        small_manifest(
            format=2,
            control_period_s=bounds.unit_ns / 1e9,
            action=[leg, wheel, {"joints": ["knee"], "target": "torque", "scale": 1.0}],
            limits={**wide, **limits},
        )
    )


def _bundle(manifest: Manifest, policy_id: str = "0" * 16) -> Any:
    return SimpleNamespace(
        manifest=manifest, policy_id=policy_id, pipeline=lambda: PolicyPipeline(manifest, None)
    )


def _sessions(code: Code, bounds: Bounds) -> dict[str, list[int]]:
    """What becomes of requests, asked like the control channel asks.

    activate [mode][ours][worker ready]: 1 granted. damp [mode][session 0, the running one, another] and
    release [mode][running one, another][ours]: the mode afterwards.
    """
    manifest = _manifest(bounds)
    me, another_peer = b"me", b"another"

    def at(mode: Mode, owner: bytes) -> Any:
        limits = GuardLimits(bounds.deadline * bounds.unit_ns, bounds.first_command * bounds.unit_ns)
        sessions = code.sessions.Sessions(_bundle(manifest), limits, SESSION, dict, 0)
        hello = {"controller": "model", "joints": manifest.joints, "fields": ALL_FIELDS}
        for peer in (me, another_peer):
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
        assert state.epoch == reply.body["epoch"] > before.epoch
        setup = sessions.joint_order.setup
        assert (setup.session, setup.epoch, setup.slot) == (state.session, state.epoch, reply.body["slot"])
        assert state.mode is Mode.ACTIVE
        return 1

    def damp(mode: Mode, which: int) -> int:
        sessions = at(mode, me)
        running = sessions.state.session
        body = {"session": (0, running, 12345)[which], "reason": int(Reason.CLIENT_DEADLINE)}
        ask(sessions, another_peer, "damp", **body)
        assert sessions.state.session == running
        return int(sessions.state.mode)

    def release(mode: Mode, which: int, owner: bytes) -> int:
        sessions = at(mode, owner)
        ask(sessions, me, "release", session=(sessions.state.session or SESSION, 12345)[which])
        return int(sessions.state.mode)

    granted = _fed_at_activate(code.rules, bounds)
    return {
        "fed_at_activate": [granted],
        "activate": [activate(m, o, r) for m in Mode for o in (another_peer, me) for r in (False, True)],
        "damp": [damp(m, which) for m in Mode for which in range(3)],
        "release": [release(m, w, o) for m in Mode for w in range(2) for o in (another_peer, me)],
    }


def _fed_at_activate(guardian: ModuleType, bounds: Bounds) -> int:
    state = guardian.activate(SESSION, EPOCH, NOW)
    assert state.mode is Mode.ACTIVE
    assert not state.fed_by_command
    return _age(state.fed_ns, bounds)


def _setup(session: int, epoch: int, slot: int = WORKER_SLOT) -> SessionSetup:
    return SessionSetup(session, epoch, slot, raw=False, policy_from_controller=np.arange(3))


class _Writes:
    """Takes down which of its two writes to shared memory the guardian does first."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self._memory = GuardMemory.create(3)

    def write_session(self, setup: SessionSetup) -> None:
        self.order.append("session")
        self._memory.write_session(setup)

    @property
    def lease(self) -> int:
        return self._memory.lease

    @lease.setter
    def lease(self, word: int) -> None:
        self.order.append("lease")
        self._memory.lease = word


def _guardian_in(code: Code, bounds: Bounds, state: GuardState, now_ns: int) -> tuple[Any, _Writes]:
    """A real guardian without sockets and children that has just come to that state."""
    guardian: Any = code.main.Guardian.__new__(code.main.Guardian)
    writes = _Writes()
    idle = GuardState()
    view = replace(next(_views(bounds, NONE, tripped=False)), last_command_epoch=0)
    guardian._sessions = SimpleNamespace(
        state=idle, joint_order=SimpleNamespace(setup=_setup(state.session or SESSION, state.epoch))
    )
    guardian._applied = idle
    guardian._guard = writes
    guardian._words = defaultdict(int)
    guardian._limits = GuardLimits(bounds.deadline * bounds.unit_ns, bounds.first_command * bounds.unit_ns)
    guardian._period_ns = bounds.unit_ns
    guardian._standing, guardian._next_publish_ns, guardian._look_around_ns = False, 0, 0
    guardian._channel = SimpleNamespace(
        publish=lambda *_, **__: None,
        serve=lambda answer: (0, 0),
        look_at_peers=lambda: None,
        disconnected=0,
        probe=SimpleNamespace(silence_ns=lambda _: 0),
    )
    guardian._silence_ns, guardian._lanes, guardian._streams = 0, None, None
    guardian._worker = SimpleNamespace(view=lambda: view)
    guardian._succession = SimpleNamespace(holder=guardian._worker, look=lambda _: False)
    guardian._children = SimpleNamespace(restart_if_dead=lambda *_: None)
    guardian._telemetry = None
    guardian._encoders = SimpleNamespace(look=lambda *_: None)
    for name in (
        "_announce",
        "_look_after_workers",
        "_look_after_rate",
        "_watch_degradation",
        "_feed_watchdog",
    ):
        setattr(guardian, name, lambda *_: None)
    guardian._sessions.state = state
    guardian._apply(now_ns)
    return guardian, writes


def _granted(code: Code, bounds: Bounds, epoch: int, age: int) -> int:
    """The lease as the real guardian renewed it so long ago."""
    now_ns = NOW - age * bounds.unit_ns
    state = replace(code.rules.activate(SESSION, epoch, now_ns), session=SESSION)
    guardian, writes = _guardian_in(code, bounds, state, now_ns)
    guardian._wake(now_ns)
    return writes.lease


def _guardian(code: Code, bounds: Bounds) -> dict[str, list[int]]:
    """The real guardian's writes.

    grants: at an activate it writes 0 the session first, 1 the lease first. turned [mode] and renewed [mode]:
    1 the lease is somebody's after it came to that mode, and after it woke up in it.
    """
    active = code.rules.activate(SESSION, EPOCH, NOW)
    _, writes = _guardian_in(code, bounds, active, NOW)
    first = {name: writes.order.index(name) for name in ("session", "lease")}
    turned, renewed = [], []
    for mode in Mode:
        guardian, writes = _guardian_in(code, bounds, active, NOW)
        guardian._sessions.state = replace(_guard(mode), detail="of another mode")
        guardian._apply(NOW)
        turned.append(int(writes.lease != code.lease.NOBODY))
        guardian._wake(NOW)
        renewed.append(int(writes.lease != code.lease.NOBODY))
    return {"grants": [int(first["lease"] < first["session"])], "turned": turned, "renewed": renewed}


def _step_of(code: Code, bounds: Bounds, backend: WatchedBackend, manifest: Manifest | None = None) -> Any:
    return code.step.PolicyStep(
        _bundle(manifest or _manifest(bounds)),
        _setup(SESSION, EPOCH),
        AdmissionLimits(max_age_ns=bounds.max_age * bounds.unit_ns),
        backend.infer,
        backend.commit,
    )


def _frame(bounds: Bounds, age: int, session: int = SESSION) -> Frame:
    at_rest = np.array([0.0, -0.65, 1.3], np.float32)
    state = random_state(np.random.default_rng(age), 3, joint_position=at_rest)
    seq, stamp_ns = bounds.state_ages[-1] + 1 - age, NOW - age * bounds.unit_ns
    return Frame(encode_state(replace(state, session=session, seq=seq, stamp_ns=stamp_ns)), NOW)


def _step(code: Code, bounds: Bounds) -> dict[str, list[int]]:
    """The real step, which is pure.

    take [age of the last state or NONE][age][of its session]: 1 admitted. begin [age]: 1 it is answered.
    """
    rest = WatchedBackend(np.zeros(3, np.float32), lambda op: None)

    def take(last: int, age: int, session: int) -> int:
        step = _step_of(code, bounds, rest)
        if last != NONE:
            assert step.step([_frame(bounds, last)], NOW).frame is not None
        return int(step.step([_frame(bounds, age, session)], NOW).frame is not None)

    def begin(age: int) -> int:
        inferred: list[Op] = []
        backend = WatchedBackend(np.zeros(3, np.float32), inferred.append)
        command = _step_of(code, bounds, backend).step([_frame(bounds, age)], NOW).command
        assert inferred == ([] if command is None else [Op.INFER])
        if command is not None:
            assert (command.session, command.epoch, command.slot) == (SESSION, EPOCH, WORKER_SLOT)
            assert command.state_stamp_ns == NOW - age * bounds.unit_ns
        return int(command is not None)

    ages = bounds.state_ages
    return {
        "take": [take(last, age, s) for last in (*ages, NONE) for age in ages for s in (SESSION, OTHER)],
        "begin": [begin(age) for age in ages],
    }


def _answer(code: Code, bounds: Bounds) -> dict[str, list[int]]:
    """What the real worker does with its step's command, on real memory.

    sends, withholds: its operations in order, with a good lease and with none. publish [nobody's lease, its
    own, another's][age of the lease]: 1 the command leaves. trips: 1 damping is asked for by each limit that
    damps, of whatever a joint follows.
    """

    def answer(word: int) -> list[int]:
        ops: list[int] = []
        sent: list[bytes] = []
        owner = GuardMemory.create(3)
        owner.lease = word
        memory = watched_memory(WorkerMemory.create(3).fd, ops.append)
        backend = WatchedBackend(np.zeros(3, np.float32), ops.append)

        def send(data: bytes) -> None:
            ops.append(Op.SEND)
            sent.append(data)

        model = code.answer.TimedModel(backend, memory.words)
        answerer = code.answer.Answerer(watched_guard(owner, ops.append), memory, model, bounds.unit_ns, send)
        answerer.answer(_step_of(code, bounds, backend), [_frame(bounds, 0)])
        for data in sent:
            command = decode_command(data, 3)
            assert (command.session, command.epoch, command.state_stamp_ns) == (SESSION, EPOCH, NOW)
            assert (memory.words["last_command_epoch"], memory.words["last_command_ns"]) == (EPOCH, NOW)
        assert ops[0] == Op.INFER
        return ops[1:]

    def trips(limit: CauseKind) -> bool:
        memory = watched_memory(WorkerMemory.create(3).fd, lambda op: None)
        backend = WatchedBackend(np.full(3, 100, np.float32), lambda op: None)
        strict = _strict_manifest(bounds, **STRICT[limit])
        model = code.answer.TimedModel(backend, memory.words)
        sent: list[bytes] = []
        answerer = code.answer.Answerer(GuardMemory.create(3), memory, model, bounds.unit_ns, sent.append)
        answerer.answer(_step_of(code, bounds, backend, strict), [_frame(bounds, 0)])
        trip = memory.trip.read()
        return trip is not None and (trip.epoch, trip.cause.kind) == (EPOCH, limit) and not sent

    nobody, own = code.lease.NOBODY, _granted(code, bounds, EPOCH, 0)

    def sends_under_another(age: int) -> bool:
        """Of another epoch, or of the same one for the other slot: neither is its own."""
        other_slot = code.lease.grant(EPOCH, WORKER_SLOT + 1, NOW + (bounds.deadline - age) * bounds.unit_ns)
        return any(Op.SEND in answer(word) for word in (_granted(code, bounds, OTHER_EPOCH, age), other_slot))

    publish = [
        *(Op.SEND in answer(nobody) for _ in range(NONE)),
        *(Op.SEND in answer(_granted(code, bounds, EPOCH, age)) for age in range(NONE)),
        *(sends_under_another(age) for age in range(NONE)),
    ]
    return {
        "sends": answer(own),
        "withholds": answer(nobody),
        "publish": [int(leaves) for leaves in publish],
        "trips": [int(all(map(trips, STRICT)))],
    }


def _follow(code: Code, bounds: Bounds) -> dict[str, list[int]]:
    """The real loop's look at the lease.

    follow [no session, the lease's, another][nobody's lease, of the session written, of another]: what the
    worker has afterwards: 0 no session, 1 the lease's, 2 the one that it had.
    """

    rest = WatchedBackend(np.zeros(3, np.float32), lambda op: None)

    def follow(has: int, kind: int) -> int:
        guard = GuardMemory.create(3)
        memory_fd, bundle = WorkerMemory.create(3).fd, _bundle(_manifest(bounds))
        worker = LoopedWorker(code.loop, bundle, rest, WORKER_SLOT, guard, memory_fd, lambda op: None)
        if has:
            had = (SESSION, EPOCH) if has == 1 else (OTHER, OTHER_EPOCH)
            guard.write_session(_setup(*had))
            guard.lease = code.lease.grant(had[1], WORKER_SLOT, NOW + bounds.unit_ns)
            worker.turn()
            assert worker.session == had[0]
        written = (SESSION, EPOCH) if kind != 2 else (SESSION + 1, EPOCH + 1)
        guard.write_session(_setup(*written))
        guard.lease = (
            code.lease.grant(EPOCH, WORKER_SLOT, NOW + bounds.unit_ns) if kind else code.lease.NOBODY
        )
        worker.turn()
        return {0: 0, SESSION: 1, OTHER: 2}[worker.session]

    return {"follow": [follow(has, kind) for has in range(3) for kind in range(3)]}
