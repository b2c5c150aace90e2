"""The parts of a frame: the age of commands, joints, limits, the machine."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt
from rich.text import Text

from gaitd.ctl.top import chart
from gaitd.ctl.top.inside import WINDOW_NS, Inside, Pose
from gaitd.ctl.top.watch import View
from gaitd.errors import printable

EDGES_OF_PERIOD = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Of the histogram, as multiples of the control period."""
STRONG, QUIET, BAD, WARN, GOOD = "bold", "dim", "red", "yellow", "green"
_EDGE_WIDTH, _SCALE_WIDTH = 4, 9
_NEAR, _CLOSE = 0.1, 0.25
"""Headroom below it is red, yellow."""
_FAR_NS = 1_000_000_000
"""A pose older than this is told as old."""
_WARM, _HOT = 80, 95
"""Degrees Celsius."""
Float64Array = npt.NDArray[np.float64]


def ages(inside: Inside, width: int, rows: int) -> list[Text]:
    """A line of numbers, the histogram of all beside the longest over time, and their scales."""
    ages_ms = inside.ages.age_ns / 1e6
    head = Text("─ age of a command, last 60 s  ", QUIET)
    if len(ages_ms):
        p50, p99, longest = np.percentile(ages_ms, (50, 99, 100))
        head.append(f"p50 {p50:.2f}  p99 {p99:.2f}  max ", STRONG)
        head.append(f"{longest:.2f}", _of_age(longest, inside)).append(" ms ", STRONG)
    else:
        head.append("none: nothing is answered ", QUIET)
    head.append("─" * max(0, width - len(head)), QUIET)
    histogram = _histogram(inside, ages_ms, rows)
    trend = _trend(inside, ages_ms, width - len(histogram[0]), rows)
    return [head, *(left.append_text(right) for left, right in zip(histogram, trend, strict=True))]


def _histogram(inside: Inside, ages_ms: Float64Array, rows: int) -> list[Text]:
    """Its heights are logarithms, so that the one late command is seen among thousands."""
    edges = [factor * inside.period_s * 1e3 for factor in EDGES_OF_PERIOD]
    counts = np.log1p(chart.histogram(ages_ms, edges))
    columns = [chart.column(count / max(counts.max(), 1e-9), rows) for count in counts]
    colours = [_of_age(above * 1.001, inside) for above in (0.0, *edges)]
    lines = []
    for row in range(rows):
        line = Text(" ")
        for cells, colour in zip(columns, colours, strict=True):
            line.append(cells[row] * (_EDGE_WIDTH - 1), colour).append(" ")
        lines.append(line.append(" "))
    labels = "".join(f"{_short(edge):>{_EDGE_WIDTH}}" for edge in edges)
    return [*lines, Text(labels.ljust(_EDGE_WIDTH * len(columns) + 2), QUIET)]


def _trend(inside: Inside, ages_ms: Float64Array, width: int, rows: int) -> list[Text]:
    """The longest of each part of the last minute, the present at the right."""
    span = width - _SCALE_WIDTH
    longest = chart.longest_of_each(inside.ages.sent_ns, ages_ms, inside.now_ns, WINDOW_NS, span)
    top = max([*longest, inside.period_s * 1e3 / 10])
    columns = [chart.column(value / top, rows) for value in longest]
    alike = [
        (colour, list(run)) for colour, run in groupby(range(span), lambda at: _of_age(longest[at], inside))
    ]
    lines = []
    for row in range(rows):
        line = Text()
        for colour, run in alike:
            line.append("".join(columns[at][row] for at in run), colour)
        scale = f" {top:.3g} ms" if row == 0 else " 0" if row == rows - 1 else ""
        lines.append(line.append(scale, QUIET))
    return [*lines, Text("60 s ago" + "now".rjust(span - 8), QUIET)]


def _of_age(age_ms: float, inside: Inside) -> str:
    """Its colour: a command older than a period is late, at the deadline it is none any more."""
    if age_ms > inside.deadline_s * 1e3 / 2:
        return BAD
    return WARN if age_ms > inside.period_s * 1e3 else GOOD


def joints(inside: Inside, width: int, rows: int | None) -> list[Text]:
    """Target against measured, and where in its range; ``rows`` None: all of them."""
    pose = inside.pose
    if pose is None:
        return [_heading("joints", width), Text(" shown from the first session on", QUIET)]
    shown = _shown(pose, None if rows is None else rows - 1)
    names = _short_names(inside.joints)
    name_width = min(max(11, *map(len, names)), width - 36)
    gauge_width = width - name_width - 27
    note = f"{len(shown)} of {len(names)}" if len(shown) < len(names) else "range"
    if inside.now_ns - pose.at_ns > _FAR_NS:
        note = f"{_whole(inside.now_ns - pose.at_ns)} ago"
    goal = "target" if pose.answered else "default"
    head = Text("─ joints, rad ".ljust(name_width + 2, "─"), QUIET)
    lines = [head.append(f"{goal:>7} measured    off  {note}", QUIET)]
    off = pose.measured - pose.target
    worst = int(np.argmax(np.abs(off)))
    for joint in shown:
        target, measured = float(pose.target[joint]), float(pose.measured[joint])
        low, high = float(inside.low[joint]), float(inside.high[joint])
        line = Text(f" {_fitted(names[joint], name_width):<{name_width}} ")
        line.append(f"{target:+7.3f} {measured:+8.3f} ")
        line.append(f"{off[joint]:+6.3f}  ", STRONG if joint == worst else "")
        at_its_end = min(target - low, high - target) < _NEAR / 2 * (high - low)
        line.append(chart.gauge(low, high, target, measured, gauge_width), WARN if at_its_end else "")
        lines.append(line)
    return lines


