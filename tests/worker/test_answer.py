"""One session in the worker, frame by frame: what becomes of every state, and of memory."""

from __future__ import annotations

import gc
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitd.backends import open_backend
from gaitd.bundle.read import Bundle
from gaitd.policy.admission import AdmissionLimits
from gaitd.shared import lease
from gaitd.shared.guard_memory import GuardMemory, SessionSetup
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.wire.codec import decode_command, encode_state
from gaitd.wire.generated import CauseKind, Mode, Reason
from gaitd.wire.messages import JointCommand, RawObservation, RobotState
from gaitd.worker.answer import Answerer
from gaitd.worker.model import TimedModel
from gaitd.worker.step import Frame, PolicyStep
from support.controller import standing_state
from support.fakes import FAKES, Honest
from support.proto import encode_raw_observation

PERIOD_NS = 12_000_000
DEFAULT = np.array([0.0, -0.65, 1.3], np.float32)
SESSION = 5


class Switched(Honest):
    """Honest or one of the fakes, as told; watches what it is told to commit."""

    fault = "honest"
    accepted = 0
    resets = 0

    def infer(self, observation: np.ndarray) -> np.ndarray:
        return FAKES[self.fault](self.real).infer(observation)

    def commit(self) -> None:
        self.accepted += 1
        super().commit()

    def reset(self) -> None:
        self.resets += 1
        super().reset()


class Bench:
    """A worker's step and answers without sockets, under a guardian that grants the lease."""

    def __init__(self, bundle: Bundle, *, order: tuple[int, ...] = (0, 1, 2), raw: bool = False) -> None:
        self.bundle, self.order, self.raw = bundle, order, raw
        self.guard = GuardMemory.create(3)
        self.memory = WorkerMemory(WorkerMemory.create(3).fd, writable=True)
        self.words = self.memory.words
        self.backend = Switched(open_backend("onnx", bundle))
        self.model = TimedModel(self.backend, self.words)
        self.sent: list[bytes] = []
        self.answerer = Answerer(self.guard, self.memory, self.model, PERIOD_NS, self.sent.append)
        self.begin_ns = time.monotonic_ns() - 100 * 10**9
        self.seq = 0
        self.waiting: list[Frame] = []
        self.start(SESSION)

    def start(self, session: int, max_age_ns: int = 10**12) -> None:
        """A session; its stamps are made up here, so they may be old."""
        self.setup = SessionSetup(session, session + 100, 0, self.raw, np.array(self.order, np.intp))
        self.model.reset()
        limits = AdmissionLimits(max_age_ns)
        self.step_of = PolicyStep(self.bundle, self.setup, limits, self.model.infer, self.model.commit)
        self.grant(session + 100)

    def grant(self, epoch: int, slot: int = 0, for_ns: int = 3600 * 10**9) -> None:
        """The guardian grants the lease, by default for longer than any test."""
        self.guard.lease = lease.grant(epoch, slot, time.monotonic_ns() + for_ns)

    def state(self, **changes: object) -> RobotState:
        self.seq += 1
        stamps = {"session": SESSION, "seq": self.seq, "stamp_ns": self.begin_ns + self.seq * PERIOD_NS}
        return replace(standing_state(DEFAULT, self.seq), **{**stamps, **changes})  # type: ignore[arg-type]

    def take(self, data: bytes) -> None:
        self.waiting.append(Frame(data, self.begin_ns + self.seq * PERIOD_NS + 1_000_000))
        self.words["received"] += 1

    def answer(self) -> JointCommand | None:
        frames, self.waiting, before = self.waiting, [], len(self.sent)
        answered = self.answerer.answer(self.step_of, frames)
        assert (answered is not None) == (len(self.sent) > before)
        return decode_command(self.sent[-1], 3) if len(self.sent) > before else None

    def step(self, **changes: object) -> JointCommand | None:
        self.take(encode_state(self.state(**changes)))
        return self.answer()

    def refused(self, kind: CauseKind) -> int:
        return self.words.row("refused")[kind]

    def accounted(self) -> int:
        ends = sum(self.words[name] for name in ("standby", "superseded", "withheld", "steps"))
        return ends + sum(self.words.row("refused"))


@pytest.fixture
def bench(small_bundle: Bundle) -> Bench:
    return Bench(small_bundle)


