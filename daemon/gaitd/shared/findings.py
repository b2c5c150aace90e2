"""Why a worker refused a state or rejected an action, on its way through its memory to the guardian."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gaitd.shared.checked_block import CheckedBlock, size_of
from gaitd.wire.causes import Cause
from gaitd.wire.generated import CauseKind

MAX_TEXT_BYTES = 240
_FIELDS = np.dtype(
    [
        ("count", "<u8"),
        ("at_ns", "<u8"),
        ("epoch", "<u8"),
        ("kind", "<u8"),
        ("joint", "<i8"),
        ("number", "<f8"),
        ("bound", "<f8"),
        ("text", f"S{MAX_TEXT_BYTES}"),
    ]
)
BYTES = 8 + size_of(_FIELDS)
LAYOUT = str(_FIELDS.descr)


@dataclass(frozen=True, slots=True)
class Finding:
    """One refusal or rejection."""

    at_ns: int
    """CLOCK_MONOTONIC."""
    epoch: int
    """Of the session in which it happened."""
    cause: Cause
    text: str = ""
    """What the inference runtime said, for a backend error."""


class FindingBlock:
    """The newest finding of one kind: a count, and behind it the finding."""

    def __init__(self, mapped: memoryview, joint_count: int) -> None:
        """``mapped``: BYTES of a worker's memory."""
        self._joint_count = joint_count
        self._count = mapped[:8].cast("Q")
        self._block = CheckedBlock(mapped[8:], _FIELDS)
        self._seen = 0
        self._newest: Finding | None = None

    def write(self, finding: Finding) -> None:
        """Worker: this is the newest one."""
        count, cause = self._count[0] + 1, finding.cause
        self._block.write(
            count=count,
            at_ns=finding.at_ns,
            epoch=finding.epoch,
            kind=int(cause.kind),
            joint=-1 if cause.joint is None else cause.joint,
            number=np.nan if cause.number is None else cause.number,
            bound=np.nan if cause.bound is None else cause.bound,
            text=finding.text.encode()[:MAX_TEXT_BYTES],
        )
        self._count[0] = count

    def read(self) -> Finding | None:
        """The newest finding that is whole, None before the first. One in the making is read next time."""
        count = self._count[0]
        if count != self._seen:
            block = self._block.read()
            if block is not None and block["count"] == count:
                self._seen, self._newest = count, self._finding(block)
        return self._newest

    def _finding(self, block: np.void) -> Finding:
        joint, number, bound = int(block["joint"]), float(block["number"]), float(block["bound"])
        cause = Cause(
            CauseKind.received(int(block["kind"])),
            joint if 0 <= joint < self._joint_count else None,
            None if np.isnan(number) else number,
            None if np.isnan(bound) else bound,
        )
        text = bytes(block["text"]).decode(errors="replace")
        return Finding(int(block["at_ns"]), int(block["epoch"]), cause, text)
