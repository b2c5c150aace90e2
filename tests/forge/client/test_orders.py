"""Which command the Python client takes: what the C++ client takes."""

from __future__ import annotations

import ctypes
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gaitd.policy.brake import Brakes
from gaitd.wire.causes import NO_CAUSE
from gaitd.wire.codec import encode_command
from gaitd.wire.generated import GUARD_SLOT, Mode, Reason
from gaitd.wire.messages import JointCommand
from gaitforge.client import Contract, Period, Refusal
from gaitforge.client.contract import Policy, Times, VelocityCommand
from gaitforge.client.orders import Orders
from support.client_latch import ClientLatch, build

JOINTS = 3
SESSION = 7
PERIOD_NS = 12_000_000
DEADLINE_NS = 5 * PERIOD_NS
NOW_NS = 10**12


def row(value: float = 0.0) -> np.ndarray:
    return np.full(JOINTS, value, np.float32)


CONTRACT = Contract(
    gaitd="1",
    policy=Policy("0" * 16, "small", "1"),
    period_s=PERIOD_NS / 1e9,
    times=Times(DEADLINE_NS, 500_000_000, 0),
    joints=("a", "b", "c"),
    fields=(),
    joint_targets=("position",) * 3,
    inputs=(),
    action_dim=JOINTS,
    velocity_command=VelocityCommand("si", [-1.0] * 3, [1.0] * 3),
    default_joint_position=row(0.5),
    stiffness=row(30.0),
    damping=row(1.0),
    fallback_damping=row(2.5),
    brakes=Brakes(row(0.0), row(0.0)),
)


def command(**changes: object) -> JointCommand:
    """The answer to the state that was published at NOW_NS."""
    answer = JointCommand(
        session=SESSION,
        epoch=3,
        slot=0,
        seq=1,
        state_stamp_ns=NOW_NS,
        publish_stamp_ns=NOW_NS + 1000,
        mode=Mode.ACTIVE,
        reason=Reason.NONE,
        cause=NO_CAUSE,
        policy=0,
        joint_position=row(0.1),
        joint_velocity=row(),
        stiffness=row(20.0),
        damping=row(0.7),
        torque=row(),
        action=row(),
    )
    return replace(answer, **changes)


@pytest.fixture
def orders() -> Orders:
    """A session under epoch 3 with one published state."""
    orders = Orders(CONTRACT)
    orders.begin(SESSION, 3, 0)
    assert orders.published(NOW_NS, row(0.2)) == 1
    return orders


def is_limp(found: JointCommand) -> bool:
    return not found.stiffness.any() and np.array_equal(found.damping, CONTRACT.fallback_damping)


def test_an_answer_holds_until_its_state_is_older_than_the_deadline(orders: Orders) -> None:
    idle = orders.at(NOW_NS)
    assert (idle.mode, is_limp(idle)) == (Mode.IDLE, True)
    assert orders.offer(command(), NOW_NS) is None
    assert orders.at(NOW_NS + DEADLINE_NS).stiffness[0] == 20.0
    late = orders.at(NOW_NS + DEADLINE_NS + 1)
    assert (late.mode, late.reason, is_limp(late)) == (Mode.DAMPING, Reason.CLIENT_DEADLINE, True)


def test_the_clients_own_lateness_latches_nothing(orders: Orders) -> None:
    orders.offer(command(), NOW_NS)
    later_ns = NOW_NS + 2 * DEADLINE_NS
    assert orders.at(later_ns).mode is Mode.DAMPING
    orders.published(later_ns, row())
    answer = command(seq=2, state_stamp_ns=later_ns, publish_stamp_ns=later_ns)
    assert orders.offer(answer, later_ns) is None
    assert orders.at(later_ns).mode is Mode.ACTIVE