def test_an_answer_carries_the_state_that_it_answers(bench: Bench, small_bundle: Bundle) -> None:
    state = bench.state()
    bench.take(encode_state(state))
    command = bench.answer()
    assert command is not None
    assert (command.mode, command.reason) == (Mode.ACTIVE, Reason.NONE)
    assert (command.session, command.seq, command.state_stamp_ns) == (SESSION, state.seq, state.stamp_ns)
    assert command.policy == 0
    np.testing.assert_array_equal(command.torque, np.zeros(3))
    assert bench.words["last_command_epoch"] == SESSION + 100
    assert bench.words["last_command_ns"] >= command.publish_stamp_ns


def test_without_a_state_there_is_no_answer(bench: Bench) -> None:
    assert bench.answer() is None


def test_the_answer_is_the_policys(bench: Bench, small_bundle: Bundle) -> None:
    """Pipeline and model by hand, fed with the same states."""
    pipeline, backend = small_bundle.pipeline(), open_backend("onnx", small_bundle)
    for _ in range(20):
        state = bench.state()
        bench.take(encode_state(state))
        command = bench.answer()
        pipeline.observe(state)
        expected = pipeline.decide(backend.infer(pipeline.observation()))
        pipeline.commit(expected)
        assert command is not None
        np.testing.assert_array_equal(command.joint_position, expected.target)
        np.testing.assert_array_equal(command.action, expected.action)


def test_the_controllers_order_goes_in_and_comes_out(small_bundle: Bundle) -> None:
    """knee, hip, thigh: targets and gains come back in that order, the raw action in the policy's."""
    straight, turned = Bench(small_bundle), Bench(small_bundle, order=(1, 2, 0))
    to_controller = [2, 0, 1]
    for _ in range(5):
        state = straight.state()
        straight.take(encode_state(state))
        moved = {
            name: getattr(state, name)[to_controller]
            for name in ("joint_position", "joint_velocity", "joint_torque")
        }
        turned.seq += 1
        turned.take(encode_state(replace(state, **moved)))
        one, two = straight.answer(), turned.answer()
        assert one is not None
        assert two is not None
        for name in ("joint_position", "stiffness", "damping"):
            np.testing.assert_array_equal(getattr(one, name)[to_controller], getattr(two, name))
        np.testing.assert_array_equal(one.action, two.action)


def test_of_several_states_the_newest_is_answered(bench: Bench) -> None:
    for _ in range(4):
        bench.take(encode_state(bench.state()))
    command = bench.answer()
    assert command is not None
    assert command.seq == 4
    assert bench.words["superseded"] == 3
    assert bench.answer() is None


def test_gaps_are_counted(bench: Bench) -> None:
    assert bench.step() is not None
    bench.seq += 4
    assert bench.step() is not None
    assert bench.words["missed"] == 4


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("nan", CauseKind.ACTION_NOT_FINITE),
        ("short", CauseKind.ACTION_SHAPE),
        ("failing", CauseKind.BACKEND_ERROR),
    ],
)
def test_a_rejected_action_leaves_no_trace(
    bench: Bench, small_bundle: Bundle, fault: str, kind: CauseKind
) -> None:
    first = bench.step()
    assert first is not None
    bench.backend.fault = fault
    for _ in range(3):
        assert bench.step() is None
    assert bench.refused(kind) == 3
    assert bench.backend.accepted == 1
    finding = bench.memory.refusal.read()
    assert finding is not None
    assert (finding.cause.kind, finding.epoch) == (kind, SESSION + 100)
    assert bool(finding.text) == (kind is CauseKind.BACKEND_ERROR), "what the runtime said travels"
    bench.backend.fault = "honest"
    after = bench.step()
    assert after is not None
    assert np.isfinite(after.joint_position).all()
    assert bench.backend.accepted == 2


def test_a_command_is_withheld_without_the_lease(bench: Bench) -> None:
    """Of nobody, of another epoch or slot, or expired: nothing leaves, and nothing is changed by it."""
    assert bench.step() is not None
    take_away = [
        lambda: setattr(bench.guard, "lease", lease.NOBODY),
        lambda: bench.grant(SESSION + 101),
        lambda: bench.grant(SESSION + 99),
        lambda: bench.grant(SESSION + 100, slot=1),
        lambda: bench.grant(SESSION + 100, for_ns=-1),
    ]
    for take in take_away:
        take()
        assert bench.step() is None
    bench.grant(SESSION + 100)
    assert bench.step() is not None
    assert bench.words["withheld"] == len(take_away)
    assert bench.words["steps"] == 2
    assert bench.backend.accepted == 2
    records, _ = bench.memory.steps.read_since(0)
    assert (records["sent_ns"] != 0).tolist() == [True, *[False] * len(take_away), True]


