"""Bundles for the emulated NPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from standin.model_file import Layer, Tensor, model_bytes

from gaitforge.bundle.write import write_bundle
from support.bundles import mlp_weights, observation_dim, small_files


def write_npu_bundle(target: Path, manifest: dict[str, Any]) -> Path:
    """A small bundle with the same network as model.onnx and as model.rknn."""
    dim, joints = observation_dim(manifest), len(manifest["joints"])
    first, bias, second = mlp_weights(dim, joints)
    network = [Layer(first.T, bias, "tanh"), Layer(second.T, 0 * second[0])]
    model = model_bytes(network, [Tensor("obs", (1, dim))], [Tensor("action", (1, joints))])
    return write_bundle(target, manifest, {**small_files(manifest), "model.rknn": model})