def test_what_gaitd_has_damped_stays_damped_until_the_next_session(orders: Orders) -> None:
    damping = command(mode=Mode.DAMPING, reason=Reason.LIMIT, slot=GUARD_SLOT, epoch=0, stiffness=row())
    assert orders.offer(damping, NOW_NS) is None
    assert orders.offer(command(), NOW_NS) is Refusal.LATCHED
    held = orders.at(NOW_NS)
    assert (held.mode, held.reason, is_limp(held)) == (Mode.DAMPING, Reason.LIMIT, True)
    assert orders.sample_session == 0
    orders.begin(SESSION + 1, 4, 0)
    assert orders.at(NOW_NS).mode is Mode.IDLE
    assert orders.offer(damping, NOW_NS) is Refusal.FOREIGN_SESSION


def test_a_stance_has_the_gains_of_hello_and_ends_with_gaitds_word(orders: Orders) -> None:
    standing = command(
        mode=Mode.DAMPING, reason=Reason.DEADLINE, stiffness=row(9000.0), publish_stamp_ns=NOW_NS
    )
    orders.offer(standing, NOW_NS)
    held = orders.at(NOW_NS)
    assert np.array_equal(held.stiffness, CONTRACT.stiffness)
    assert np.array_equal(held.joint_position, CONTRACT.default_joint_position)
    assert is_limp(orders.at(NOW_NS + DEADLINE_NS + 1)), "gaitd is silent"
    orders.offer(replace(standing, stiffness=row(), publish_stamp_ns=NOW_NS + 1), NOW_NS + 1)
    assert is_limp(orders.at(NOW_NS + 1))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build(tmp_path_factory.mktemp("latch"))


OFFERS = st.lists(
    st.fixed_dictionaries(
        {
            "session": st.sampled_from((0, SESSION, SESSION, SESSION, SESSION + 1)),
            "epoch": st.integers(2, 5),
            "slot": st.sampled_from((0, 0, 1, GUARD_SLOT)),
            "seq": st.integers(0, 7),
            "late_ns": st.sampled_from((0, 0, 0, DEADLINE_NS, DEADLINE_NS + 1)),
            "ahead_ns": st.sampled_from((0, 0, 1_000_000, 1_000_001)),
            "other_stamp": st.sampled_from((False, False, False, True)),
            "torque": st.sampled_from((0.0, 0.0, float("nan"))),
            "mode": st.sampled_from((Mode.ACTIVE,) * 8 + (Mode.IDLE, Mode.DAMPING)),
        }
    ),
    max_size=12,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(offers=OFFERS)
def test_it_takes_and_refuses_what_the_cpp_client_does(library: ctypes.CDLL, offers: list[dict]) -> None:
    orders, latch = Orders(CONTRACT), ClientLatch(library, JOINTS, DEADLINE_NS, 10**18)
    orders.begin(SESSION, 3, 0)
    latch.begin(SESSION, 3, 0)
    stamps = [NOW_NS + number * PERIOD_NS for number in range(6)]
    for stamp_ns in stamps:
        orders.published(stamp_ns, row())
        latch.published(stamp_ns)
    for offer in offers:
        seq = offer["seq"]
        stamp_ns = stamps[seq - 1] if 1 <= seq <= len(stamps) else NOW_NS
        now_ns = stamp_ns + offer["late_ns"]
        offered = command(
            session=offer["session"],
            epoch=offer["epoch"],
            slot=offer["slot"],
            seq=seq,
            state_stamp_ns=stamp_ns + offer["other_stamp"],
            publish_stamp_ns=now_ns + offer["ahead_ns"],
            torque=row(offer["torque"]),
            mode=offer["mode"],
        )
        refusal = orders.offer(offered, now_ns)
        assert (refusal.value if refusal else "none") == latch.offer(encode_command(offered), now_ns)


def test_a_state_is_due_once_a_period_and_never_too_soon_after_the_last() -> None:
    period = Period(PERIOD_NS / 1e9)
    due = [now_ns for now_ns in range(NOW_NS, NOW_NS + 5 * PERIOD_NS, PERIOD_NS // 12) if period.due(now_ns)]
    assert np.diff(due).tolist() == [PERIOD_NS] * 4
    late_ns = NOW_NS + 10 * PERIOD_NS
    assert period.due(late_ns)
    assert not period.due(late_ns + PERIOD_NS * 74 // 100)
    assert period.due(late_ns + PERIOD_NS * 75 // 100)
