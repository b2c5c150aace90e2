"""The report that goes into a bundle: of this policy, and passed or accepted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from gaitd.bundle.untrusted import MAX_BUNDLE_BYTES
from gaitd.errors import GateError, InputError
from gaitd.system.plain_file import read_plain

DECISIVE = ("model", "manifest", "statistics")
"""What a verdict holds for: another file of these is another policy."""


class Gate(msgspec.Struct):
    """The report's verdict."""

    passed: bool
    failures: list[str]


class Errors(msgspec.Struct):
    """Action errors, raw units."""

    max: float


class Loop(msgspec.Struct):
    """A precision in closed loop."""

    action_error: Errors


class Precision(msgspec.Struct):
    """What was measured of one precision."""

    action_error: Errors
    closed_loop: Loop | None

    def largest_error(self) -> float:
        """Largest action error, on recorded inputs and in closed loop."""
        return max(part.action_error.max for part in (self, self.closed_loop) if part is not None)


class Report(msgspec.Struct):
    """What packing needs of a report.json."""

    gate: Gate
    precisions: dict[str, Precision]
    made_from: dict[str, str]


def read(path: Path) -> Report:
    """Read a report.json of `gaitforge verify`. Raises InputError."""
    try:
        return msgspec.json.decode(read_plain(path, MAX_BUNDLE_BYTES), type=Report)
    except msgspec.DecodeError as error:
        raise InputError(f"{path} is no report of gaitforge verify: {error}") from error


def admit(path: Path, report: Report, digests: Mapping[str, str], accepted: str | None) -> bytes:
    """Return the report as it goes into the bundle, with why a failed gate was accepted.

    ``digests`` are those of DECISIVE, as far as the policy has them. Raises InputError for a report of
    another policy, GateError for a failed one that nobody accepts.
    """
    failed = "" if report.gate.passed else f"; and its gate failed ({len(report.gate.failures)} failures)"
    for name in DECISIVE:
        told, here = report.made_from.get(f"sha256 of {name}"), digests.get(name)
        if told and not here:
            raise InputError(
                f"{path} was made with {name} of the observations, and here are none: give --obs-stats, as "
                "to gaitforge verify"
            )
        if told != here:
            differs = f"{told[:16]}..., here it is {here[:16]}..." if told and here else "not the same"
            raise InputError(
                f"{path} was made from another {name} (sha256 {differs}): run gaitforge verify again with "
                f"what is to be packed{failed}"
            )
    content = read_plain(path, MAX_BUNDLE_BYTES)
    document: dict[str, Any] = json.loads(content)
    if report.gate.passed:
        if accepted is not None:
            raise InputError(f"--accept-failed-gate: the gate of {path} passed, there is nothing to accept")
        return content
    if not accepted:
        raise GateError(
            f"the gate of {path} failed: {'; '.join(report.gate.failures)}; make the policy better, or "
            'pack it with --accept-failed-gate "why"'
        )
    document["gate"]["accepted"] = accepted
    return (json.dumps(document, indent=2) + "\n").encode()