def test_a_withheld_command_leaves_no_trace(small_bundle: Bundle) -> None:
    """What follows is as if its state had come without being answered."""
    withheld, superseded = Bench(small_bundle), Bench(small_bundle)
    superseded.begin_ns = withheld.begin_ns
    for bench in (withheld, superseded):
        assert bench.step() is not None
    states = [withheld.state(), withheld.state()]
    withheld.guard.lease = lease.NOBODY
    withheld.take(encode_state(states[0]))
    assert withheld.answer() is None
    withheld.grant(SESSION + 100)
    withheld.take(encode_state(states[1]))
    one = withheld.answer()
    superseded.seq = withheld.seq
    for state in states:
        superseded.take(encode_state(state))
    other = superseded.answer()
    assert one is not None
    assert other is not None
    np.testing.assert_array_equal(one.joint_position, other.joint_position)
    np.testing.assert_array_equal(one.action, other.action)


def test_a_rehearsal_leaves_no_trace(small_bundle: Bundle) -> None:
    """Any message, any number of times: the session's answers are the same, and nothing is counted."""
    rehearsed, plain = Bench(small_bundle), Bench(small_bundle)
    plain.begin_ns = rehearsed.begin_ns
    limits = AdmissionLimits(10**12)
    rehearsal = PolicyStep(small_bundle, rehearsed.setup, limits, rehearsed.model.infer, lambda: None)
    for _ in range(5):
        state = rehearsed.state()
        plain.seq = rehearsed.seq
        answers = []
        for bench in (rehearsed, plain):
            bench.take(encode_state(state))
            answers.append(bench.answer())
        assert answers[0] is not None
        assert answers[1] is not None
        np.testing.assert_array_equal(answers[0].joint_position, answers[1].joint_position)
        infers = rehearsed.model.end_ns
        rehearsed.answerer.rehearse(rehearsal, Frame(encode_state(state), state.stamp_ns))
        assert rehearsed.model.end_ns > infers, "it goes as far as the model"
        for data in (encode_state(state), encode_state(replace(state, seq=0)), b"junk"):
            rehearsed.answerer.rehearse(rehearsal, Frame(data, state.stamp_ns))
        rehearsed.backend.fault = "failing"
        later = replace(state, seq=state.seq + 1, stamp_ns=state.stamp_ns + PERIOD_NS)
        rehearsed.answerer.rehearse(rehearsal, Frame(encode_state(later), later.stamp_ns))
        rehearsed.backend.fault = "honest"
        rehearsal = PolicyStep(small_bundle, rehearsed.setup, limits, rehearsed.model.infer, lambda: None)
    assert rehearsed.accounted() == plain.accounted() == 5
    assert rehearsed.backend.accepted == plain.backend.accepted
    assert len(rehearsed.sent) == len(plain.sent) == 5
    records = [bench.memory.steps.read_since(0, unsettled=True)[0] for bench in (rehearsed, plain)]
    np.testing.assert_array_equal(*(record["action"] for record in records))


def test_a_state_that_grew_old_is_not_answered(bench: Bench) -> None:
    bench.start(SESSION, max_age_ns=24_000_000)
    assert bench.step() is None
    assert bench.refused(CauseKind.OLD) == 1


def test_a_foreign_state_is_no_sign_of_trouble(bench: Bench) -> None:
    """The guardian looks at refusals when the session is silent; another peer's must not explain it."""
    bench.step(session=SESSION + 1)
    assert bench.refused(CauseKind.FOREIGN_SESSION) == 1
    assert bench.memory.refusal.read() is None
    bench.step(seq=0)
    finding = bench.memory.refusal.read()
    assert finding is not None
    assert finding.cause.kind is CauseKind.SEQUENCE


def test_raw_observations_go_straight_to_the_model(small_bundle: Bundle) -> None:
    bench = Bench(small_bundle, raw=True)
    observation, action = small_bundle.golden()
    for row, expected in zip(observation, action, strict=True):
        state = bench.state()
        joints = (state.joint_position, state.joint_velocity)
        raw = RawObservation(SESSION, state.seq, state.stamp_ns, row, *joints)
        bench.take(encode_raw_observation(raw))
        command = bench.answer()
        assert command is not None
        np.testing.assert_allclose(command.action, expected, atol=1e-5)
    assert bench.step() is None
    assert bench.refused(CauseKind.MALFORMED) == 1


