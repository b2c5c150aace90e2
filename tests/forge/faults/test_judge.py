"""The judge of an injection must be able to say no."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gaitforge.cli import main
from gaitforge.faults import table
from gaitforge.faults.catalog import FAULTS
from gaitforge.faults.fault import Fault, Judged, Trial, judge, summarize
from gaitforge.faults.starts import Seen, StartFault, run_start_fault
from gaitforge.simulate.measure import STICK_SPEED
from gaitforge.simulate.stature import LITE3
from gaitforge.simulate.trace import Trace
from gaitforge.stack.ticks import Ticks

MS = 1_000_000
START_NS = 10_000 * MS
"""Simulated time 0."""
FAULT_MS, LAST_COMMAND_MS = 1000, 996
RIG: Any = SimpleNamespace(
    period_ns=12 * MS,
    stiffness=30.0,
    position_range=(np.full(12, -1.0), np.full(12, 1.0)),
    velocity_range=(np.full(12, -np.inf), np.full(12, np.inf)),
    full_command=STICK_SPEED,
    stature=LITE3,
)
DAMPS = Fault("a fault", lambda rig: None, frozenset({"deadline"}))
WALKS = Fault("another", lambda rig: None)


def ticks(damping_ms: int | None, until_ms: int = 3000) -> Ticks:
    """A controller that gets a command every 12 ms until it goes to damping, or the last before the fault."""
    time_ms = np.arange(until_ms)
    mode = np.where(time_ms < (until_ms if damping_ms is None else damping_ms), "active", "damping")
    last = until_ms if damping_ms is None else LAST_COMMAND_MS
    return Ticks(
        time_ns=START_NS + time_ms * MS,
        mode=mode,
        reason=np.where(mode == "damping", "client_deadline", "none"),
        seq=np.minimum(time_ms, last) // 12 + 1,
        age_us=np.zeros(until_ms),
    )


def trace(*, down_after_ms: int | None = None, target: float = 0.5) -> Trace:
    """A robot that stands, or sinks within half a second with its motors damped."""
    time_s = np.arange(0, 3.0, 0.004)
    since_s = np.zeros_like(time_s) if down_after_ms is None else time_s - down_after_ms / 1000
    height = 0.32 - 0.4 * np.clip(since_s, 0.0, 0.5)
    damped = since_s > 0
    n = len(time_s)
    zeros = np.zeros((n, 3))
    return Trace(
        time_s=time_s,
        handover_s=np.array(0.0),
        base_position=np.column_stack((np.zeros((n, 2)), height)),
        base_orientation=np.tile((1.0, 0.0, 0.0, 0.0), (n, 1)),
        ground_m=np.zeros(n),
        base_velocity=np.column_stack((np.zeros((n, 2)), np.gradient(height, time_s))),
        base_angular_velocity=zeros,
        joint_position=np.zeros((n, 12)),
        joint_velocity=np.zeros((n, 12)),
        joint_torque=np.zeros((n, 12)),
        joint_target=np.full((n, 12), target),
        velocity_target=np.zeros((n, 12)),
        stiffness=np.where(damped, 0.0, 30.0)[:, None] * np.ones(12),
        velocity_command=zeros,
        rolls=np.zeros(12, np.bool_),
    )


def trial(fault: Fault, **changes: Any) -> Trial:
    base = Trial(fault, START_NS + FAULT_MS * MS, START_NS + 2200 * MS, 1)
    return replace(base, **{"gaitd_reason": "deadline" if fault.reasons else "", **changes})


def test_a_walk_that_goes_on_has_its_velocity_error_before_and_after() -> None:
    moves = np.where(np.arange(0, 3.0, 0.004) * 1000 > FAULT_MS, 0.3, 0.1)
    told_to_stand = trace()
    told_to_stand.base_velocity[:, 0] = moves
    before, after = judge(trial(WALKS), ticks(None), told_to_stand, START_NS, RIG).tracking or (0, 0)
    assert (before, after) == (pytest.approx(0.1, abs=0.01), pytest.approx(0.3, abs=0.01))
    assert judge(trial(DAMPS), ticks(1056), trace(down_after_ms=1056), START_NS, RIG).tracking is None


def test_damping_in_time_is_good() -> None:
    judged = judge(trial(DAMPS), ticks(1056), trace(down_after_ms=1056), START_NS, RIG)
    assert (judged.misses, judged.periods, judged.outcome) == ([], 5.0, "lay down softly")


def test_from_the_injection() -> None:
    fault = replace(DAMPS, since="injection", bound_periods=1.0)
    judged = judge(trial(fault), ticks(1006), trace(down_after_ms=1006), START_NS, RIG)
    assert (judged.misses, judged.periods) == ([], 0.5)


def test_one_millisecond_too_late_is_a_miss() -> None:
    judged = judge(trial(DAMPS), ticks(1057), trace(down_after_ms=1057), START_NS, RIG)
    assert judged.misses == ["5.08 periods"]


def test_no_damping_is_a_miss() -> None:
    judged = judge(trial(DAMPS, gaitd_reason=""), ticks(None), trace(), START_NS, RIG)
    assert "no damping" in judged.misses


def test_another_reason_is_a_miss() -> None:
    judged = judge(
        trial(DAMPS, gaitd_reason="operator"), ticks(1056), trace(down_after_ms=1056), START_NS, RIG
    )
    assert judged.misses == ["the reason was operator ()"]


def test_the_controllers_own_reason_counts_when_gaitd_is_silent() -> None:
    fault = replace(DAMPS, reasons=frozenset({"client_deadline"}))
    judged = judge(trial(fault, gaitd_reason=""), ticks(1056), trace(down_after_ms=1056), START_NS, RIG)
    assert (judged.misses, judged.reason) == ([], "client_deadline")


def test_walking_on_is_good_and_its_longest_gap_is_reported() -> None:
    judged = judge(trial(WALKS), ticks(None), trace(), START_NS, RIG)
    assert (judged.misses, judged.periods, judged.outcome) == ([], 1.0, "kept walking")


def test_damping_where_the_robot_should_walk_on_is_a_miss() -> None:
    judged = judge(trial(WALKS), ticks(1056), trace(down_after_ms=1056), START_NS, RIG)
    assert any(miss.startswith("damping: client_deadline") for miss in judged.misses)


def test_a_fall_is_a_miss() -> None:
    fallen = trace(down_after_ms=1056)
    tilted = np.tile((np.cos(1.2), np.sin(1.2), 0.0, 0.0), (len(fallen.time_s), 1))
    late = (fallen.time_s > 1.2)[:, None]
    fallen = replace(fallen, base_orientation=np.where(late, tilted, fallen.base_orientation))
    judged = judge(trial(DAMPS), ticks(1056), fallen, START_NS, RIG)
    assert judged.misses == ["the robot fell hard"]


def test_a_target_outside_the_limits_is_a_miss() -> None:
    judged = judge(trial(WALKS), ticks(None), trace(target=1.1), START_NS, RIG)
    assert judged.misses == ["a joint target outside the limits reached a motor"]


def standing_still(of: Ticks, from_ms: int, until_ms: int) -> Ticks:
    """The same, but the controller did not run in between."""
    time_ms = (of.time_ns - START_NS) // MS
    ran = (time_ms <= from_ms) | (time_ms >= until_ms)
    return Ticks(of.time_ns[ran], of.mode[ran], of.reason[ran], of.seq[ran], of.age_us[ran])


def test_a_miss_is_void_when_the_controller_stood_still_itself() -> None:
    still = standing_still(ticks(1080), 1010, 1030)
    assert judge(trial(DAMPS), still, trace(down_after_ms=1080), START_NS, RIG).void
    short = standing_still(ticks(1080), 1010, 1020)
    assert not judge(trial(DAMPS), short, trace(down_after_ms=1080), START_NS, RIG).void
    good = standing_still(ticks(1056), 1010, 1030)
    assert not judge(trial(DAMPS), good, trace(down_after_ms=1056), START_NS, RIG).void


def test_a_target_outside_the_limits_is_never_void() -> None:
    still = standing_still(ticks(None), 1010, 1030)
    judged = judge(trial(WALKS), still, trace(target=1.1), START_NS, RIG)
    assert (judged.misses, judged.void) == (["a joint target outside the limits reached a motor"], False)


def test_what_went_wrong_on_the_way_is_a_miss() -> None:
    judged = judge(trial(DAMPS, error="GaitdError: no"), ticks(None), trace(), START_NS, RIG)
    assert judged.misses == ["GaitdError: no"]


@pytest.mark.parametrize(("damping_ms", "ok"), [((1056, 1050), True), ((1056, 1080), False)])
def test_a_row_is_good_only_if_every_injection_was(damping_ms: tuple[int, int], ok: bool) -> None:
    judged = [
        judge(trial(DAMPS, walks_after_s=4.0, ready_after_s=1.0), ticks(at_ms), trace(down_after_ms=at_ms),
              START_NS, RIG)
        for at_ms in damping_ms
    ]  # fmt: skip
    row = summarize(DAMPS, judged)
    assert row["ok"] is ok
    assert row["periods_max"] == max(each.periods for each in judged)
    assert row["recovery"] == "fresh worker in 1.0 s; stands up, walks in a new session after 4.0 s"


@pytest.mark.parametrize("way", ["", "over shared memory: "])
@pytest.mark.parametrize(("said", "right"), [("worker_killed", 1), ("operator", 0)])
def test_what_was_explained_is_held_to_what_was_injected(way: str, said: str, right: int) -> None:
    (fault,) = (fault for fault in FAULTS if fault.name == f"{way}worker: kill -9")
    judged = Judged(trial(fault, explained=said), "worker_died", 0.1, "lay down softly")
    assert summarize(fault, [judged])["explained"] == f"{said} ({right} of 1)"


def test_rows_of_both_kinds_of_faults_make_one_table(small_bundle_path: Path, tmp_path: Path) -> None:
    judged = judge(trial(DAMPS), ticks(1056), trace(down_after_ms=1056), START_NS, RIG)
    start = StartFault("a start", lambda scene: Seen("-", "as it must", "-"))
    assert list(run_start_fault(start, small_bundle_path, tmp_path)) == list(summarize(DAMPS, [judged]))


def test_a_miss_is_reported_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = judge(trial(DAMPS), ticks(1080), trace(down_after_ms=1080), START_NS, RIG)
    late = FAULTS[0]
    bad = replace(bad, trial=replace(bad.trial, fault=late))
    monkeypatch.setattr(table, "run_faults", lambda *_: iter([bad]))
    example = Path(__file__).parents[3] / "examples/lite3_walk/lite3_walk.gaitd"
    options = ["--bundle", str(example), "--controller", "x", "--output", str(tmp_path)]
    assert main(["faults", *options, "--only", late.name]) == 3
    assert late.name in capsys.readouterr().err
