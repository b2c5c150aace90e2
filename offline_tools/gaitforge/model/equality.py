"""Do two ONNX models compute the same?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gaitd.errors import InputError
from gaitd.policy.manifest import Float32Array

if TYPE_CHECKING:
    import onnx

ROWS = 16
TOLERANCE = 1e-5
"""Largest difference, as a part of the largest value: sums in another order differ by rounding."""


def check_same(before: onnx.ModelProto, after: onnx.ModelProto, what: str) -> None:
    """Run both on the same random inputs. Raises InputError that begins with ``what`` when they differ."""
    first, second = _run(before, after, what), _run(after, after, what)
    for name, expected, got in zip(after.graph.output, first, second, strict=True):
        size = np.max(np.abs(expected), initial=1.0, where=np.isfinite(expected))
        if not np.allclose(got, expected, rtol=0.0, atol=TOLERANCE * float(size), equal_nan=True):
            error = np.abs(expected - got).max()
            raise InputError(
                f"{what}: and then its output {name.name} differs by {error:.2g}; export the model another "
                "way, such as with torch.onnx.export(..., opset_version=17)"
            )


def _run(model: onnx.ModelProto, shapes: onnx.ModelProto, what: str) -> list[Float32Array]:
    """Outputs on ROWS random inputs, of the shapes that the graph of ``shapes`` has, one after another."""
    from gaitd.backends.onnx import open_session

    generator = np.random.default_rng(0)
    names = [item.name for item in shapes.graph.output]
    outputs = []
    try:
        session = open_session(model.SerializeToString())
        for row in range(ROWS):
            inputs = {
                item.name: np.float32(0.1 + row % 4)
                * generator.standard_normal(_shape(item), dtype=np.float32)
                for item in shapes.graph.input
            }
            outputs.append(session.run(names, inputs))
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{what}: onnxruntime cannot run it: {reason}") from error
    return [np.stack(column) for column in zip(*outputs, strict=True)]


def _shape(item: onnx.ValueInfoProto) -> list[int]:
    return [dim.dim_value for dim in item.type.tensor_type.shape.dim]
