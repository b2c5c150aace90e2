"""Operators that the NPU does not compute, and what can stand in for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import onnx
from onnx import helper, numpy_helper

SIGMOID_GELU = 1.702
"""x * sigmoid(1.702 x), a SiLU, is within 0.021 of GELU (Hendrycks and Gimpel, 2016)."""

ADVICE = {
    "Celu": "ELU with scaled input and output, exactly",
    "Erf": "only as a part of GELU, which has a stand-in",
    "Gelu": "SiLU (x * sigmoid(1.702 x), within 0.021)",
    "Selu": "ELU with a factor, exactly",
    "Softsign": "train with tanh instead",
}
"""What to use instead of an operator."""


@dataclass(frozen=True)
class _Context:
    graph: onnx.GraphProto
    node: onnx.NodeProto

    def constant(self, value: float, name: str) -> str:
        full = f"{self.node.name or self.node.output[0]}/{name}"
        self.graph.initializer.append(helper.make_tensor(full, onnx.TensorProto.FLOAT, [], [value]))
        return full

    def tensor(self, name: str) -> str:
        return f"{self.node.name or self.node.output[0]}/{name}_output"

    def attribute(self, name: str, default: float) -> float:
        return next((float(item.f) for item in self.node.attribute if item.name == name), default)


def _selu(context: _Context) -> list[onnx.NodeProto]:
    """gamma * ELU with the same alpha (the ONNX operator's definition)."""
    inside, outside = context.node.input[0], context.node.output[0]
    alpha = context.attribute("alpha", 1.67326319217681884765625)
    gamma = context.constant(context.attribute("gamma", 1.05070102214813232421875), "gamma")
    middle = context.tensor("elu")
    return [
        helper.make_node("Elu", [inside], [middle], alpha=alpha),
        helper.make_node("Mul", [middle, gamma], [outside]),
    ]


def _celu(context: _Context) -> list[onnx.NodeProto]:
    """alpha * ELU(x / alpha)."""
    inside, outside = context.node.input[0], context.node.output[0]
    alpha = context.attribute("alpha", 1.0)
    if alpha == 1.0:
        return [helper.make_node("Elu", [inside], [outside])]
    small, middle = context.tensor("small"), context.tensor("elu")
    return [
        helper.make_node("Mul", [inside, context.constant(1.0 / alpha, "inverse")], [small]),
        helper.make_node("Elu", [small], [middle]),
        helper.make_node("Mul", [middle, context.constant(alpha, "alpha")], [outside]),
    ]


def _gelu(context: _Context) -> list[onnx.NodeProto]:
    inside, outside = context.node.input[0], context.node.output[0]
    scaled, gate = context.tensor("scaled"), context.tensor("gate")
    return [
        helper.make_node("Mul", [inside, context.constant(SIGMOID_GELU, "factor")], [scaled]),
        helper.make_node("Sigmoid", [scaled], [gate]),
        helper.make_node("Mul", [inside, gate], [outside]),
    ]


_STAND_INS: dict[str, Callable[[_Context], list[onnx.NodeProto]]] = {
    "Celu": _celu,
    "Gelu": _gelu,
    "Selu": _selu,
}
REPLACEABLE = tuple(sorted(_STAND_INS))


def replace(proto: onnx.ModelProto, operators: Collection[str]) -> tuple[onnx.ModelProto, dict[str, int]]:
    """Replace operators of these types; returns the new model and how many of each were replaced.

    GELU is recognized as the chain of operators that exporters write for it.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    counts: dict[str, int] = {}
    if "Gelu" in operators:
        _join_gelu(changed.graph)
    nodes = list(changed.graph.node)
    del changed.graph.node[:]
    for node in nodes:
        if node.op_type in operators and node.op_type in _STAND_INS:
            changed.graph.node.extend(_STAND_INS[node.op_type](_Context(changed.graph, node)))
            counts[node.op_type] = counts.get(node.op_type, 0) + 1
        else:
            changed.graph.node.append(node)
    onnx.checker.check_model(changed)
    return changed, counts


def _join_gelu(graph: onnx.GraphProto) -> None:
    """Put one Gelu node for each chain x * 0.5 * (1 + erf(x / sqrt(2))), in whatever order of its factors."""
    for erf in [node for node in graph.node if node.op_type == "Erf"]:
        found = _gelu_chain(graph, erf)
        if found is not None:
            source, chain = found
            single = helper.make_node("Gelu", [source], [chain[-1].output[0]], name=chain[-1].name)
            _swap(graph, chain, single)


def _gelu_chain(graph: onnx.GraphProto, erf: onnx.NodeProto) -> tuple[str, list[onnx.NodeProto]] | None:
    """Return the input and the nodes, last one last, of the GELU around an Erf; None if it is no GELU."""
    makers = {name: node for node in graph.node for name in node.output}
    constants = _constants(graph)
    scale = makers.get(erf.input[0])
    if scale is None or scale.op_type not in ("Div", "Mul"):
        return None
    source, factor = scale.input
    wanted_factor = math.sqrt(2.0) if scale.op_type == "Div" else math.sqrt(0.5)
    if not math.isclose(constants.get(factor, 0.0), wanted_factor, rel_tol=1e-4):
        return None
    chain, tail, wanted = [scale, erf], erf, {"one", "half", "source"}
    while wanted:
        users = [node for node in graph.node if tail.output[0] in node.input]
        if len(users) != 1 or users[0].op_type not in ("Add", "Mul"):
            return None
        (node,) = users
        other = next(name for name in node.input if name != tail.output[0])
        half = makers.get(other)
        if node.op_type == "Add" and constants.get(other) == 1.0:
            wanted.discard("one")
        elif node.op_type == "Mul" and constants.get(other) == 0.5:
            wanted.discard("half")
        elif node.op_type == "Mul" and other == source:
            wanted.discard("source")
        elif half is not None and half.op_type == "Mul" and source in half.input and "one" not in wanted:
            wanted -= {"half", "source"}
            chain.append(half)
        else:
            return None
        chain.append(node)
        tail = node
    return source, chain


def _constants(graph: onnx.GraphProto) -> dict[str, float]:
    """Single numbers of the graph, by name."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensors[node.output[0]] = node.attribute[0].t
    arrays = {name: numpy_helper.to_array(tensor) for name, tensor in tensors.items()}
    return {name: float(array.ravel()[0]) for name, array in arrays.items() if array.size == 1}


def _swap(graph: onnx.GraphProto, chain: list[onnx.NodeProto], single: onnx.NodeProto) -> None:
    position = max(list(graph.node).index(node) for node in chain)
    kept = [node for node in list(graph.node)[: position + 1] if node not in chain]
    rest = list(graph.node)[position + 1 :]
    del graph.node[:]
    graph.node.extend([*kept, single, *rest])
