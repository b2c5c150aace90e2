"""The runner's tools: orders, the misbehaving backend, the proxy, the resource monitor."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitd.errors import BackendError
from gaitd.wire.causes import NO_CAUSE
from gaitd.wire.codec import decode_command, encode_command
from gaitd.wire.generated import Mode, Reason
from gaitd.wire.messages import JointCommand, RobotState
from gaitforge.faults.backend import FaultyBackend
from gaitforge.faults.orders import Orders
from gaitforge.faults.resource_monitor import ResourceMonitor
from gaitforge.faults.tamper import Tamper
from support.states import random_state

PERIOD_NS = 12_000_000


class Real:
    """Answers with its input's first three values."""

    def infer(self, observation: np.ndarray) -> np.ndarray:
        return observation[:3].copy()

    def commit(self) -> None: ...
    def reset(self) -> None: ...
    def versions(self) -> dict[str, str]:
        return {"real": "1"}

    def close(self) -> None: ...


@pytest.fixture
def orders(tmp_path: Path) -> Orders:
    return Orders(tmp_path / "orders")


@pytest.fixture
def backend(tmp_path: Path, orders: Orders) -> FaultyBackend:
    return FaultyBackend(Real(), Orders(tmp_path / "orders"))


def ask(backend: FaultyBackend, value: float = 1.0) -> np.ndarray:
    return backend.infer(np.full(5, value, np.float32))


def test_an_order_is_taken_once_and_the_newest_counts(tmp_path: Path, orders: Orders) -> None:
    taker = Orders(tmp_path / "orders")
    assert taker.take() is None
    orders.give("first")
    orders.give("second", seconds=0.5)
    assert taker.take() == {"kind": "second", "seconds": 0.5}
    assert taker.take() is None
    assert Orders(tmp_path / "orders").take() is None, "who starts later takes nothing of before"


def test_without_orders_the_backend_is_the_real_one(backend: FaultyBackend) -> None:
    np.testing.assert_array_equal(ask(backend), np.ones(3))
    assert backend.versions() == {"real": "1"}


def test_a_value_for_some_runs(backend: FaultyBackend, orders: Orders) -> None:
    orders.give("value", value="nan", joint=1, runs=2)
    assert np.isnan(ask(backend)).tolist() == [False, True, False]
    assert np.isnan(ask(backend)).any()
    assert np.isfinite(ask(backend)).all()


def test_failing_runs_end_with_an_honest_order(backend: FaultyBackend, orders: Orders) -> None:
    orders.give("raise")
    for _ in range(3):
        with pytest.raises(BackendError):
            ask(backend)
    orders.give("honest")
    assert np.isfinite(ask(backend)).all()


def test_the_same_answer_for_every_input(backend: FaultyBackend, orders: Orders) -> None:
    first = ask(backend, 1.0)
    orders.give("constant")
    np.testing.assert_array_equal(ask(backend, 2.0), first)


def test_none_and_another_shape(backend: FaultyBackend, orders: Orders) -> None:
    orders.give("none", runs=1)
    assert ask(backend) is None
    orders.give("shape", runs=1)
    assert ask(backend).shape == (2,)


@pytest.mark.parametrize("holding_lock", [False, True])
def test_a_hang_takes_its_time(backend: FaultyBackend, orders: Orders, holding_lock: bool) -> None:
    orders.give("hang", runs=1, seconds=0.05, holding_lock=holding_lock)
    began_s = time.monotonic()
    ask(backend)
    assert time.monotonic() - began_s >= 0.05


@pytest.mark.parametrize(("how", "code"), [("segfault", -11), ("abort", -6), ("exit", 7)])
def test_crashes_are_real(how: str, code: int) -> None:
    script = f"from gaitforge.faults.backend import CRASHES; CRASHES[{how!r}]()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert done.returncode == code


STEP = """
from gaitd.shared.guard_memory import GuardMemory
from gaitd.shared.memory import read_only
from gaitd.shared.worker_memory import WorkerMemory
from gaitforge.faults.backend import FaultyBackend
from gaitforge.faults.orders import Orders
import sys, numpy as np
from pathlib import Path
from types import SimpleNamespace

owner = GuardMemory.create(3)
guard = GuardMemory(read_only(owner.fd), writable=False)
ring = WorkerMemory(WorkerMemory.create(3).fd, writable=True).steps
real = SimpleNamespace(infer=lambda observation: np.zeros(3, np.float32))
backend = FaultyBackend(real, Orders(Path(sys.argv[1])))
Orders(Path(sys.argv[1])).give(sys.argv[2], **{sys.argv[3]: sys.argv[4]})
for name, step in (
    ("infer", lambda: backend.infer(np.zeros(3))),
    ("stage", lambda: ring.stage()),
    ("mark", lambda: ring.mark_sent(1)),
):
    print(name, flush=True)
    step()
"""


@pytest.mark.parametrize(
    ("order", "code", "last"),
    [
        (("crash", "how", "wild write"), -11, "infer"),
        (("die before", "what", "sending"), -9, "stage"),
        (("die before", "what", "marking"), -9, "mark"),
    ],
)
def test_a_worker_dies_where_it_was_told(
    tmp_path: Path, order: tuple[str, ...], code: int, last: str
) -> None:
    command = [sys.executable, "-c", STEP, str(tmp_path / "orders"), *order]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert done.stdout.split()[-1] == last


