"""Reports as text: one, or several side by side, so that boards can be compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gaitd.errors import printable

WIDTH = 34
"""Of a column."""


def side_by_side(reports: list[dict[str, Any]]) -> str:
    """A row for each value, a column for each report; below it what doctor and rehearsal found."""
    tables = [dict(_values(report)) for report in reports]
    names = list(dict.fromkeys(name for table in tables for name in table))
    lines = []
    for name in names:
        cells = [table.get(name, "-")[: WIDTH if len(tables) > 1 else None] for table in tables]
        lines.append(f"{name:24}" + " ".join(f"{cell:{WIDTH}}" for cell in cells).rstrip())
    for number, report in enumerate(reports, 1):
        title = f" of report {number}" if len(reports) > 1 else ""
        lines += ["", f"findings of doctor{title}:", *_findings(report)]
        if rows := report.get("rehearsal", {}).get("rows"):
            lines += ["", f"rehearsal{title}:", *(_rehearsed(row) for row in rows)]
    return "\n".join(map(printable, lines))


def _values(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    machine, service = report["machine"], report["service"]
    yield "board", machine["board"] or ", ".join(machine["chips"]) or machine["architecture"]
    yield "system", machine["system"]
    yield "kernel", machine["kernel"]
    yield "gaitd", f"{report['gaitd']}, Python {machine['python']}"
    yield (
        "packages",
        ", ".join(f"{name} {version}" for name, version in report["packages"].items() if version),
    )
    policy = report["policy"]
    yield "policy", policy.get("error") or f"{policy['name']} {policy['version']} ({policy['id'][:16]})"
    yield "service", service.get("error") or f"{service['mode']} on {service['worker']['backend']}"
    if fallback := service.get("worker", {}).get("fallback"):
        yield "on the CPU because", fallback
    selftest = report.get("selftest", {})
    if "error" in selftest:
        yield "selftest", selftest["error"]
    for name, entry in selftest.get("backends", {}).items():
        yield (
            f"selftest {name}",
            entry.get("error")
            or (f"error {entry['max_error']:.2g} of {entry['tolerance']:.2g}, {_times(entry['latency'])}"),
        )
    for entry in report.get("bench", []) if isinstance(report.get("bench"), list) else []:
        core = f" core {entry['npu_core']}" if entry["npu_core"] is not None else ""
        yield (
            f"{entry['backend']}{core} {entry['load']}",
            (
                _times(entry["latency"])
                if "latency" in entry
                else entry.get("skipped") or entry.get("failed") or ""
            ),
        )


def _times(latency: dict[str, float]) -> str:
    return f"p50 {latency['p50_us']:.0f} p99 {latency['p99_us']:.0f} max {latency['max_us']:.0f} us"


def _findings(report: dict[str, Any]) -> list[str]:
    bad = [check for check in report["doctor"] if check["level"] != "OK"]
    return [f"{check['level']:4}  {check['check']:12}  {check['found']}" for check in bad] or ["none"]


def _rehearsed(row: dict[str, Any]) -> str:
    return f"{row['verdict']:8} {row['fault']:28} {row['measured']}"
