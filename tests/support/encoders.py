"""A policy whose stream an encoder makes of a camera's frames: a convolution, and the sums by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from support.streams import stream_bundle

CAMERA: dict[str, Any] = {"name": "camera", "shape": [6, 8], "min": -1.0, "max": 1.0, "rate_hz": 50.0}
ENCODER: dict[str, Any] = {"model": "encoder", "takes": CAMERA, "input": "image", "output": "latent"}
_rng = np.random.default_rng(7)
KERNEL = _rng.normal(size=(3, 3)).astype(np.float32) * 0.3
WEIGHTS = _rng.normal(size=(4 * 6, 6)).astype(np.float32) * 0.2


def encoder_onnx(output: str = "latent", shape: tuple[int, ...] = (1, 1, 6, 8)) -> bytes:
    """tanh(relu(convolution of 3 x 3) @ weights): 48 values in, 6 out."""
    nodes = [
        helper.make_node("Reshape", ["image", "as_image"], ["x"]),
        helper.make_node("Conv", ["x", "kernel"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Flatten", ["b"], ["c"]),
        helper.make_node("MatMul", ["c", "weights"], ["d"]),
        helper.make_node("Tanh", ["d"], [output]),
    ]
    constants = {
        "as_image": np.array([1, 1, 6, 8], np.int64),
        "kernel": KERNEL[None, None],
        "weights": WEIGHTS,
    }
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, 6])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def latent(image: np.ndarray) -> np.ndarray:
    """(6,) the same of an image (6, 8), term by term."""
    seen = np.clip(image.astype(np.float64), CAMERA["min"], CAMERA["max"])
    features = np.zeros((4, 6))
    for row, column in np.ndindex(4, 6):
        features[row, column] = max(0.0, float((seen[row : row + 3, column : column + 3] * KERNEL).sum()))
    return np.tanh(features.ravel() @ WEIGHTS)


def encoder_bundle(path: Path, encoder: dict[str, Any] | None = None, **changes: Any) -> Path:
    """``stream_bundle`` with an encoder."""
    return stream_bundle(path, encoder_onnx(), encoder=encoder or ENCODER, **changes)