def _short_names(names: Sequence[str]) -> list[str]:
    """Without an ending that all of them have, as in ``_joint``."""
    first = names[0]
    endings = [first[place:] for place, letter in enumerate(first) if letter == "_" and place]
    common = (ending for ending in endings if all(name.endswith(ending) for name in names))
    cut = next(common, "") if len(names) > 1 else ""
    return [name.removesuffix(cut) for name in names]


def _fitted(name: str, width: int) -> str:
    """Both ends of a name tell joints apart."""
    name = printable(name)
    if len(name) <= width:
        return name
    ending = width // 2
    return f"{name[: width - ending - 1]}…{name[-ending:]}"


def _shown(pose: Pose, rows: int | None) -> list[int]:
    """All joints where they fit, else those that follow worst, in the policy's order."""
    count = len(pose.target)
    if rows is None or count <= rows:
        return list(range(count))
    furthest = np.argsort(-np.abs(pose.measured - pose.target), kind="stable")[: max(rows, 0)]
    return sorted(furthest.tolist())


def limits(inside: Inside, width: int) -> list[Text]:
    """How near, the nearest first."""
    lines = [_heading("headroom, last 10 s", width)]
    if not inside.headroom:
        lines.append(Text(" no command was sent in them", QUIET))
    bar_width = width - 22
    for limit, share in sorted(inside.headroom.items(), key=lambda each: each[1]):
        colour = BAD if share < _NEAR else WARN if share < _CLOSE else GOOD
        lines.append(Text.assemble(f" {limit:<14} ", (chart.bar(share, bar_width), colour), f"{share:5.0%} "))
    return lines


def machine(view: View, width: int) -> list[Text]:
    """What the kernel tells of it; the most important first."""
    values = view.machine
    lines = [_heading("machine", width)]

    def add(name: str, text: str, colour: str = "") -> None:
        lines.append(Text.assemble((f" {name:<7} ", QUIET), (printable(text), colour)))

    loads = [f"{100 * values[name]:.0f}" for name in sorted(values) if name.startswith("npu_core")]
    clock, most = values.get("npu_frequency_hertz", 0.0), values.get("npu_frequency_max_hertz", 0.0)
    if clock or loads:
        parts = [*([f"{clock / 1e6:.0f} MHz"] if clock else []), *loads, *(["%"] if loads else [])]
        add("NPU", " ".join(parts), WARN if clock < most else "")
    clocks = [values[name] for name in sorted(values) if name.startswith("cpu_")]
    if clocks:
        add("CPU", " ".join(f"{clock / 1e6:.0f}" for clock in clocks) + " MHz")
    zones = {name[12:]: value for name, value in values.items() if name.startswith("temperature_")}
    if zones:
        hottest = sorted(zones.items(), key=lambda each: -each[1])
        fits = max(1, (width - 10) // 18)
        text = ", ".join(f"{value:.0f} °C {name.removesuffix('-thermal')}" for name, value in hottest[:fits])
        add("heat", text, BAD if hottest[0][1] >= _HOT else WARN if hottest[0][1] >= _WARM else "")
    if view.cooling:
        name, share = max(view.cooling.items(), key=lambda each: each[1])
        add("cooling", f"{share:.0%} {name}")
    if "resident_bytes" in values:
        rate = view.preempted_per_s
        preempted = "" if rate is None else f", preempted {brief(round(rate))}/s"
        add("holder", f"{values['resident_bytes'] / 1e6:.0f} MB{preempted}")
    if len(lines) == 1:
        lines.append(Text(" nothing is known of it", QUIET))
    return lines


def _heading(text: str, width: int) -> Text:
    return Text(f"─ {text} ".ljust(width, "─"), QUIET)


def _short(value: float) -> str:
    """Three letters for a number of milliseconds."""
    if value < 1:
        return f"{value:.1f}".lstrip("0")
    return f"{value:.1f}".removesuffix(".0") if value < 10 else f"{value:.0f}"


def brief(count: int) -> str:
    """Four letters or less."""
    if count < 10_000:
        return str(count)
    return f"{count / 1e3:.0f}k" if count < 1_000_000 else f"{count / 1e6:.0f}M"


def _whole(duration_ns: int) -> str:
    seconds = duration_ns // 1_000_000_000
    if seconds < 100:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 6000 else f"{seconds // 3600} h"


def duration(seconds: float) -> str:
    """For people."""
    whole = int(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
