"""Which states are taken: one test for each refusal, and what a refusal must not change."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaitd.errors import InputError
from gaitd.policy.admission import AdmissionLimits, StateAdmission
from gaitd.wire.causes import Cause
from gaitd.wire.generated import CauseKind
from gaitd.wire.messages import RawObservation, RobotState
from support.bundles import contract, small_manifest
from support.states import random_state

PERIOD_NS = 12_000_000
START_NS = 1_000_000_000_000
MS = 1_000_000


class Session:
    """A session whose controller is perfect unless told otherwise."""

    def __init__(self, **changes: Any) -> None:
        manifest = contract(small_manifest(**changes))
        self.admission = StateAdmission(manifest, AdmissionLimits.for_period(PERIOD_NS))
        self.admission.start(7)
        self.rng = np.random.default_rng(0)
        self.count = 0

    def state(self, **changes: Any) -> RobotState:
        self.count += 1
        standing = {
            "joint_position": np.array([0.0, -0.65, 1.3], np.float32) + _noise(self.rng),
            "joint_velocity": _noise(self.rng),
        }
        stamps = {"session": 7, "seq": self.count, "stamp_ns": START_NS + self.count * PERIOD_NS}
        return random_state(self.rng, 3, **{**standing, **stamps, **changes})

    def admit(self, state: RobotState | RawObservation, delay_ns: int = MS) -> CauseKind | None:
        cause = self.admission.admit(state, START_NS + self.count * PERIOD_NS + delay_ns)
        return None if cause is None else cause.kind

    def next(self, **changes: Any) -> CauseKind | None:
        return self.admit(self.state(**changes))


def _noise(rng: np.random.Generator) -> np.ndarray:
    return (rng.normal(size=3) * 0.01).astype(np.float32)


def test_a_good_stream_is_admitted() -> None:
    session = Session()
    assert [session.next() for _ in range(100)] == [None] * 100
    assert session.admission.missed == 0


def test_a_foreign_session() -> None:
    session = Session()
    assert session.next(session=6) is CauseKind.FOREIGN_SESSION
    assert session.next(session=0) is CauseKind.FOREIGN_SESSION
    assert session.next() is None


def test_a_state_stamped_0_is_a_state_before_the_next_one() -> None:
    session = Session()
    assert session.next(stamp_ns=0) is None  # Too old to be answered, which is judged elsewhere.
    assert session.next(stamp_ns=PERIOD_NS * 3 // 5 - 1) is CauseKind.EARLY
    assert session.next(stamp_ns=0) is CauseKind.SEQUENCE


@pytest.mark.parametrize("seq", [0, 3, 4, 5, 5 + 84 + 1, 2**64 - 1])
def test_replayed_reordered_and_jumping_sequences(seq: int) -> None:
    session = Session()
    for _ in range(5):
        assert session.next() is None
    assert session.next(seq=seq) is CauseKind.SEQUENCE
    assert session.next() is None


def test_a_jump_within_a_second_is_taken_and_counted() -> None:
    session = Session()
    assert session.next() is None
    session.count += 9
    assert session.next() is None
    assert session.admission.missed == 9
    assert session.next() is None
    assert session.admission.missed == 9


def test_a_stamp_that_does_not_rise_is_out_of_sequence() -> None:
    session = Session()
    assert session.next() is None
    assert session.next(stamp_ns=START_NS + PERIOD_NS) is CauseKind.SEQUENCE
    assert session.next(stamp_ns=START_NS) is CauseKind.SEQUENCE


def test_states_at_a_wrong_rate_are_early() -> None:
    session = Session()
    assert session.next() is None
    at = START_NS + PERIOD_NS
    assert session.next(stamp_ns=at + PERIOD_NS * 3 // 5 - 1) is CauseKind.EARLY
    assert session.next(stamp_ns=at + PERIOD_NS * 3 // 5) is None


@pytest.mark.parametrize("rate", [1.0, 1.05, 1.09, 1.25, 1.5, 2.0, 10.0])
def test_a_controller_that_is_too_fast_is_held_to_a_tenth_above_the_policys_rate(rate: float) -> None:
    session = Session()
    interval_ns = round(PERIOD_NS / rate)
    stamps = [START_NS + count * interval_ns for count in range(round(500 * rate))]
    verdicts = [session.admit(session.state(stamp_ns=stamp), delay_ns=10**12) for stamp in stamps]
    taken = verdicts.count(None)
    assert set(verdicts) <= {None, CauseKind.EARLY}
    if rate <= 1.1:
        assert taken == len(stamps)
    assert 500 * 0.9 <= taken <= 500 * 1.1 + 1
    taken_at = [stamp for stamp, verdict in zip(stamps, verdicts, strict=True) if verdict is None]
    assert max(np.diff(taken_at)) < 2 * PERIOD_NS
    assert session.admission.interval_ns == pytest.approx(interval_ns, rel=1e-6)


def test_a_controller_whose_states_come_unevenly_in_its_period_is_never_early() -> None:
    session = Session()
    for count, late in enumerate(np.random.default_rng(0).uniform(0.0, 0.4, 2000)):
        assert session.next(stamp_ns=START_NS + round((count + late) * PERIOD_NS)) is None


@pytest.mark.parametrize("rate", [0.5, 0.8, 1.0])
def test_the_interval_between_states_is_measured_whatever_is_lost(rate: float) -> None:
    session = Session()
    assert session.admission.interval_ns == 0
    for count in range(1, 200):
        state = session.state(stamp_ns=START_NS + round(count * PERIOD_NS / rate))
        if count % 7:
            session.admit(state, delay_ns=10**12)
    assert session.admission.interval_ns == pytest.approx(PERIOD_NS / rate, rel=1e-6)
    session.admission.start(8)
    assert session.admission.interval_ns == 0, "of another session"


def test_a_stamp_in_the_future() -> None:
    session = Session()
    state = session.state()
    for ahead_ns, verdict in ((2 * MS, CauseKind.FUTURE), (MS + 1, CauseKind.FUTURE), (MS, None)):
        cause = session.admission.admit(state, state.stamp_ns - ahead_ns)
        assert (None if cause is None else cause.kind) is verdict


def test_a_state_grows_too_old_after_two_periods() -> None:
    admission = Session().admission
    assert not admission.too_old(START_NS, START_NS + 2 * PERIOD_NS)
    assert admission.too_old(START_NS, START_NS + 2 * PERIOD_NS + 1)
    assert not admission.too_old(START_NS, START_NS - 1)


def test_frozen_content_with_fresh_stamps() -> None:
    session = Session()
    first = session.state()
    assert session.admit(first) is None
    for _ in range(3):
        session.count += 1
        again = dataclasses.replace(
            first,
            seq=session.count,
            stamp_ns=START_NS + session.count * PERIOD_NS,
            velocity_command=np.ones(3, np.float32),  # the stick moves, the sensors do not
        )
        assert session.admit(again) is CauseKind.FROZEN
    assert session.next() is None
    assert session.admission.missed == 0


SENSORS = (
    *("angular_velocity", "orientation", "linear_acceleration"),
    *("joint_position", "joint_velocity", "joint_torque"),
)


@pytest.mark.parametrize("field", SENSORS)
def test_one_living_sensor_is_enough(field: str) -> None:
    session = Session()
    first = session.state()
    assert session.admit(first) is None
    session.count += 1
    value = getattr(first, field).copy()
    value[0] = np.nextafter(value[0], np.float32(10))
    stamped = {"seq": session.count, "stamp_ns": START_NS + session.count * PERIOD_NS}
    assert session.admit(dataclasses.replace(first, **{field: value}, **stamped)) is None


@pytest.mark.parametrize("field", [*SENSORS, "velocity_command", "linear_velocity"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite(field: str, bad: float) -> None:
    session = Session()
    value = np.zeros(4 if field == "orientation" else 3, np.float32)
    value[-1] = bad
    assert session.next(**{field: value}) is CauseKind.NOT_FINITE
    assert session.next() is None


@pytest.mark.parametrize(
    ("field", "value", "cause"),
    [
        ("orientation", [0, 0, 0, 0], Cause(CauseKind.ORIENTATION_NORM, None, 0.0)),
        ("orientation", [1, 1, 0, 0], Cause(CauseKind.ORIENTATION_NORM, None, 2.0)),
        ("orientation", [0.5, 0, 0, 0], Cause(CauseKind.ORIENTATION_NORM, None, 0.25)),
        ("joint_position", [0.81, -0.65, 1.3], Cause(CauseKind.OUT_OF_RANGE, 0, 0.81, 0.8)),
        ("joint_position", [0.0, -3.71, 1.3], Cause(CauseKind.OUT_OF_RANGE, 1, -3.71, -3.7)),
        ("joint_velocity", [0, -50.1, 0], Cause(CauseKind.VELOCITY_OUT_OF_RANGE, 1, -50.1, -50.0)),
        ("joint_velocity", [0, 0, 1e30], Cause(CauseKind.VELOCITY_OUT_OF_RANGE, 2, 1e30, 50.0)),
    ],
)
def test_what_is_out_of_range(field: str, value: list[float], cause: Cause) -> None:
    """The cause names the joint, what was measured and the bound."""
    session = Session()
    state = session.state(**{field: np.array(value, np.float32)})
    got = session.admission.admit(state, state.stamp_ns + MS)
    assert got is not None
    assert (got.kind, got.joint) == (cause.kind, cause.joint)
    assert got.number == pytest.approx(cause.number, rel=1e-6)
    if cause.bound is not None:
        assert got.bound == pytest.approx(cause.bound, rel=1e-6)
    assert session.next() is None


def test_the_margin_beyond_the_joint_range_is_allowed() -> None:
    assert Session().next(joint_position=np.array([0.79, -0.65, 1.3], np.float32)) is None


def test_without_a_state_limit_joints_may_be_anywhere() -> None:
    position = {"position": {"min_rad": -4.0, "max_rad": 4.0}}
    assert Session(limits=position).next(joint_position=np.full(3, 9, np.float32)) is None


def test_a_needed_linear_velocity_that_is_empty() -> None:
    observation = {"terms": [{"term": "base_linear_velocity"}]}
    session = Session(observation=observation)
    assert session.next() is CauseKind.MISSING_FIELD
    assert session.next(linear_velocity=np.ones(3, np.float32)) is None
    assert Session().next() is None


def test_raw_observations_are_held_to_the_same() -> None:
    session = Session()

    def raw(**changes: Any) -> RawObservation:
        state = session.state()
        good = RawObservation(
            7, state.seq, state.stamp_ns, np.zeros(18, np.float32), state.joint_position, state.joint_velocity
        )
        return dataclasses.replace(good, **changes)

    assert session.admit(raw()) is None
    assert session.admit(raw(session=8)) is CauseKind.FOREIGN_SESSION
    assert session.admit(raw(seq=1)) is CauseKind.SEQUENCE
    assert session.admit(raw(observation=np.full(18, np.nan, np.float32))) is CauseKind.NOT_FINITE
    assert session.admit(raw(joint_velocity=np.full(3, 99, np.float32))) is CauseKind.VELOCITY_OUT_OF_RANGE
    last = raw()
    assert session.admit(last) is None
    frozen = raw(joint_position=last.joint_position, joint_velocity=last.joint_velocity)
    assert session.admit(frozen) is CauseKind.FROZEN


def test_a_new_session_starts_over() -> None:
    session = Session()
    last = None
    for _ in range(5):
        last = session.state()
        assert session.admit(last) is None
    assert last is not None
    session.admission.start(8)
    assert session.admission.admit(dataclasses.replace(last, session=8, seq=1), last.stamp_ns) is None
    assert session.next() is CauseKind.FOREIGN_SESSION


@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.integers(-30 * MS, 30 * MS), st.sampled_from([6, 7])), max_size=40
    )
)
def test_what_is_admitted_rises_in_sequence_and_time(stream: list[tuple[int, int, int]]) -> None:
    """Whatever comes: admitted states are of the session, in order, properly spaced and not of the future."""
    session = Session()
    admitted: list[RobotState] = []
    now_ns = START_NS
    for step, (seq, skew_ns, number) in enumerate(stream):
        now_ns += PERIOD_NS
        state = session.state(session=number, seq=seq, stamp_ns=START_NS + step * PERIOD_NS + skew_ns)
        if session.admission.admit(state, now_ns) is None:
            admitted.append(state)
            assert state.stamp_ns <= now_ns + MS
    assert {state.session for state in admitted} <= {7}
    for before, after in itertools.pairwise(admitted):
        assert before.seq < after.seq
        assert after.stamp_ns - before.stamp_ns >= PERIOD_NS * 3 // 5
    missing = (admitted[-1].seq if admitted else 0) - len(admitted)
    assert session.admission.missed == missing


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"max_velocity_rad_per_s": [1.0]}, r"limits\.state\.max_velocity_rad_per_s: expected 3 values"),
        ({"max_velocity_rad_per_s": 0.0}, r"limits\.state\.max_velocity_rad_per_s: joint 'hip' is 0"),
        (
            {"max_velocity_rad_per_s": 1.0, "position_margin_rad": -0.1},
            r"margin_rad: expected at least 0",
        ),
        ({"max_velocity_rad_per_s": 1.0, "position_margin_rad": math.nan}, r"position_margin_rad"),
    ],
)
def test_contradicting_state_limits_are_refused_by_key(state: dict[str, Any], message: str) -> None:
    limits = {"position": {"min_rad": -4.0, "max_rad": 4.0}, "state": state}
    with pytest.raises(InputError, match=message):
        Session(limits=limits)


POSTURE = {"posture": {"max_tilt_rad": 1.0, "max_start_error_rad": [0.2, 0.3, 0.4]}}


def _limits(**limits: Any) -> dict[str, Any]:
    return {"limits": {**small_manifest()["limits"], **limits}}


def _tilted(angle_rad: float, axis: int = 0, length: float = 1.0) -> np.ndarray:
    """A rotation about x, y or z (0, 1, 2)."""
    quaternion = np.zeros(4)
    quaternion[0], quaternion[1 + axis] = math.cos(angle_rad / 2), math.sin(angle_rad / 2)
    return (length * quaternion).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("length", [0.97, 1.0, 1.03])
def test_a_robot_that_lies_is_not_walked(axis: int, length: float) -> None:
    session = Session(**_limits(**POSTURE))
    for sign in (-1, 1):
        assert session.next(orientation=_tilted(sign * 0.98, axis, length)) is None
        assert session.next(orientation=_tilted(sign * 1.02, axis, length)) is CauseKind.TILT
        assert session.next(orientation=_tilted(sign * math.pi, axis, length)) is CauseKind.TILT


def test_the_heading_is_no_tilt() -> None:
    session = Session(**_limits(**POSTURE))
    assert all(session.next(orientation=_tilted(angle, axis=2)) is None for angle in np.linspace(-3, 3, 20))


@pytest.mark.parametrize("joint", [0, 1, 2])
def test_a_session_begins_near_the_default_position(joint: int) -> None:
    session = Session(**_limits(**POSTURE))
    default = np.array([0.0, -0.65, 1.3], np.float32)
    allowed = np.array(POSTURE["posture"]["max_start_error_rad"], np.float32)
    near, far = default.copy(), default.copy()
    near[joint] += 0.95 * allowed[joint]
    far[joint] -= 1.05 * allowed[joint]
    upright = {"orientation": _tilted(0.0)}
    assert session.next(joint_position=far, **upright) is CauseKind.START_POSTURE
    assert session.next(joint_position=far, **upright) is CauseKind.START_POSTURE
    assert session.next(joint_position=near, **upright) is None
    assert session.next(joint_position=far, **upright) is None, "the policy itself may go there"
    session.admission.start(7)
    session.count = 0
    assert session.next(joint_position=far, **upright) is CauseKind.START_POSTURE


@pytest.mark.parametrize(
    "change",
    [{"max_tilt_rad": 0.0}, {"max_tilt_rad": 4.0}, {"max_tilt_rad": math.nan}, {"max_start_error_rad": -0.1}],
)
def test_a_posture_limit_that_is_none_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"limits.posture.{next(iter(change))}"):
        Session(**_limits(posture={**POSTURE["posture"], **change}))
