"""How much a network computes: multiplications with addition, for one inference."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def count_macs(model: onnx.ModelProto) -> int:
    """Of matrix products with fixed weights and of recurrent layers; for one robot and one step.

    Convolutions and products of two activations are left out: what they take depends on shapes that the file
    need not tell.
    """
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    total = 0
    for node in model.graph.node:
        if node.op_type in ("Gemm", "MatMul"):
            total += sum(sizes.get(name, 0) for name in node.input[:2])
        elif node.op_type in ("GRU", "LSTM", "RNN"):
            total += sum(sizes.get(name, 0) for name in node.input[1:3])
    return total
