"""How long a backend takes for one inference, measured at the policy's own pace.

Paced, because a core that just slept answers several times slower than in a tight loop, and a policy sleeps
between its steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from gaitd.backends.base import Backend
from gaitd.bundle.read import Bundle

Durations = npt.NDArray[np.float64]
"""Microseconds, one for each inference."""
QUANTILES = (50.0, 90.0, 99.0, 99.9, 100.0)
BINS_PER_DECADE = 5


def measure(
    backend: Backend,
    bundle: Bundle,
    duration_s: float,
    clock_ns: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> Durations:
    """Infer the golden observations once a control period, for so long."""
    period_ns = bundle.manifest.period_ns
    pipeline = bundle.pipeline()
    observations = [pipeline.normalize(row) for row in bundle.golden()[0]]
    steps = max(1, round(duration_s * 1e9 / period_ns))
    durations = np.zeros(steps)
    backend.reset()
    next_ns = clock_ns()
    for step in range(steps):
        next_ns += period_ns
        sleep(max(0, next_ns - clock_ns()) / 1e9)
        start_ns = clock_ns()
        backend.infer(observations[step % len(observations)])
        durations[step] = (clock_ns() - start_ns) / 1000
    backend.reset()
    return durations


def summary(durations: Durations) -> dict[str, float]:
    """Count, mean and quantiles, microseconds."""
    names = ["p50_us", "p90_us", "p99_us", "p999_us", "max_us"]
    values = np.percentile(durations, QUANTILES).round(1).tolist()
    return {
        "count": len(durations),
        "mean_us": round(float(durations.mean()), 1),
        **dict(zip(names, values, strict=True)),
    }


def in_words(durations: Durations) -> str:
    """The quantiles on one line."""
    values = summary(durations)
    return "  ".join(f"{name.removesuffix('_us')} {values[name]:.0f}" for name in list(values)[2:]) + "  us"


def histogram(durations: Durations, width: int = 50) -> str:
    """Bars over a logarithmic axis of microseconds; every inference that happened shows."""
    bins = np.floor(np.log10(np.maximum(durations, 0.1)) * BINS_PER_DECADE).astype(int)
    counts = {int(edge): int((bins == edge).sum()) for edge in range(bins.min(), bins.max() + 1)}
    largest = max(counts.values())
    lines = []
    for edge, count in counts.items():
        low_us = 10 ** (edge / BINS_PER_DECADE)
        bar = "#" * max(1 if count else 0, round(count / largest * width))
        lines.append(f"{low_us:9.1f} us |{bar:{width}} {count}")
    return "\n".join(lines)
