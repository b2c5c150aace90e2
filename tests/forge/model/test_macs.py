from __future__ import annotations

from pathlib import Path

import graphs
import onnx
import pytest

from gaitforge.model.macs import count_macs


def test_dense_layers(tmp_path: Path) -> None:
    path = tmp_path / "policy.onnx"
    graphs.dense(path)
    model = onnx.load(path)
    weights = [tensor for tensor in model.graph.initializer if len(tensor.dims) == 2]
    assert weights
    assert count_macs(model) == sum(tensor.dims[0] * tensor.dims[1] for tensor in weights)


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_recurrent_layers(kind: str) -> None:
    gates = {"GRU": 3, "LSTM": 4}[kind]
    helper = onnx.helper
    tensors = [
        helper.make_tensor(name, onnx.TensorProto.FLOAT, shape, [0.0] * (shape[1] * shape[2]))
        for name, shape in (("w", [1, gates * 8, 5]), ("r", [1, gates * 8, 8]))
    ]
    node = helper.make_node(kind, ["x", "w", "r"], ["y"], hidden_size=8)
    graph = helper.make_graph([node], "g", [], [], tensors)
    assert count_macs(helper.make_model(graph)) == gates * 8 * (5 + 8)
