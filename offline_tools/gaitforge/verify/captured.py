"""A trainer's capture in the verdict: does the policy see, and answer, what its trainer did?"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np

from gaitd.bundle.read import Bundle
from gaitd.policy.manifest import Manifest
from gaitforge.common import console
from gaitforge.common.arrays import Stats
from gaitforge.model.onnx_policy import PolicyOnnx
from gaitforge.parity import report
from gaitforge.parity.capture import Capture
from gaitforge.parity.compare import compare
from gaitforge.parity.findings import Comparison


@dataclass(frozen=True)
class Parity:
    """A policy compared with a capture."""

    capture: Capture
    comparison: Comparison

    def failures(self, manifest: Manifest) -> list[str]:
        """Say where they differ, or what the capture leaves open; empty when they are equal."""
        return [f"parity: {line}" for line in report.differences(self.comparison, manifest)]


def compare_capture(policy: PolicyOnnx, manifest: Manifest, stats: Stats | None, capture: Capture) -> Parity:
    """Replay a capture through a policy that is not packed yet.

    ``manifest``: with the model section of ``policy``. Raises InputError when the capture cannot be of it.
    """
    contents = {"model.onnx": policy.content}
    if stats is not None:
        buffer = io.BytesIO()
        np.savez(buffer, mean=stats[0], std=stats[1])
        contents["obs_stats.npz"] = buffer.getvalue()
    bundle = Bundle(policy.path, policy.sha256, manifest, contents)
    with console.step(f"Replaying {len(capture)} captured steps"):
        return Parity(capture, compare(bundle, capture))
