"""Small ONNX policies, made node by node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

FLOAT = onnx.TensorProto.FLOAT


def dense(
    path: Path,
    widths: tuple[int, ...] = (45, 64, 32, 12),
    activation: str = "Elu",
    *,
    batch: int | str = 1,
    inputs: tuple[str, ...] = ("obs",),
    opset: int = 17,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write a policy of Gemm nodes with one kind of activation between them; extra inputs are added on."""
    generator = np.random.default_rng(1)
    nodes, weights = [], []
    tensor = inputs[0]
    for extra in inputs[1:]:
        nodes.append(helper.make_node("Add", [tensor, extra], [f"{tensor}+{extra}"]))
        tensor = f"{tensor}+{extra}"
    for layer in range(len(widths) - 1):
        shape = (widths[layer], widths[layer + 1])
        weight = generator.standard_normal(shape, dtype=np.float32) / np.sqrt(np.float32(shape[0]))
        weights.append(numpy_helper.from_array(weight, f"w{layer}"))
        weights.append(numpy_helper.from_array(np.full(shape[1], 0.1, np.float32), f"b{layer}"))
        last = layer == len(widths) - 2
        out = "action" if last else f"x{layer}"
        nodes.append(helper.make_node("Gemm", [tensor, f"w{layer}", f"b{layer}"], [out], name=f"gemm{layer}"))
        tensor = out
        if not last:
            tensor = f"y{layer}"
            nodes.append(helper.make_node(activation, [out], [tensor], name=f"act{layer}"))
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info(name, FLOAT, [batch, widths[0]]) for name in inputs],
        [helper.make_tensor_value_info("action", FLOAT, [batch, widths[-1]])],
        weights,
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    helper.set_model_props(proto, metadata or {})
    onnx.save(proto, str(path))
    return path


def with_factors(source: bytes, target: Path, factors: Sequence[float]) -> Path:
    """Write a model that first multiplies its observation (1, n) by n factors."""
    proto = onnx.load_model_from_string(source)
    name = proto.graph.input[0].name
    for node in proto.graph.node:
        for index, tensor in enumerate(node.input):
            if tensor == name:
                node.input[index] = "changed"
    proto.graph.node.insert(0, helper.make_node("Mul", [name, "factors"], ["changed"]))
    proto.graph.initializer.append(numpy_helper.from_array(np.array(factors, np.float32), "factors"))
    target.write_bytes(proto.SerializeToString())
    return target
