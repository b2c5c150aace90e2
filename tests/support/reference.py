"""Bundles that the tests walk with: the example's, and the maker's published policy where it is present."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import yaml

from gaitd.backends.onnx import OnnxBackend
from gaitd.bundle.read import open_bundle
from gaitd.policy.manifest import Model
from gaitforge.bundle.write import write_bundle

REPOSITORY = Path(__file__).resolve().parents[2]
REFERENCE_POLICY = REPOSITORY.parent / "shared" / "lite3" / "policy.onnx"
EXAMPLE_DIR = REPOSITORY / "examples" / "lite3_walk"
EXAMPLE_BUNDLE = EXAMPLE_DIR / "lite3_walk.gaitd"


def reference_bundle(target: Path) -> Path:
    """Write the maker's Lite3 policy as a bundle to ``target``; skips the test where the policy is absent.

    Its contract is the example's, apart from the name and the model's output. So are its golden
    observations, since they come from walking; the actions are its own.
    """
    if not REFERENCE_POLICY.is_file():
        pytest.skip(f"the reference policy is absent: {REFERENCE_POLICY}")
    model_bytes = REFERENCE_POLICY.read_bytes()
    manifest = yaml.safe_load((EXAMPLE_DIR / "manifest.yaml").read_text())
    manifest |= {"name": "lite3_reference", "description": "", "model": {"input": "obs", "output": "actions"}}
    observation, _ = open_bundle(EXAMPLE_BUNDLE).golden()
    backend = OnnxBackend(model_bytes, Model(output="actions"), observation.shape[1], 12)
    action = np.stack([backend.infer(row).copy() for row in observation])
    golden = io.BytesIO()
    np.savez(golden, observation=observation, action=action)
    return write_bundle(target, manifest, {"model.onnx": model_bytes, "golden.npz": golden.getvalue()})
