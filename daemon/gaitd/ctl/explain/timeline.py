"""A recording's last seconds as a drawing (SVG): mode, refusals, ages, and the guilty signal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import NamedTuple

import numpy as np

from gaitd.ctl.explain.facts import Facts, Float64Array
from gaitd.ctl.explain.verdict import Verdict
from gaitd.ctl.explain.words.text import Text
from gaitd.shared.events import EventKind
from gaitd.wire.generated import Mode

_LEFT, _RIGHT, _LANE, _BAR, _GAP = 52, 8, 110, 18, 26
_STROKES = ("—", "- -")
_LETTER = 8.5
"""Pixels of a capital."""
_PERIOD = Text("period", "周期")
_DEADLINE = Text("deadline", "期限")
_MAX_AGE = Text("oldest allowed", "允许的最大时延")
_LIMIT = Text("limit", "限值")
_MODE_COLOURS = {Mode.IDLE: "var(--soft)", Mode.ACTIVE: "var(--good)", Mode.DAMPING: "var(--alarm)"}
_ALONE = (
    ":root{--soft:#5d6b78;--alarm:#c62828;--line:#1565c0;--second:#ef6c00;--good:#2e7d32}"
    "text{font:12px sans-serif}.soft{fill:#5d6b78}.zh{display:none}"
)
_INFERENCE = {"inference_hung", "inference_slow", "backend_error", "worker_stopped"}
_TRANSPORT = {"old", "states_delayed", "future", "early", "sequence"}


@dataclass(frozen=True)
class Curve:
    """One line: values at times."""

    times: Float64Array
    values: Float64Array
    colour: str = "var(--line)"
    name: str = ""
    """In the legend; without one it is in none."""
    dashed: bool = False
    """What is below it is seen too."""


class Bound(NamedTuple):
    """A horizontal line, and what it is."""

    value: float
    name: Text


@dataclass(frozen=True)
class Lane:
    """One diagram: curves over time, and horizontal lines at bounds."""

    title: Text
    curves: Sequence[Curve]
    bounds: Sequence[Bound] = field(default_factory=list)


def draw_timeline(facts: Facts, verdict: Verdict, before_s: float, width: int) -> str:
    """From ``before_s`` before the damping until the end, at most a fifth of that after it."""
    newest = max(float(facts.received.max(initial=0.0)), 0.0)
    frame = _Frame(-before_s, min(max(newest, before_s * 0.02), before_s / 5), width)
    lanes = [_ages(facts), guilty_lane(facts, verdict)]
    parts: list[str] = []
    top = 16
    parts += _modes(facts, frame, top)
    top += _BAR + _GAP
    parts += _marks(facts, frame, top)
    top += _BAR + _GAP
    for lane in lanes:
        parts += _draw_lane(lane, frame, top)
        top += _LANE + _GAP
    parts += _axis(frame, top - _GAP + 4)
    height = top + 16
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" xmlns="http://www.w3.org/2000/svg">'
        + "".join(parts)
        + f'<line x1="{frame.x(0):.1f}" x2="{frame.x(0):.1f}" y1="10" y2="{height - 40}" '
        'stroke="var(--alarm)" stroke-dasharray="4 3"/></svg>'
    )


def draw_lanes(lanes: Sequence[Lane], begin_s: float, end_s: float, width: int) -> str:
    """Diagrams over the same time, one below the other, as a drawing that stands by itself."""
    frame = _Frame(begin_s, max(end_s, begin_s + 1e-3), width)
    parts: list[str] = []
    top = 20
    for lane in lanes:
        parts += _draw_lane(lane, frame, top)
        top += _LANE + _GAP
    parts += _axis(frame, top - _GAP + 4)
    return (
        f'<svg viewBox="0 0 {width} {top + 10}" xmlns="http://www.w3.org/2000/svg"><style>{_ALONE}</style>'
        '<rect width="100%" height="100%" fill="#fff"/>' + "".join(parts) + "</svg>\n"
    )


def guilty_lane(facts: Facts, verdict: Verdict) -> Lane:
    """The signal that the verdict speaks of."""
    joints, steps = facts.recording.info.joints, facts.steps
    joint = verdict.values.get("joint")
    if joint in joints and len(steps):
        index = joints.index(joint)
        absolute = verdict.kind in ("position_limit", "out_of_range")
        return Lane(
            Text(f"{joint}, rad: measured, target", f"{joint}，rad：测量值、目标值"),
            [
                Curve(facts.begun, steps["joint_position"][:, index].astype(float)),
                Curve(facts.begun, steps["target"][:, index].astype(float), "var(--second)"),
            ],
            [Bound(verdict.values["bound"], _LIMIT)] if absolute else [],
        )
    if verdict.kind == "tilt" and len(steps):
        w, x, y, _ = steps["orientation"].T.astype(float)
        tilt = np.arccos(np.clip(1 - 2 * (x * x + y * y) / np.maximum(w * w + x * x + y * y, 1e-9), -1, 1))
        return Lane(
            Text("tilt, rad", "倾斜，rad"),
            [Curve(facts.begun, tilt)],
            [Bound(verdict.values["bound"], _LIMIT)],
        )
    if verdict.kind in _INFERENCE:
        return Lane(
            Text("inference, ms", "推理，ms"),
            [Curve(facts.begun, facts.inference_s * 1e3)],
            [Bound(facts.period_s * 1e3, _PERIOD)],
        )
    if verdict.kind in _TRANSPORT:
        stamped = facts.stamps_ns != 0
        delay = (facts.recording.frames["received_ns"].astype(np.int64) - facts.stamps_ns) / 1e6
        return Lane(
            Text("from a state's stamp to its arrival, ms", "从状态时间戳到到达，ms"),
            [Curve(facts.received[stamped], delay[stamped])],
            [Bound((facts.recording.info.state_max_age_s or 2 * facts.period_s) * 1e3, _MAX_AGE)],
        )
    gaps = np.diff(facts.received, prepend=facts.received[:1]) * 1e3
    return Lane(
        Text("between messages of the controller, ms", "控制器消息间隔，ms"),
        [Curve(facts.received, gaps)],
        [Bound(facts.deadline_s * 1e3, _DEADLINE)],
    )


def _ages(facts: Facts) -> Lane:
    sent = facts.sent
    return Lane(
        Text("age of a command when it was sent, ms", "命令发出时的年龄，ms"),
        [Curve(facts.begun[sent], facts.age_s[sent] * 1e3)],
        [Bound(facts.period_s * 1e3, _PERIOD), Bound(facts.deadline_s * 1e3, _DEADLINE)],
    )


@dataclass(frozen=True)
class _Frame:
    begin_s: float
    end_s: float
    width: int

    def x(self, second: float) -> float:
        """Pixels from the left."""
        inner = self.width - _LEFT - _RIGHT
        share = (second - self.begin_s) / (self.end_s - self.begin_s)
        return _LEFT + inner * min(max(share, 0.0), 1.0)


def _modes(facts: Facts, frame: _Frame, top: int) -> Iterator[str]:
    yield _title(Text("mode", "模式"), top)
    changes = [e for e in facts.recording.events if e.kind is EventKind.MODE]
    ends = [*(facts.second(event.at_ns) for event in changes[1:]), frame.end_s]
    for event, end in zip(changes, ends, strict=False):  # without a change there is nothing to end
        begin = facts.second(event.at_ns)
        if end < frame.begin_s or begin > frame.end_s:
            continue
        left, right = frame.x(begin), frame.x(end)
        mode = Mode(event.code)
        yield (
            f'<rect x="{left:.1f}" y="{top}" width="{max(1.0, right - left):.1f}" height="{_BAR}" '
            f'fill="{_MODE_COLOURS[mode]}"/>'
        )
        if right - left > _LETTER * len(mode.name) + 10:
            yield f'<text x="{left + 5:.1f}" y="{top + 13}" style="fill:#fff">{mode.name}</text>'
        elif event is changes[-1]:  # what it came to is said in any case: above its bar
            yield (
                f'<text x="{right:.1f}" y="{top - 5}" text-anchor="end" '
                f'style="fill:{_MODE_COLOURS[mode]}">{mode.name}</text>'
            )


def _marks(facts: Facts, frame: _Frame, top: int) -> Iterator[str]:
    yield _title(
        Text("refused states and actions, joints held back", "被拒绝的状态与动作、被限制的关节"), top
    )
    times = [facts.second(e.at_ns) for e in facts.recording.events if e.kind is EventKind.REFUSAL]
    held = facts.begun[facts.held_back.any(axis=1)].tolist() if len(facts.steps) else []
    for colour, moments, y in (("var(--second)", held, top + _BAR / 2), ("var(--alarm)", times, top)):
        places = {round(frame.x(at)) for at in moments if frame.begin_s <= at <= frame.end_s}
        for x in sorted(places):
            yield f'<rect x="{x}" y="{y}" width="1.5" height="{_BAR / 2}" fill="{colour}"/>'


def _draw_lane(lane: Lane, frame: _Frame, top: int) -> Iterator[str]:
    yield _title(lane.title, top, _legend(lane.curves))
    shown = [_within(curve, frame) for curve in lane.curves]
    values = np.concatenate(
        [np.array([bound.value for bound in lane.bounds], float), *(curve.values for curve in shown)]
    )
    values = values[np.isfinite(values)]
    if not values.size:
        yield f'<text x="{_LEFT + 6}" y="{top + _LANE / 2}" class="soft">-</text>'
        return
    low, high = float(values.min()), float(values.max())
    low = min(low, 0.0) if low > -1e-9 else low
    room = (high - low) * 0.06 or 0.5
    low, high = low - room, high + room

    def y(value: float) -> float:
        return top + _LANE * (1 - (value - low) / (high - low))

    yield (
        f'<rect x="{_LEFT}" y="{top}" width="{frame.width - _LEFT - _RIGHT}" height="{_LANE}" '
        'fill="none" stroke="var(--soft)" stroke-opacity="0.4"/>'
    )
    for value in (low + room, high - room):
        place = f'x="{_LEFT - 5}" y="{y(value) + 4:.1f}"'
        yield f'<text {place} text-anchor="end" class="soft">{value:.3g}</text>'
    for bound in lane.bounds:
        yield (
            f'<line x1="{_LEFT}" x2="{frame.width - _RIGHT}" y1="{y(bound.value):.1f}" '
            f'y2="{y(bound.value):.1f}" stroke="var(--alarm)" stroke-opacity="0.6"/>'
        )
        for language, name in (("en", bound.name.en), ("zh", bound.name.zh)):
            yield (
                f'<text x="{_LEFT + 4}" y="{y(bound.value) - 3:.1f}" class="{language}" '
                f'style="fill:var(--alarm);font-size:10px">{name} {bound.value:.3g}</text>'
            )
    for curve in shown:
        points = " ".join(
            f"{frame.x(at):.1f},{y(value):.1f}"
            for at, value in zip(curve.times.tolist(), curve.values.tolist(), strict=True)
            if value - value == 0
        )
        dash = ' stroke-dasharray="5 4"' if curve.dashed else ""
        yield f'<polyline points="{points}" fill="none" stroke="{curve.colour}" stroke-width="1.4"{dash}/>'


def _within(curve: Curve, frame: _Frame) -> Curve:
    """The part that is shown; of each pixel its least and its greatest value, in order of time."""
    shown = (curve.times >= frame.begin_s) & (curve.times <= frame.end_s)
    times, values = curve.times[shown], curve.values[shown]
    room = 2 * (frame.width - _LEFT - _RIGHT)
    if len(times) <= room:
        return replace(curve, times=times, values=values)
    kept: list[int] = []
    for part in np.array_split(np.arange(len(times)), room // 2):
        finite = part[np.isfinite(values[part])]
        if len(finite):
            kept += sorted({int(finite[values[finite].argmin()]), int(finite[values[finite].argmax()])})
    return replace(curve, times=times[kept], values=values[kept])


def _axis(frame: _Frame, top: int) -> Iterator[str]:
    span = frame.end_s - frame.begin_s
    step = next(step for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 1e9) if span / step <= frame.width / 90)
    first = int(np.ceil(frame.begin_s / step))
    for number in range(first, int(frame.end_s / step) + 1):
        at = number * step
        yield f'<text x="{frame.x(at):.1f}" y="{top + 12}" text-anchor="middle" class="soft">{at:g} s</text>'


def _legend(curves: Sequence[Curve]) -> str:
    return "".join(
        f'<tspan dx="14" style="fill:{curve.colour}">{_STROKES[curve.dashed]} {escape(curve.name)}</tspan>'
        for curve in curves
        if curve.name
    )


def _title(text: Text, top: int, legend: str = "") -> str:
    return "".join(
        f'<text x="{_LEFT}" y="{top - 5}" class="{name} soft">{escape(value)}{legend}</text>'
        for name, value in (("en", text.en), ("zh", text.zh))
    )