@pytest.fixture
def states() -> Iterator[RobotState]:
    rng = np.random.default_rng(0)
    return (random_state(rng, 12, session=5, seq=seq, stamp_ns=seq * PERIOD_NS) for seq in range(1, 1000))


def through(tamper: Tamper, states: Iterator[RobotState], count: int) -> list[tuple[int, RobotState]]:
    return [passed for _ in range(count) for passed in tamper.state(next(states))]


def ordered(kind: str, stream: Iterator[RobotState], **details: Any) -> Tamper:
    """A proxy in a running session that has been told something."""
    tamper = Tamper(PERIOD_NS)
    through(tamper, stream, 1)
    tamper.obey({"kind": kind, **details})
    return tamper


def test_a_proxy_without_orders_changes_nothing(states: Iterator[RobotState]) -> None:
    tamper = Tamper(PERIOD_NS)
    state = next(states)
    assert list(tamper.state(state)) == [(0, state)]


def test_frozen_content_has_fresh_stamps(states: Iterator[RobotState]) -> None:
    passed = [state for _, state in through(ordered("freeze content", states), states, 3)]
    assert len({state.joint_position.tobytes() for state in passed}) == 1
    assert [state.seq for state in passed] == [2, 3, 4]
    assert [state.stamp_ns for state in passed] == [seq * PERIOD_NS for seq in (2, 3, 4)]


def test_a_value_in_some_states(states: Iterator[RobotState]) -> None:
    tamper = ordered("state value", states, field="joint_velocity", value="nan", states=1)
    first, second = (state for _, state in through(tamper, states, 2))
    assert np.isnan(first.joint_velocity[0])
    assert np.isfinite(second.joint_velocity).all()


def test_lost_states(states: Iterator[RobotState]) -> None:
    passed = through(ordered("lose states", states, every=5), states, 10)
    assert [state.seq for _, state in passed] == [2, 3, 4, 5, 7, 8, 9, 10]


def test_half_and_double_rate_count_on(states: Iterator[RobotState]) -> None:
    half = through(ordered("half rate", states), states, 6)
    assert [state.seq for _, state in half] == [2, 3, 4]
    double = through(ordered("double rate", states), states, 3)
    assert [wait_ns for wait_ns, _ in double] == [0, PERIOD_NS // 2] * 3
    seqs = [state.seq for _, state in double]
    assert seqs == list(range(seqs[0], seqs[0] + 6))


def test_answers_to_renumbered_states_get_the_controllers_numbers(states: Iterator[RobotState]) -> None:
    tamper = ordered("half rate", states)
    through(tamper, states, 5)
    (frame,) = tamper.command(encode_command(command(seq=4, state_stamp_ns=99)), 12)
    answered = decode_command(frame, 12)
    assert (answered.seq, answered.state_stamp_ns) == (6, 6 * PERIOD_NS)


def test_a_new_session_is_not_tampered_with(states: Iterator[RobotState]) -> None:
    tamper = ordered("lose states", states, every=1)
    assert through(tamper, states, 3) == []
    fresh = replace(next(states), session=6, seq=1)
    assert list(tamper.state(fresh)) == [(0, fresh)]


def command(**changes: Any) -> JointCommand:
    zeros = np.zeros(12, np.float32)
    base = JointCommand(5, 1, 0, 3, 3 * PERIOD_NS, 1, Mode.ACTIVE, Reason.NONE, NO_CAUSE, 0, *[zeros] * 6)
    return replace(base, **changes)


def test_altered_commands() -> None:
    tamper = Tamper(PERIOD_NS)
    frame = encode_command(command())
    tamper.obey({"kind": "command value", "value": "nan"})
    (spoilt,) = tamper.command(frame, 12)
    assert spoilt != frame
    tamper.obey({"kind": "lose commands", "every": 2})
    assert [len(list(tamper.command(frame, 12))) for _ in range(4)] == [1, 0, 1, 0]
    tamper.obey({"kind": "delay commands", "periods": 2})
    assert [len(list(tamper.command(frame, 12))) for _ in range(4)] == [0, 0, 1, 1]
    tamper.obey({"kind": "repeat commands"})
    assert list(tamper.command(frame, 12)) == [frame, frame]
    tamper.obey({"kind": "truncate commands"})
    assert [len(short) for short in tamper.command(frame, 12)] == [len(frame) // 2]


def test_growth_of_memory_and_file_descriptors_is_reported() -> None:
    monitor = ResourceMonitor(lambda name: os.getpid(), warm_s=0.0)
    for _ in range(3):
        monitor.sample()
    kept = np.ones(6_000_000)
    with Path(os.devnull).open(), Path(os.devnull).open(), Path(os.devnull).open():
        monitor.sample()
        memory, files = monitor.excesses(once_kb=1024, hourly_kb=0)
    assert "grew by" in memory
    assert "file descriptors" in files
    assert kept.size


def test_constant_resources_are_not_reported() -> None:
    monitor = ResourceMonitor(lambda name: os.getpid(), warm_s=0.0)
    monitor.sample()
    monitor.sample()
    assert monitor.excesses(once_kb=4096, hourly_kb=0) == []
    assert set(monitor.summary()) == {"gaitd"}, "one process id is one process"
