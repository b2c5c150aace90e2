"""Write models for the stand-in librknnrt: MLPs in the envelope of a .rknn file.

The envelope (64-byte header, payload, JSON trailer with version, target platform and tensors) is that of real
files, so that code which reads it can be tested; the payload is the stand-in's own (model.c).
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

ACTIVATIONS = {"none": 0, "elu": 1, "relu": 2, "tanh": 3}


@dataclass(frozen=True)
class Layer:
    """activation(weight @ x + bias); weight (rows, columns)."""

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    activation: str = "none"


@dataclass(frozen=True)
class Tensor:
    name: str
    shape: tuple[int, ...]


def model_bytes(
    layers: list[Layer],
    inputs: list[Tensor],
    outputs: list[Tensor],
    *,
    toolkit: str = "2.3.2",
    platform: str = "rk3588",
) -> bytes:
    """A .rknn file whose layers take all inputs side by side and whose result is split into the outputs."""
    payload = b"GAITSTND" + _tensors(inputs) + _tensors(outputs) + struct.pack("<I", len(layers))
    for layer in layers:
        payload += struct.pack("<III", ACTIVATIONS[layer.activation], *layer.weight.shape)
        payload += np.ascontiguousarray(layer.weight, "<f4").tobytes()
        payload += np.ascontiguousarray(layer.bias, "<f4").tobytes()
    return envelope(payload, inputs, outputs, toolkit=toolkit, platform=platform)


def envelope(
    payload: bytes, inputs: list[Tensor], outputs: list[Tensor], *, toolkit: str, platform: str
) -> bytes:
    tensors = [*inputs, *outputs]
    sides = [("input", i) for i in range(len(inputs))] + [("output", i) for i in range(len(outputs))]
    trailer = json.dumps(
        {
            "version": toolkit,
            "target_platform": [platform],
            "norm_tensor": [
                {"tensor_id": i, "url": t.name, "size": list(t.shape)} for i, t in enumerate(tensors)
            ],
            "graph": [
                {"left": side, "left_tensor_id": index, "right": "norm_tensor", "right_tensor_id": i}
                for i, (side, index) in enumerate(sides)
            ],
        }
    ).encode()
    header = struct.pack("<8sQQ", b"RKNN", 6, len(payload)).ljust(64, b"\0")
    return header + payload + struct.pack("<Q", len(trailer)) + trailer


def _tensors(tensors: list[Tensor]) -> bytes:
    data = struct.pack("<I", len(tensors))
    for tensor in tensors:
        data += tensor.name.encode().ljust(64, b"\0") + struct.pack("<I", len(tensor.shape))
        data += struct.pack(f"<{len(tensor.shape)}I", *tensor.shape)
    return data


def layers_of_onnx(path: Path) -> list[Layer]:
    """The layers of an ONNX file that is a plain chain of Gemm (or MatMul, Add) and Elu, Relu or Tanh."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    layers: list[Layer] = []
    for node in graph.node:
        if node.op_type == "Gemm":
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            weight = constants[node.input[1]]
            layers.append(Layer(weight if attributes.get("transB") else weight.T, constants[node.input[2]]))
        elif node.op_type == "MatMul":
            weight = constants[node.input[1]].T
            layers.append(Layer(weight, np.zeros(len(weight), np.float32)))
        elif node.op_type == "Add":
            layers[-1] = Layer(layers[-1].weight, constants[node.input[1]])
        elif node.op_type in ("Elu", "Relu", "Tanh"):
            layers[-1] = Layer(layers[-1].weight, layers[-1].bias, node.op_type.lower())
        else:
            raise ValueError(f"{path}: the stand-in knows no {node.op_type}")
    return layers
