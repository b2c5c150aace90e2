"""What parity found: differences by term, value and kind, and the comparison as a whole."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

from gaitd.policy.manifest import Float32Array


class Kind(str, enum.Enum):
    """How gaitd differs from the trainer."""

    FACTOR = "factor"
    SIGN = "sign"
    PERMUTATION = "permutation"
    DEFAULT_POSE_MISSING = "default pose missing"
    """The trainer subtracts it once more than gaitd."""
    DEFAULT_POSE_TWICE = "default pose twice"
    """gaitd subtracts it once more than the trainer."""
    DEFAULT_POSE = "default pose"
    """Another pose."""
    OFFSET = "offset"
    HISTORY_REVERSED = "history reversed"
    HISTORY_LAYOUT = "history layout"
    HISTORY_LENGTH = "history length"
    HISTORY_FILL = "history fill"
    LATE = "one step late"
    STEPS_LATE = "several steps late"
    FRAME = "frame of reference"
    NORMALIZER_MISSING = "normalizer missing"
    NORMALIZER_DOUBLED = "normalizer doubled"
    NORMALIZER = "normalizer"
    """Other statistics."""
    CLIPPED = "clipped"
    SQUASHED = "squashed"
    """tanh on one of the two sides."""
    NOISE = "noise only"
    SIZE = "size"
    PERIOD = "control period"
    UNEXPLAINED = "unexplained"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True)
class Finding:
    """One difference."""

    part: str
    """observation, model, target or capture."""
    kind: Kind
    text: str
    term: int | None = None
    """Index of the manifest's term."""
    values: tuple[str, ...] = ()
    """Joints, or numbers of values; empty for the whole part."""


@dataclass(frozen=True)
class PartResult:
    """One term, the model or the targets: how far apart the two are."""

    name: str
    error: float
    """Largest difference; NaN where it was not judged."""
    allowed: float
    still: tuple[str, ...] = ()
    """Values that did not move during the capture: what they are is not proven."""


@dataclass
class Comparison:
    """The whole result."""

    parts: list[PartResult] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    change: dict[str, Any] = field(default_factory=dict)
    """Keys of the manifest to set."""
    stats: tuple[Float32Array, Float32Array] | None = None
    """Normalizer statistics (mean, std) that belong to the change."""
    left_after_change: list[Finding] | None = None
    """What still differs with the change; None where none is proposed."""
    notes: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether gaitd does what the trainer did."""
        return not self.findings
