"""Findings as a worker would have written them."""

from __future__ import annotations

from gaitd.shared.findings import Finding
from gaitd.wire.causes import Cause
from gaitd.wire.generated import CauseKind


def found(at_ns: int, kind: CauseKind, epoch: int = 5, text: str = "") -> Finding:
    """A refusal or rejection in the session with that epoch."""
    return Finding(at_ns, epoch, Cause(kind), text)
