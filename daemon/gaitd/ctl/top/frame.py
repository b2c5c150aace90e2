"""A view as the lines of one frame: 80 columns and 24 rows are enough, more are used."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.text import Text

from gaitd.ctl.top import panels
from gaitd.ctl.top.inside import Inside
from gaitd.ctl.top.panels import BAD, GOOD, QUIET, WARN, duration
from gaitd.ctl.top.watch import View
from gaitd.errors import printable

LEAST_WIDTH = 80
_LEAST_ROWS = 24
_WIDE = 100
"""From so many columns on there is room for a wider column on the right."""
_MODES = {"active": "bold white on green", "damping": "bold white on red", "idle": "bold black on cyan"}


def draw(view: View, width: int, height: int | None) -> list[Text]:
    """The lines; ``height`` None: as many as there is something to say."""
    width = max(width, LEAST_WIDTH)
    lines = [_title(view, width), *_status(view)]
    right = 30 if width < _WIDE else 40
    machine = panels.machine(view, right)
    if view.inside is None:
        lines += [Text(), Text(f" {view.left_out}", WARN), Text(), *machine]
    else:
        extra = 0 if height is None else max(0, height - _LEAST_ROWS)
        lines += panels.ages(view.inside, width, 3 + extra // 4)
        left = None if height is None else height - len(lines)
        joints = panels.joints(view.inside, width - right - 2, left)
        limits = panels.limits(view.inside, right)
        gap = [Text()] if left is None or left > len(limits) + len(machine) else []
        lines += _beside(joints, [*limits, *gap, *machine], width - right)
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines if height is None else lines[:height]


def _title(view: View, width: int) -> Text:
    status = view.status
    policy = status["policy"]
    left = f" gaitd {status['gaitd']}   {policy['name']} {policy['version']} ({policy['id'][:6]})"
    right = f"{time.strftime('%H:%M:%S')}   q quits "
    left = printable(left)[: width - len(right)]
    return Text(left + " " * (width - len(left) - len(right)) + right, "reverse")


def _status(view: View) -> list[Text]:
    """Five lines: mode, reason and warnings, workers, session, states."""
    status, inside = view.status, view.inside
    mode = status["mode"]
    first = Text.assemble(" ", (f" {mode.upper()} ", _MODES.get(mode, "reverse")))
    first.append(f" for {duration(status['mode_for_s'])}")
    if view.silent_s:
        silence = f" for {duration(view.silent_s)}; it was {mode}"
        first = Text.assemble(" ", (" NO ANSWER ", _MODES["damping"]), silence)
    if status["reason"] != "none":
        by = f", asked for by {status['damped_by']}" if status["damped_by"] else ""
        first.append(printable(f"  {status['reason']}{by}"), BAD)
    bad = status["reason"] != "none"
    second = Text(" " + printable("; ".join(_warnings(status))), BAD if bad else WARN)
    session = Text(" session   ", QUIET)
    session.append(printable(f"{status['session']} of {status['owner'] or 'a controller that is gone'}"))
    if not status["session"]:
        session = Text.assemble((" session   ", QUIET), "none")
    session.append("   controllers ", QUIET).append(printable(", ".join(status["controllers"]) or "none"))
    if inside is not None and inside.dampings:
        session.append("   dampings ", QUIET).append(_counts(inside.dampings))
    return [first, second, _workers(status), session, _states(status, inside)]


def _warnings(status: Mapping[str, Any]) -> Iterable[str]:
    if status["reason"] != "none" and status["detail"]:
        yield str(status["detail"])
    if status["failover"]:
        yield f"last worker: {status['failover']}"
    if status["worker"].get("fallback"):
        yield f"on the CPU: {status['worker']['fallback']}"
    if status["standby"] is not None and not status["standby"]["ready"]:
        yield "no standby is ready: a failure of the worker ends in damping"
    if status["rehearsal"]:
        yield "daemon.rehearsal is on: not for walking"
    missing = [name for settings in status["missing_realtime"].values() for name in settings]
    if missing:
        yield f"no real time: {', '.join(dict.fromkeys(missing))} (sudo gaitctl doctor)"


def _workers(status: Mapping[str, Any]) -> Text:
    """The holder of the joints is marked."""
    line = Text(" workers  ", QUIET)
    on_standby = bool(status["failover"])
    for name, holds in (("worker", not on_standby), ("standby", on_standby)):
        worker = status[name]
        if worker is None:
            continue
        line.append("▶" if holds and status["mode"] == "active" else " ", GOOD)
        line.append(f"{name} ")
        line.append("ready" if worker["ready"] else "NOT READY", GOOD if worker["ready"] else BAD)
        line.append(printable(f" {worker['backend']} pid {worker['pid']} start {worker['starts']}   "))
    if status["standby"] is None:
        line.append(" no standby", QUIET)
    return line


def _states(status: Mapping[str, Any], inside: Inside | None) -> Text:
    counters, line = status["counters"], Text(" states    ", QUIET)
    interval_ms, period_ms = status["state_interval_s"] * 1e3, status["period_s"] * 1e3
    off = interval_ms and abs(interval_ms / period_ms - 1.0) > 0.1
    line.append(f"{interval_ms:.2f}" if interval_ms else "?", WARN if off else "")
    line.append(f" of {period_ms:.2f} ms   ")
    if inside is not None:
        line.append("steps ", QUIET).append(f"{inside.steps_per_s:.1f}/s   ")
    refused = sum(status["refused"].values())
    clamped = 0 if inside is None else sum(inside.clamped.values())
    for name, count in (
        ("late", counters["late_steps"]),
        ("missed", counters["missed"]),
        ("refused", refused),
        ("clamped", clamped),
    ):
        line.append(f"{name} ", QUIET).append(f"{count}   ", WARN if count else "")
    worst = max(status["refused"].items(), key=lambda each: each[1], default=None)
    if worst is not None:
        line.append(f"mostly {worst[0]}", WARN)
    return line


def _beside(left: Sequence[Text], right: Sequence[Text], width: int) -> list[Text]:
    """Two columns; the left one has ``width`` letters."""
    lines = []
    for place in range(max(len(left), len(right))):
        line = left[place].copy() if place < len(left) else Text()
        line.truncate(width, pad=True)
        if place < len(right):
            line.append_text(right[place])
        lines.append(line)
    return lines


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
