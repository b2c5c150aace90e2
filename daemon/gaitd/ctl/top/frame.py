"""A view as the lines of one frame: 80 columns and 24 rows are enough, more are used."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.text import Text

from gaitd.ctl.top import panels
from gaitd.ctl.top.inside import Inside
from gaitd.ctl.top.panels import BAD, GOOD, QUIET, WARN, brief, duration
from gaitd.ctl.top.watch import View
from gaitd.errors import printable
from gaitd.shared.processes import STANDBY_SLOT, WORKER_SLOT

LEAST_WIDTH = 80
_LEAST_CHART, _MOST_CHART = 3, 14
"""Rows of the charts."""
_OFF_PACE = 0.1
"""States whose distance is off by more than this share of a period are coloured."""
_WIDE = 100
"""From so many columns on there is room for a wider column on the right."""
_MODES = {"active": "bold white on green", "damping": "bold white on red", "idle": "bold black on cyan"}


def draw(view: View, width: int, height: int | None) -> list[Text]:
    """The lines; ``height`` None: as many as there is something to say."""
    width = max(width, LEAST_WIDTH)
    status = view.status
    lines = [_title(status, width, "   q quits" if height is not None else ""), _mode(view)]
    lines += [*_told(status, width), _workers(status), _session(status), _states(status, view.inside)]
    right = 31 if width < _WIDE else 40
    machine = panels.machine(view, right)
    if view.inside is None:
        lines += [Text(), Text(f" {view.left_out}", WARN), Text(), *machine]
    else:
        limits = panels.limits(view.inside, right)
        rows = _LEAST_CHART
        if height is not None:
            below = max(len(view.inside.joints) + 1, len(limits) + 1 + len(machine))
            rows = max(rows, min(height - len(lines) - 2 - below, _MOST_CHART))
        lines += panels.ages(view.inside, width, rows)
        left = None if height is None else height - len(lines)
        joints = panels.joints(view.inside, width - right - 2, left)
        gap = [Text()] if left is None or left > len(limits) + len(machine) else []
        lines += _beside(joints, [*limits, *gap, *machine], width - right)
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines if height is None else lines[:height]


def _title(status: Mapping[str, Any], width: int, hint: str) -> Text:
    policy = status["policy"]
    left = printable(f" gaitd {status['gaitd']}   {policy['name']} {policy['version']} ({policy['id'][:6]})")
    right = f"{time.strftime('%H:%M:%S')}{hint} "
    return Text(left[: width - len(right)].ljust(width - len(right)) + right, "reverse")


def _mode(view: View) -> Text:
    status, mode = view.status, view.status["mode"]
    if view.silent_s:
        line = Text.assemble(" ", (" NO ANSWER ", _MODES["damping"]))
        line.append(f" for {duration(view.silent_s)}; it was {mode}")
    else:
        line = Text.assemble(" ", (f" {mode.upper()} ", _MODES.get(mode, "reverse")))
        line.append(f" for {duration(status['mode_for_s'])}")
    if status["reason"] != "none":
        by = f", asked for by {status['damped_by']}" if status["damped_by"] else ""
        line.append(printable(f"  {status['reason']}{by}"), BAD)
    if view.inside is not None and view.inside.dampings:
        line.append("   dampings ", QUIET).append(_counts(view.inside.dampings))
    return line


def _told(status: Mapping[str, Any], width: int) -> list[Text]:
    """What a person should know, on one line or two; the reason of a damping is first."""
    told = printable("; ".join(_warnings(status)))
    colour = WARN if status["reason"] == "none" else BAD
    lines = textwrap.wrap(told, width - 2, max_lines=2, placeholder=" …") or [""]
    return [Text(f" {line}", colour) for line in lines]


def _session(status: Mapping[str, Any]) -> Text:
    line, others = Text(" session   ", QUIET), list(status["controllers"])
    if status["session"]:
        owner = status["owner"]
        line.append(printable(f"{status['session']} of {owner or 'a controller that is gone'}"))
        if owner in others:
            others.remove(owner)
    else:
        line.append("none")
    if others:
        line.append("  also connected " if status["session"] else "  connected ", QUIET)
        line.append(printable(", ".join(others)))
    return line


def _warnings(status: Mapping[str, Any]) -> Iterable[str]:
    if status["reason"] != "none" and status["detail"]:
        yield str(status["detail"])
    if status["failover"]:
        yield str(status["failover"])
    if status["last_worker"]:
        yield f"last worker: {status['last_worker']}"
    if status["worker"].get("fallback"):
        yield f"on the CPU: {status['worker']['fallback']}"
    if status["standby"] is not None and not status["standby"]["ready"]:
        yield "no standby is ready: a failure of the worker ends in damping"
    if status["rehearsal"]:
        yield "daemon.rehearsal is on: not for walking"
    missing = [name for settings in status["missing_realtime"].values() for name in settings]
    if missing:
        yield f"no real time: {', '.join(dict.fromkeys(missing))} (sudo gaitctl doctor)"
    if status["refused"]:
        yield f"refused: {_counts(status['refused'])}"


def _workers(status: Mapping[str, Any]) -> Text:
    """The holder of the joints is marked."""
    line = Text(" workers  ", QUIET)
    rows = [(each["name"], status["holder"], each) for each in status["policies"][1:] if each["walks"]]
    rows += [("worker", WORKER_SLOT, status["worker"]), ("standby", STANDBY_SLOT, status["standby"])]
    for name, slot, worker in rows:
        if worker is None:
            continue
        line.append("▶" if slot == status["holder"] and status["mode"] == "active" else " ", GOOD)
        line.append(name, GOOD if worker["ready"] else BAD)
        line.append("" if worker["ready"] else " NOT READY", BAD)
        again = f", start {worker['starts']}" if worker["starts"] > 1 else ""
        line.append(printable(f" {worker['backend']}, pid {worker['pid']}{again}  "))
    if status["standby"] is None:
        line.append(" no standby", QUIET)
    return line


def _states(status: Mapping[str, Any], inside: Inside | None) -> Text:
    """How often they come, and what became of them."""
    counters, line = status["counters"], Text(" states    ", QUIET)
    interval_ms, period_ms = status["state_interval_s"] * 1e3, status["period_s"] * 1e3
    off = interval_ms and abs(interval_ms / period_ms - 1.0) > _OFF_PACE
    line.append(f"{interval_ms:.2f}" if interval_ms else "?", WARN if off else "")
    line.append(f"/{period_ms:.2f} ms")
    counts = {"late": counters["late_steps"], "missed": counters["missed"]}
    counts["refused"] = sum(status["refused"].values())
    if inside is not None:
        line.append("  steps ", QUIET).append(f"{inside.steps_per_s:.1f}/s")
        counts["clamped"] = sum(inside.clamped.values())
    for name, count in counts.items():
        line.append(f" {name} ", QUIET).append(brief(count), WARN if count else "")
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
