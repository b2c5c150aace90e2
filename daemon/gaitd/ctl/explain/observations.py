"""What led to it: what was unusual in the minute before. Pure, like the verdict."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gaitd.ctl.explain.facts import RECENT_S, Facts
from gaitd.shared.events import EventKind
from gaitd.shared.guard_memory import FailoverKind
from gaitd.telemetry.recording import MachineSample
from gaitd.wire.generated import Mode

HOT_CELSIUS = 85.0
SLOWER = 1.5
"""What takes so much longer than before is worth a word."""
NOT_FOLLOWING_RAD = 0.15
MANY_PREEMPTIONS = 30.0
"""In a second: a worker with a core of its own has hardly any."""
_LAST_S = 3.0
"""The samples of the machine, one a second, that are near the occasion."""
_PAUSE_PERIODS = 2.5
_TOLD_ELSEWHERE = ("mode ", "gaitd starts", "worker ready", "THE STANDBY HAS TAKEN OVER")
"""Lines of the log that the verdict or the timeline says already."""


@dataclass(frozen=True)
class Observation:
    """One thing that was unusual."""

    kind: str
    """A key of gaitd.ctl.explain.words.account.OBSERVATIONS."""
    values: dict[str, Any] = field(default_factory=dict)


def observe(facts: Facts) -> list[Observation]:
    """Everything unusual, the most telling first."""
    return [observation for look in _LOOKS for observation in look(facts)]


def _cut(facts: Facts) -> Iterator[Observation]:
    if facts.recording.is_cut:
        yield Observation("file_cut")
    if facts.recording.damaged:
        yield Observation("file_damaged", {"count": facts.recording.damaged})


def _failover(facts: Facts) -> Iterator[Observation]:
    for event in facts.failovers:
        why = FailoverKind(event.code).name.lower() if event.code in set(FailoverKind) else "unknown"
        values = {"s": facts.second(event.at_ns), "why": why, "text": event.text or None}
        yield Observation("failover", values)


def _refused(facts: Facts) -> Iterator[Observation]:
    joints = facts.recording.info.joints
    for kind, count in sorted(facts.count_refused().items(), key=lambda item: -item[1]):
        newest = [event for event in facts.refusals if event.cause.kind is kind][-1]
        text = newest.cause.text(joints) + (f" ({newest.text})" if newest.text else "")
        cause = newest.cause
        values = {"cause": kind.name.lower(), "number": cause.number, "bound": cause.bound}
        if cause.joint is not None and cause.joint < len(joints):
            values["joint"] = joints[cause.joint]
        yield Observation("refused", {"count": count, "text": text, "detail": newest.text, **values})


def _paused(facts: Facts) -> Iterator[Observation]:
    """The longest time without a message, where it is no ordinary one; its end is told."""
    near = (facts.received > -RECENT_S) & (facts.received <= 0)
    received, stamps_ns = facts.received[near], facts.stamps_ns[near]
    gaps_s = np.diff(received)
    if facts.damping is None or not len(gaps_s) or gaps_s.max() <= _PAUSE_PERIODS * facts.period_s:
        return
    place = int(gaps_s.argmax())
    values = {"s": float(received[place + 1]), "ms": float(gaps_s[place]) * 1e3}
    stamps_s = (stamps_ns[place + 1] - stamps_ns[place]) / 1e9
    if stamps_ns[place : place + 2].all() and stamps_s < gaps_s[place] / 2:
        values["stamps_ms"] = float(stamps_s) * 1e3
    yield Observation("states_paused", {**values, "period_ms": facts.period_s * 1e3})


def _late(facts: Facts) -> Iterator[Observation]:
    window = facts.before & facts.sent & (facts.begun > -10)
    ages = facts.age_s[window]
    late = ages > facts.period_s
    if late.any():
        yield Observation(
            "late_steps",
            {
                "count": int(late.sum()),
                "of": len(ages),
                "worst_ms": float(ages.max()) * 1e3,
                "period_ms": facts.period_s * 1e3,
            },
        )


def _slower(facts: Facts) -> Iterator[Observation]:
    if facts.recent.sum() < 5 or facts.earlier.sum() < 20:
        return
    for kind, values in (
        ("inference_grew", facts.inference_s),
        ("transport_grew", facts.transport_s),
        ("waiting_grew", facts.waiting_s),
    ):
        now, usual = float(np.median(values[facts.recent])), float(np.median(values[facts.earlier]))
        if now > SLOWER * usual and now - usual > 0.1 * facts.period_s:
            yield Observation(kind, {"ms": now * 1e3, "usual_ms": usual * 1e3})


def _missed(facts: Facts) -> Iterator[Observation]:
    if facts.recording.damaged:
        return  # they may be in what is left out
    seqs = facts.steps["seq"][facts.before & (facts.begun > -10)].astype(np.int64)
    gaps = np.diff(seqs) - 1
    missing = int(gaps[gaps > 0].sum())
    if missing > 0:
        yield Observation("unanswered", {"count": missing, "of": int(seqs[-1] - seqs[0] + 1)})


def _clamps(facts: Facts) -> Iterator[Observation]:
    held = facts.held_back
    if not facts.recent.any() or not held[facts.recent].any():
        return
    now = float(held[facts.recent].any(axis=1).mean())
    usual = float(held[facts.earlier].any(axis=1).mean()) if facts.earlier.any() else 0.0
    if now > 2 * usual and now > 0.02:
        joint = int(held[facts.recent].sum(axis=0).argmax())
        yield Observation(
            "clamps_grew",
            {
                "joint": facts.recording.info.joints[joint],
                "percent": 100 * now,
                "usual_percent": 100 * usual,
            },
        )


def _not_following(facts: Facts) -> Iterator[Observation]:
    last = facts.before & (facts.begun > -RECENT_S / 2)
    if last.sum() < 5 or facts.earlier.sum() < 20:
        return
    now = np.median(facts.tracking_error[last], axis=0)
    usual = np.median(facts.tracking_error[facts.earlier], axis=0)
    for joint in np.flatnonzero((now > 3 * usual) & (now > NOT_FOLLOWING_RAD)).tolist():
        yield Observation(
            "joint_not_following",
            {
                "joint": facts.recording.info.joints[joint],
                "rad": float(now[joint]),
                "usual_rad": float(usual[joint]),
            },
        )


def _machine(facts: Facts) -> Iterator[Observation]:
    samples = [sample for sample in facts.recording.machine if facts.second(sample.at_ns) < 2]
    if not samples:
        return
    last = samples[-1].values
    frequency = last.get("npu_frequency_hertz")
    highest = max((sample.values.get("npu_frequency_hertz", 0.0) for sample in samples), default=0.0)
    if frequency is not None and frequency < 0.8 * highest:
        yield Observation("npu_clock_fell", {"mhz": frequency / 1e6, "usual_mhz": highest / 1e6})
    for name, value in last.items():
        if name.startswith("temperature_") and value >= HOT_CELSIUS:
            yield Observation("hot", {"zone": name.removeprefix("temperature_"), "celsius": value})
    grew, lasted_s, usual = _growth(facts, samples, "preemptions")
    if facts.was_about_time and grew > lasted_s * max(MANY_PREEMPTIONS, 3 * (usual or 0.0)):
        yield Observation("preempted", {"rate": grew / lasted_s, "usual_rate": usual, "s": lasted_s})
    grew, lasted_s, usual = _growth(facts, samples, "page_faults")
    if grew > lasted_s * 3 * (usual or 0.0):
        yield Observation("page_faults", {"count": round(grew)})


def _growth(facts: Facts, samples: Sequence[MachineSample], name: str) -> tuple[float, float, float | None]:
    """By how much a count grew near the occasion, in how many s; and its rate before, 1/s, None: unknown."""
    counts = [(facts.second(s.at_ns), s.values[name]) for s in samples if name in s.values]
    (grew, lasted_s), (before, before_s) = (
        _difference([each for each in counts if (each[0] > -_LAST_S) is near]) for near in (True, False)
    )
    return grew, lasted_s, before / before_s if before_s > 0 and before >= 0 else None


def _difference(counts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Of the last count and the first one, and of their times."""
    if not counts:
        return 0.0, 0.0
    return counts[-1][1] - counts[0][1], counts[-1][0] - counts[0][0]


