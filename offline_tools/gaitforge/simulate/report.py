"""A run as JSON and as a few lines for a person."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from gaitforge.simulate.direct import DirectRun
from gaitforge.simulate.live import LiveRun
from gaitforge.simulate.measure import DOWN_TILT_RAD, Measures


def live_report(run: LiveRun, seed: int) -> dict[str, Any]:
    """Return the report of a run in real time, ready for JSON."""
    return {
        "mode": "live",
        "seed": seed,
        "handover_s": run.handover_s,
        **measures_report(run.measures),
        "start_monotonic_ns": run.timing.start_monotonic_ns,
        "real_time_factor": run.timing.real_time_factor,
        "tick_lateness_us": run.timing.lateness_us,
        "stalls": run.timing.stalls,
        "commands": run.commands,
        "malformed": run.malformed,
        "silences": run.silences,
    }


def direct_report(run: DirectRun) -> dict[str, Any]:
    """Return the report of a direct closed loop, ready for JSON."""
    return {
        "mode": "direct",
        "seed": run.seed,
        "handover_s": float(run.trace.handover_s),
        **measures_report(run.measures),
        "steps": run.steps,
        "rejected": run.rejected,
        "clamped": run.clamped,
    }


def measures_report(measures: Measures) -> dict[str, Any]:
    """Return the measures ready for JSON."""
    return {**asdict(measures), "outcome": measures.outcome.value}


def summary(measures: Measures) -> str:
    """Return the run in one or two lines."""
    if math.isclose(measures.duration_s, 0.0):
        return measures.outcome.value
    lines = [
        f"{measures.outcome.value}: {measures.distance_m:.2f} m in {measures.duration_s:.1f} s, "
        f"{measures.falls} falls, tilt up to {measures.max_tilt_deg:.0f} deg, "
        f"velocity error {measures.velocity_rmse_m_per_s:.2f} m/s"
    ]
    lines += [
        f"  at {descent.time_s:.2f} s it {'fell' if descent.fall else 'lay down softly'}: "
        f"{descent.speed_m_per_s:.2f} m/s downward, tilt {descent.tilt_deg:.0f} deg"
        for descent in measures.descents
    ]
    if math.radians(measures.final_tilt_deg) > DOWN_TILT_RAD:
        how = "" if measures.falls else "; it was down before it tipped over, so this counts as no fall"
        lines.append(f"  at the end it lies on its side, tilt {measures.final_tilt_deg:.0f} deg{how}")
    return "\n".join(lines)
