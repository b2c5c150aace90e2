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


def operator_types(proto: onnx.ModelProto) -> set[str]:
    """Types of the graph's operators, with GELU recognized."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    _join_gelu(copy.graph)
    return {node.op_type for node in copy.graph.node}


def _join_gelu(graph: onnx.GraphProto) -> None:
    """Put one Gelu node for each chain x * 0.5 * (1 + erf(x / sqrt(2))), in any order of its factors."""
    makers = {name: node for node in graph.node for name in node.output}
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    constants = {tensor.name: float(numpy_helper.to_array(tensor).ravel()[0])
                 for tensor in graph.initializer if math.prod(tensor.dims) == 1}  # fmt: skip
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = float(numpy_helper.to_array(node.attribute[0].t).ravel()[0])
    for erf in [node for node in graph.node if node.op_type == "Erf"]:
        inner = makers.get(erf.input[0])
        if inner is None or inner.op_type not in ("Div", "Mul"):
            continue
        source = next((name for name in inner.input if name not in constants), "")
        chain, tail = [inner, erf], erf
        while tail.output[0] in users and len(users[tail.output[0]]) == 1 and len(chain) < 5:
            following = users[tail.output[0]][0]
            if following.op_type not in ("Add", "Mul"):
                break
            extra = [name for name in following.input if name not in constants and name != tail.output[0]]
            halved = [makers[name] for name in extra if name in makers and makers[name].op_type == "Mul"
                      and source in makers[name].input]  # fmt: skip
            if extra and extra != [source] and not halved:
                break
            chain.extend([following, *halved])
            tail = following
        products = sum(node.op_type == "Mul" for node in chain if node is not inner)
        if source and products == 2 and any(node.op_type == "Add" for node in chain):
            _swap(graph, chain, helper.make_node("Gelu", [source], [tail.output[0]], name=tail.name))


def _swap(graph: onnx.GraphProto, chain: list[onnx.NodeProto], single: onnx.NodeProto) -> None:
    position = max(list(graph.node).index(node) for node in chain)
    kept = [node for node in list(graph.node)[: position + 1] if node not in chain]
    rest = list(graph.node)[position + 1 :]
    del graph.node[:]
    graph.node.extend([*kept, single, *rest])
