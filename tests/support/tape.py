"""A worker and a guardian without processes, with a clock of the test's own, and what is recorded of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

from gaitd.backends import open_backend
from gaitd.bundle.read import MANIFEST, Bundle
from gaitd.errors import BackendError
from gaitd.guardian import announce, rules
from gaitd.guardian.rules import GuardLimits, GuardState, WorkerView
from gaitd.policy.admission import AdmissionLimits
from gaitd.shared import lease
from gaitd.shared.events import Event, EventKind
from gaitd.shared.guard_memory import GuardMemory, SessionSetup
from gaitd.shared.processes import STANDBY_SLOT
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.telemetry.recording import MachineSample, Recording, RecordingInfo, write_recording
from gaitd.wire.codec import encode_state
from gaitd.wire.generated import Mode, Reason
from gaitd.wire.messages import RobotState
from gaitd.worker.answer import Answerer
from gaitd.worker.model import TimedModel
from gaitd.worker.step import Frame, PolicyStep
from support.controller import standing_state
from support.fakes import Honest

PERIOD_NS = 12_000_000
LIMITS = GuardLimits(deadline_ns=5 * PERIOD_NS, first_command_ns=500_000_000)
SESSION = 2**60 + 5
BEGIN_NS = 1_000_000_000_000
OFFSET_NS = 1_700_000_000_000_000_000


class Ordered(Honest):
    """A backend that takes as long, and answers what, the test wants."""

    def __init__(self, real: Any, tape: Tape) -> None:
        super().__init__(real)
        self.tape = tape
        self.takes_ns = 400_000
        self.error = ""
        self.answer: Any = None

    def infer(self, observation: np.ndarray) -> np.ndarray:
        action = super().infer(observation)
        self.tape.now_ns += self.takes_ns
        if self.error:
            raise BackendError(self.error)
        return action if self.answer is None else self.answer(action)


class Tape:
    """One session after the other; use as a context manager."""

    def __init__(self, bundle: Bundle, *, order: tuple[int, ...] = (2, 0, 1), records: int = 6000) -> None:
        self.bundle, self.order = bundle, order
        self.joints = bundle.manifest.joints
        self.dim = bundle.pipeline().builder.dim
        self.default = np.array(bundle.manifest.default_joint_position_rad, np.float32)
        self.guard = GuardMemory.create(len(self.joints))
        sizes = (len(self.joints), self.dim, records)
        self.memory = WorkerMemory(WorkerMemory.create(*sizes).fd, writable=True)
        self.backend = Ordered(open_backend("onnx", bundle), self)
        self.model = TimedModel(self.backend, self.memory.words)
        self.answerer = Answerer(self.guard, self.memory, self.model, PERIOD_NS, lambda data: None)
        self.state = GuardState()
        self.now_ns = BEGIN_NS
        self.session = SESSION - 1
        self.epoch = 40
        self.seq = 0
        self.transport_ns = 300_000
        self.machine: list[MachineSample] = []

    def __enter__(self) -> Tape:
        clock = SimpleNamespace(monotonic_ns=self._time)
        self._patches = [mock.patch(f"gaitd.worker.{module}.time", clock) for module in ("answer", "model")]
        for patch in self._patches:
            patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        for patch in self._patches:
            patch.stop()

    def _time(self) -> int:
        self.now_ns += 10_000
        return self.now_ns

    # ---- guardian ----

    def activate(self) -> None:
        """A new session."""
        self.session, self.epoch, self.seq = self.session + 1, self.epoch + 1, 0
        self.setup = SessionSetup(self.session, self.epoch, 0, False, np.array(self.order, np.intp))
        self.guard.write_session(self.setup)
        self.become(rules.activate(self.session, self.epoch, self.now_ns))
        self.model.reset()
        limits = AdmissionLimits.for_period(PERIOD_NS)
        self.step_of = PolicyStep(self.bundle, self.setup, limits, self.model.infer, self.model.commit)
        self.memory.words["heartbeat_ns"] = self.now_ns

    def go_on_with(self, slot: int, blend_steps: int = 1) -> None:
        """The session goes to the worker in that slot; its steps come into the same memory.

        ``blend_steps``: so many a change of policies takes.
        """
        self.epoch += 1
        self.setup = replace(self.setup, epoch=self.epoch, slot=slot)
        self.guard.write_session(self.setup)
        self.become(replace(self.state, epoch=self.epoch, slot=slot))
        if slot != STANDBY_SLOT:
            title = {"name": f"policy {slot}", "version": "1", "id": "abc"}
            event = announce.switch_event(self.state, self.setup, title, blend_steps, self.now_ns)
            self.guard.events.write(event)
        self.step_of.setup = self.setup

    def become(self, state: GuardState) -> None:
        """The guardian's state, and what it says of it."""
        if (state.mode, state.session) != (self.state.mode, self.state.session):
            self.guard.events.write(announce.mode_event(state, self.joints, "dog", self.setup))
        self.state = state
        active = state.mode is Mode.ACTIVE
        self.guard.lease = (
            lease.grant(state.epoch, state.slot, self.now_ns + 10**12) if active else lease.NOBODY
        )

    def damp(self, reason: Reason, detail: str = "", **more: Any) -> None:
        self.become(rules.damp(self.state, reason, detail, self.now_ns, **more))

    def tick(self, **changes: Any) -> None:
        """One look of the guardian; ``changes``: of what it sees of the worker."""
        words = self.memory.words
        view = WorkerView(
            heartbeat_ns=words["heartbeat_ns"],
            busy_since_ns=words["busy_since_ns"],
            last_state_ns=words["last_state_ns"],
            last_command_ns=words["last_command_ns"],
            last_command_epoch=words["last_command_epoch"],
            refusal=self.memory.refusal.read(),
            trip=self.memory.trip.read(),
        )
        self.become(rules.tick(self.state, replace(view, **changes), LIMITS, self.now_ns))

    def log(self, text: str, level: int = logging.WARNING) -> None:
        self.guard.events.write(Event(at_ns=self.now_ns, kind=EventKind.LOG, code=level, text=text))

    # ---- controller and worker ----

    def next_state(self, **changes: Any) -> RobotState:
        self.seq += 1
        back = np.argsort(self.order)
        state = standing_state(self.default[back], seed=self.seq)
        stamped = replace(state, session=self.session, seq=self.seq, stamp_ns=self.now_ns)
        return replace(stamped, **changes)

    def step(self, *, data: bytes | None = None, answer: bool = True, **changes: Any) -> None:
        """One control period: state, answer, and the guardian's look; ``data`` in place of the state."""
        began_ns = self.now_ns
        message = encode_state(self.next_state(**changes)) if data is None else data
        self.now_ns += self.transport_ns
        self.memory.words["heartbeat_ns"] = self.now_ns
        frame = Frame(message, self.now_ns)
        if answer and self.state.mode is Mode.ACTIVE:
            self.answerer.answer(self.step_of, [frame])
        elif answer:
            self.memory.frames.add([frame], 0, 0)
        self.memory.words["heartbeat_ns"] = self.now_ns
        self.now_ns = max(self.now_ns, began_ns + PERIOD_NS)
        self.tick()

    def walk(self, steps: int, **changes: Any) -> None:
        for _ in range(steps):
            self.step(**changes)

    def wait(self, seconds: float, **view: Any) -> None:
        """Time goes by for the guardian alone; ``view``: what it sees of the worker."""
        until_ns = self.now_ns + round(seconds * 1e9)
        while self.now_ns < until_ns:
            self.now_ns += PERIOD_NS // 4
            self.tick(**view)

    # ---- recorder ----

    def recording(self, cause: str | None = None) -> Recording:
        reason = self.state.reason.name.lower()
        info = RecordingInfo(
            policy_id=self.bundle.policy_id,
            policy="small 1.0.0",
            bundle="small.gaitd",
            period_s=PERIOD_NS / 1e9,
            joints=self.joints,
            cause=cause or reason,
            clock_offset_ns=OFFSET_NS,
            deadline_s=LIMITS.deadline_ns / 1e9,
            observation_dim=self.dim,
            backend="onnx",
        )
        events = [*self.guard.events.read_since(0)[0], *self.memory.events.read_since(0)[0]]
        return Recording(
            info=info,
            records=self.memory.steps.read_since(0, unsettled=True)[0],
            frames=self.memory.frames.read_since(0)[0],
            events=sorted(events, key=lambda event: event.at_ns),
            machine=self.machine,
            manifest=self.bundle.files[MANIFEST],
        )

    def save(self, path: Path, cause: str | None = None) -> Path:
        with path.open("wb") as stream:
            write_recording(stream, self.recording(cause))
        return path


@contextmanager
def walking(bundle: Bundle, steps: int = 200) -> Iterator[Tape]:
    """A robot that has walked for so many steps."""
    with Tape(bundle) as tape:
        tape.activate()
        tape.walk(steps)
        assert tape.state.mode is Mode.ACTIVE
        yield tape
