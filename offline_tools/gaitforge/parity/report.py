"""A comparison for people, for programs, and as a picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from gaitd.bundle.read import Bundle
from gaitd.policy.manifest import Manifest
from gaitd.policy.pipeline import PolicyPipeline
from gaitd.policy.places import find_places
from gaitd.policy.replay import replay
from gaitd.policy.sources import JOINT_TERMS
from gaitforge.common import console
from gaitforge.parity.capture import Capture
from gaitforge.parity.findings import Comparison, Finding, PartResult

HEAD = ["part", "largest difference", "allowed", "result"]
SHOWN = 6
"""Names that a line spells out."""


def in_words(comparison: Comparison, manifest: Manifest) -> str:
    """The table, the differences and the proposed change, several lines."""
    lines = [console.table([HEAD, *rows(comparison, manifest)]), "", *differences(comparison, manifest)]
    still = [part for part in comparison.parts if part.still]
    for part in still:
        lines.append(f"note: {part.name}: {_names(part.still)} did not move in the capture: not proven")
    lines += [f"note: {note}" for note in comparison.notes]
    if comparison.change:
        lines += ["", "proposed change of the manifest:", "", _indented(snippet(comparison))]
        if comparison.stats is not None:
            lines.append("with its obs_stats.npz: --stats FILE writes it")
        left = comparison.left_after_change
        if left is not None:
            remains = "; ".join(f"{_place(f, manifest)}: {f.kind.value}" for f in left)
            lines.append(
                f"tried: with it {'all terms are equal' if not left else 'there remains ' + remains}"
            )
    count = len(comparison.findings)
    lines.append("equal" if comparison.equal else f"{count} difference{'s' if count > 1 else ''}")
    return "\n".join(lines)


def rows(comparison: Comparison, manifest: Manifest) -> list[list[str]]:
    """One row for each part, as HEAD names its columns."""
    made = []
    terms = len(manifest.observation.terms)
    for index, part in enumerate(comparison.parts):
        found = [f for f in comparison.findings if _is_of(f, index, part, terms)]
        result = ", ".join(dict.fromkeys(finding.kind.value for finding in found))
        made.append([part.name, _figure(part.error), f"{part.allowed:.2g}", result or _verdict(part)])
    return made


def differences(comparison: Comparison, manifest: Manifest) -> list[str]:
    """One line for each difference: where, of which kind, and its figures."""
    return [f"{_place(f, manifest)}: {f.kind.value}: {f.text}" for f in comparison.findings]


def snippet(comparison: Comparison) -> str:
    """The change as YAML."""
    text: str = yaml.safe_dump(comparison.change, sort_keys=False, default_flow_style=None, width=100)
    return text.rstrip()


def as_json(comparison: Comparison, manifest: Manifest, capture: Capture) -> dict[str, Any]:
    """The comparison as plain values."""

    def plain(finding: Finding) -> dict[str, Any]:
        term = None if finding.term is None else manifest.observation.terms[finding.term].term
        return {
            "part": finding.part,
            "term": term,
            "term_index": finding.term,
            "kind": finding.kind.value,
            "values": list(finding.values),
            "text": finding.text,
        }

    left = comparison.left_after_change
    return {
        "equal": comparison.equal,
        "capture": {"writer": capture.meta.writer, "steps": len(capture)},
        "parts": [
            {
                "name": part.name,
                "largest_difference": None if math.isnan(part.error) else part.error,
                "allowed": part.allowed,
                "not_moved": list(part.still),
            }
            for part in comparison.parts
        ],
        "differences": [plain(finding) for finding in comparison.findings],
        "change": comparison.change,
        "left_after_change": None if left is None else [plain(finding) for finding in left],
        "notes": comparison.notes,
    }


def plot(comparison: Comparison, bundle: Bundle, capture: Capture, path: Path) -> None:
    """Draw, for each term, its value that differs most: the trainer's and gaitd's, over time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    manifest = bundle.manifest
    places = find_places(manifest)
    captured = capture.observation
    pipeline = PolicyPipeline(manifest, bundle.obs_stats())
    ours = replay(pipeline, capture.trace(manifest), capture.action)
    if capture.meta.observation == "normalized":
        ours = np.stack([pipeline.normalize(row).copy() for row in ours])
    terms = manifest.observation.terms
    time_s = np.arange(len(capture)) * capture.meta.control_period_s
    figure, axes = pyplot.subplots(len(terms), 1, figsize=(9, 1.7 * len(terms)), sharex=True, squeeze=False)
    for index, (term, one) in enumerate(zip(terms, axes[:, 0], strict=True)):
        columns = np.flatnonzero((places.term == index) & (places.age == 0))
        columns = columns[columns < captured.shape[1]]
        if len(columns):
            worst = columns[np.abs(captured[:, columns] - ours[:, columns]).max(axis=0).argmax()]
            one.plot(time_s, captured[:, worst], color="#1b4f72", lw=1.6, label="trainer")
            one.plot(time_s, ours[:, worst], color="#c0392b", lw=0.9, ls="--", label="gaitd")
            value = int(places.value[worst])
            label = manifest.joints[value] if term.term in JOINT_TERMS else f"[{value}]"
            kinds = ", ".join(f.kind.value for f in comparison.findings if f.term == index)
            one.set_title(f"{term.term} {label}: {kinds or 'equal'}", fontsize=8, loc="left")
        one.grid(alpha=0.25)
    axes[0, 0].legend(loc="upper right", fontsize=7)
    axes[-1, 0].set_xlabel("time [s]")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _is_of(finding: Finding, index: int, part: PartResult, terms: int) -> bool:
    if index < terms and part.name not in ("model", "joint target"):
        return finding.term == index
    return finding.part == {"model": "model", "joint target": "target"}.get(part.name)


def _verdict(part: PartResult) -> str:
    return "not judged" if math.isnan(part.error) else "equal" if part.error <= part.allowed else "differs"


def _place(finding: Finding, manifest: Manifest) -> str:
    words = finding.part
    if finding.term is not None and finding.term < len(manifest.observation.terms):
        words = manifest.observation.terms[finding.term].term
    return f"{words} ({_names(finding.values)})" if finding.values else words


def _names(names: tuple[str, ...]) -> str:
    return " ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3g}"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
