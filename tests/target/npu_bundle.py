"""Bundles for the emulated NPU."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from standin.model_file import Layer, Tensor, model_bytes

from gaitforge.bundle.write import write_bundle
from support.bundles import mlp_weights, npz, observation_dim, small_files


def write_npu_bundle(target: Path, manifest: dict[str, Any], golden_offset: float = 0.0) -> Path:
    """A small bundle with the same network as model.onnx and as model.rknn.

    ``golden_offset``: added to the recorded actions, which neither model then answers.
    """
    dim, joints = observation_dim(manifest), len(manifest["joints"])
    first, bias, second = mlp_weights(dim, joints)
    network = [Layer(first.T, bias, "tanh"), Layer(second.T, 0 * second[0])]
    model = model_bytes(network, [Tensor("obs", (1, dim))], [Tensor("action", (1, joints))])
    files = small_files(manifest)
    with np.load(io.BytesIO(files["golden.npz"])) as golden:
        files["golden.npz"] = npz(observation=golden["observation"], action=golden["action"] + golden_offset)
    return write_bundle(target, manifest, {**files, "model.rknn": model})
