"""Why one state or action was refused, as a value that travels in COMMAND and in the reply to status."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gaitd.wire.generated import CAUSE_REASONS, CAUSE_TEXTS, CAUSE_UNITS, CauseKind, Reason

_OPTIONAL_PART = re.compile(r"\[(.*?)\]")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Cause:
    """What was refused, and by which numbers."""

    kind: CauseKind
    joint: int | None = None
    """Index of the joint that the cause is about; on the wire in the controller's order."""
    number: float | None = None
    """What was measured or asked for, in the kind's unit."""
    bound: float | None = None
    """What it was held against."""

    @property
    def reason(self) -> Reason:
        """What the guardian gives as its reason; NONE for a kind of a later gaitd."""
        return CAUSE_REASONS.get(self.kind, Reason.NONE)

    def text(self, joints: Sequence[str]) -> str:
        """One line for people; ``joints`` are the names in the order of ``joint``."""
        unit = CAUSE_UNITS.get(self.kind, "")
        values: dict[str, str] = {}
        if self.joint is not None:
            values["joint"] = joints[self.joint]
        for name, value in (("number", self.number), ("bound", self.bound)):
            if value is not None:
                values[name] = f"{value:.6g} {unit}".rstrip()

        def part(match: re.Match[str]) -> str:
            known = all(name in values for name in _PLACEHOLDER.findall(match[1]))
            return match[1].format(**values) if known else ""

        template = CAUSE_TEXTS.get(self.kind, f"cause {int(self.kind)} of a later gaitd")
        return _OPTIONAL_PART.sub(part, template)


NO_CAUSE = Cause(CauseKind.NONE)
INFERENCE_FAILED = (Reason.BACKEND_ERROR, Reason.ACTION_INVALID)
"""Reasons of what is the worker's own: no state is to blame."""