def test_a_new_session_knows_nothing_of_the_old_one(bench: Bench, small_bundle: Bundle) -> None:
    states = [bench.state() for _ in range(3)]
    fresh = []
    for session in (SESSION, SESSION + 1):
        bench.start(session)
        answers = []
        for state in states:
            bench.take(encode_state(replace(state, session=session)))
            command = bench.answer()
            assert command is not None
            answers.append(command.joint_position)
        fresh.append(answers)
    np.testing.assert_array_equal(fresh[0], fresh[1])
    assert bench.backend.resets == 3


def test_every_step_is_recorded(bench: Bench) -> None:
    for _ in range(3):
        bench.step()
    records, _ = bench.memory.steps.read_since(0)
    assert records["seq"].tolist() == [1, 2, 3]
    assert set(records["session"].tolist()) == {SESSION}
    for record in records:
        assert record["state_stamp_ns"] < record["receive_ns"] < record["infer_start_ns"]
        assert record["infer_start_ns"] <= record["infer_end_ns"] <= record["sent_ns"]
        assert np.isfinite(record["target"]).all()


FRAMES = st.sampled_from(["good", "junk", "foreign", "old number", "nan", "frozen", "future", "early"])
FAULTS = st.sampled_from(["honest", "honest", "nan", "failing", "short", "huge"])


@given(st.lists(st.tuples(st.lists(FRAMES, max_size=4), FAULTS, st.booleans()), max_size=12))
@settings(max_examples=60)
def test_every_state_ends_in_exactly_one_way(
    small_bundle: Bundle, wakes: list[tuple[list[str], str, bool]]
) -> None:
    """Whatever comes and whatever the backend does: nothing is lost, nothing is counted twice."""
    bench = Bench(small_bundle)
    sent = 0
    answered: list[int] = []
    for frames, fault, active in wakes:
        bench.backend.fault = fault
        bench.guard.lease = lease.NOBODY
        if active:
            bench.grant(SESSION + 100)
        for kind in frames:
            sent += 1
            state = bench.state()
            changed = {
                "foreign": {"session": 4},
                "old number": {"seq": 0},
                "nan": {"joint_velocity": np.full(3, np.nan, np.float32)},
                "future": {"stamp_ns": state.stamp_ns + 10**10},
                "early": {"stamp_ns": state.stamp_ns - PERIOD_NS // 2},
                "frozen": vars_of(standing_state(DEFAULT, state.seq - 1)),
            }.get(kind, {})
            bench.take(b"junk" if kind == "junk" else encode_state(replace(state, **changed)))
        command = bench.answer()
        if command is not None:
            assert active
            assert fault in ("honest", "huge")
            assert np.isfinite(command.joint_position).all()
            answered.append(command.seq)
        assert bench.words["received"] == sent == bench.accounted()
    assert answered == sorted(set(answered))


def vars_of(state: RobotState) -> dict[str, np.ndarray]:
    """The sensors of a state."""
    names = ("angular_velocity", "linear_acceleration", "joint_position", "joint_velocity", "joint_torque")
    return {name: getattr(state, name) for name in names}


def resident_kb() -> int:
    fields = Path("/proc/self/smaps_rollup").read_text().split("Pss_Anon:")[1].split()
    return int(fields[0])


@pytest.mark.parametrize("steps", [10_000, pytest.param(100_000, marks=pytest.mark.thorough)])
def test_memory_does_not_grow(small_bundle: Bundle, steps: int) -> None:
    """As the worker does it: no automatic collection, a young one after each step."""
    bench = Bench(small_bundle)
    sensors = [standing_state(DEFAULT, seed) for seed in range(50)]
    bench.begin_ns = time.monotonic_ns()  # 20 minutes of stamps to come

    def walk(steps: int) -> None:
        for _ in range(steps):
            bench.seq += 1
            stamp_ns = bench.begin_ns + bench.seq * PERIOD_NS
            state = replace(sensors[bench.seq % 50], session=SESSION, seq=bench.seq, stamp_ns=stamp_ns)
            bench.answerer.answer(bench.step_of, [Frame(encode_state(state), stamp_ns)])
            bench.sent.clear()
            gc.collect(0)

    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        walk(10_000)
        before_kb = resident_kb()
        walk(steps)
        grown_kb = resident_kb() - before_kb
    finally:
        gc.enable()
        gc.unfreeze()
    assert bench.words["steps"] == 10_000 + steps
    assert grown_kb < 1000