def _before_the_walk(facts: Facts) -> Iterator[Observation]:
    if facts.damping is None or not facts.began_ns:
        return
    lasted_s = (facts.zero_ns - facts.began_ns) / 1e9
    if lasted_s < 1.0:
        yield Observation("short_session", {"s": lasted_s, "steps": int(facts.sent.sum())})


def _after(facts: Facts) -> Iterator[Observation]:
    if facts.damping is None or not len(facts.received):
        return
    after = facts.received[facts.received > 0.2]
    if facts.silence_before_s() > 2 * facts.period_s and len(after):
        yield Observation("states_returned", {"s": float(after[0])})
    elif not len(after) and facts.recording.machine and facts.damping.code == Mode.DAMPING:
        ended = max(facts.second(sample.at_ns) for sample in facts.recording.machine)
        if ended > 1.0:
            yield Observation("states_ended", {"s": ended})


def _log(facts: Facts) -> Iterator[Observation]:
    """Since the session began: what was before is another story."""
    begins_s = max(-60.0, facts.second(facts.began_ns)) if facts.began_ns else -60.0
    for event in facts.recording.events:
        worth = event.kind is EventKind.LOG and event.code >= logging.WARNING
        if (
            worth
            and not event.text.startswith(_TOLD_ELSEWHERE)
            and begins_s <= facts.second(event.at_ns) < 10
        ):
            yield Observation("log", {"s": facts.second(event.at_ns), "text": event.text})


_LOOKS: tuple[Callable[[Facts], Iterator[Observation]], ...] = (
    _cut,
    _failover,
    _refused,
    _not_following,
    _clamps,
    _slower,
    _paused,
    _late,
    _missed,
    _machine,
    _before_the_walk,
    _after,
    _log,
)
