"""Drawings of block characters: a chart of columns, a bar, and where a joint is in its range."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_COLUMN = " ▁▂▃▄▅▆▇█"
_BAR = " ▏▎▍▌▋▊▉█"
MEASURED, TARGET, TRACK = "│", "●", "·"
_PLAIN = str.maketrans(
    {**dict.fromkeys("▁▂", "."), **dict.fromkeys("▃▄▅", ":"), **dict.fromkeys("▆▇█", "#")}
    | {**dict.fromkeys("▏▎▍", " "), **dict.fromkeys("▌▋▊▉", "#"), "─": "-", "│": "|", "●": "o", "·": "."}
    | {"▶": ">", "…": "~", "°": " "}
)


def plain(text: str) -> str:
    """The same for a terminal that shows ASCII alone."""
    return text.translate(_PLAIN).encode("ascii", "replace").decode()


def column(share: float, height: int) -> list[str]:
    """One column of a chart from its top row down; ``share`` is 0 to 1 of its height.

    What is more than nothing is seen.
    """
    eighths = round(min(max(share, 0.0), 1.0) * height * 8)
    if share > 0.0:
        eighths = max(1, eighths)
    return [_COLUMN[min(max(eighths - 8 * row, 0), 8)] for row in reversed(range(height))]


def bar(share: float, width: int) -> str:
    """A bar of ``width`` letters that is full at 1."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    return "".join(_BAR[min(max(eighths - 8 * place, 0), 8)] for place in range(width))


def gauge(low: float, high: float, target: float, measured: float, width: int) -> str:
    """Where target and measured value are between two bounds; what is beyond is at the end."""
    cells = [TRACK] * width

    def place(value: float) -> int:
        share = (value - low) / (high - low) if high > low else 0.5
        return round(min(max(share, 0.0), 1.0) * (width - 1)) if math.isfinite(share) else 0

    cells[place(measured)] = MEASURED
    cells[place(target)] = TARGET
    return "".join(cells)


def histogram(values: npt.NDArray[np.float64], edges: Sequence[float]) -> list[int]:
    """How many are up to each edge and above the one before; the last is of what is beyond all."""
    places = np.searchsorted(np.asarray(edges), values, side="left")
    counts: list[int] = np.bincount(places, minlength=len(edges) + 1).tolist()
    return counts


def longest_of_each(
    at_ns: npt.NDArray[np.int64], values: npt.NDArray[np.float64], until_ns: int, span_ns: int, count: int
) -> list[float]:
    """The largest value in each of ``count`` equal parts of the time before ``until_ns``; 0 where none is."""
    longest: npt.NDArray[np.float64] = np.zeros(count)
    places = count - 1 - (until_ns - at_ns) * count // span_ns
    inside = (places >= 0) & (places < count)
    np.maximum.at(longest, places[inside], values[inside])
    found: list[float] = longest.tolist()
    return found
