"""A gait as a picture: when each foot stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt


def save_gait(
    contacts: Mapping[str, npt.NDArray[np.bool_]], feet: Sequence[str], period_s: float, path: Path
) -> None:
    """Draw for each title which feet were on the floor, (t, f) at every control step, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.1 + 1.1 * len(contacts)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(contacts), 1, squeeze=False, sharex=True)
    for axis, (title, contact) in zip(axes.flat, contacts.items(), strict=True):
        for row, stands in enumerate(contact.T):
            edges = np.flatnonzero(np.diff(np.concatenate(([False], stands, [False])).astype(np.int8)))
            begins, ends = edges[::2] * period_s, edges[1::2] * period_s
            spans = list(zip(begins.tolist(), (ends - begins).tolist(), strict=True))
            axis.broken_barh(spans, (row - 0.4, 0.8), color="#0b7285")
        axis.set_yticks(range(len(feet)), feet, fontsize=7)
        axis.set_ylim(len(feet) - 0.5, -0.5)
        axis.set_xlim(0.0, len(contact) * period_s)
        axis.tick_params(axis="x", labelsize=7)
        axis.set_title(title, fontsize=9, loc="left")
    figure.supxlabel("s; a bar: the foot is on the floor", fontsize=8)
    figure.savefig(path, dpi=110)
