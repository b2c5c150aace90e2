"""What a bundle's report.json says of failovers: whether the gate walked them with the model for the NPU."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from gaitd.bundle.read import Bundle
from gaitd.errors import printable
from gaitd.policy.manifest import Manifest

REPORT = "report.json"


class _Walk(msgspec.Struct):
    kept_up: bool


class _Failovers(msgspec.Struct):
    passed: bool
    failures: list[str]
    walks: list[_Walk]


class _Report(msgspec.Struct):
    failovers: Mapping[str, _Failovers] = {}


class Walked(NamedTuple):
    """Whether the robot walked on each time, and what was found, for people."""

    passed: bool
    found: str


def failovers_walked(bundle: Bundle) -> Walked:
    """What the gate found with this bundle's model.rknn as the worker, and model.onnx as the standby.

    Each of the files is what it was: the manifest has their digests.
    """
    precision = npu_precision(bundle.manifest)
    if not bundle.has(REPORT):
        return Walked(False, f"the bundle has no {REPORT} in which the gate walked its failovers")
    try:
        report = msgspec.json.decode(bundle.read_bytes(REPORT), type=_Report)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return Walked(False, printable(f"the bundle's {REPORT} is unreadable: {error}"))
    if precision not in report.failovers:
        return Walked(
            False, f"the gate has not walked its failovers ({precision}): gaitforge verify, then pack"
        )
    found = report.failovers[precision]
    up = sum(walk.kept_up for walk in found.walks)
    if not found.passed or not found.walks or up < len(found.walks):
        why = "; ".join(found.failures) or f"the robot walked on {up} of {len(found.walks)} times"
        return Walked(False, printable(f"the gate walked its failovers, and they failed: {why}"))
    return Walked(True, f"the gate walked {up} failovers ({precision}), and the robot walked on each time")


def npu_precision(manifest: Manifest) -> str:
    """That of model.rknn as report.json names it, from how it was made (the bundle's provenance)."""
    made = manifest.provenance.get("rknn", "")
    if "layers in float16" in made:
        return "hybrid"
    return "fp16" if re.search(r", float16, ", made) else "int8"
