"""ONNX as rknn-toolkit2 understands it.

What the toolkit gets wrong, seen with 2.5.0: a Mul by a constant before a Gemm with transB=0 is folded along
the wrong axis of the weights (silently, where they are square); attributes that later opsets brought, such as
layout of GRU and LSTM, are refused even with their default; LayerNormalization is unknown.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx
from onnx import helper, numpy_helper

from gaitforge.model.versions import STANDARD, expand

UNKNOWN = ("LayerNormalization",)

FAMILIAR_OPSET = 13
"""The toolkit takes all attributes of this opset; of a few operators it has only that version."""


def for_toolkit(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """Return an equal model that the toolkit takes, and what was changed."""
    changes = []
    unknown = sorted({node.op_type for node in proto.graph.node} & set(UNKNOWN))
    new = onnx.ModelProto()
    new.CopyFrom(expand(proto, unknown))
    if unknown:
        changes.append(f"{', '.join(unknown)} in simpler operators")
    if turned := _turn_gemms(new.graph):
        changes.append(f"the weights of {turned} Gemm transposed")
    if dropped := _drop_new_defaults(new):
        changes.append(f"attributes that say the default left out ({', '.join(sorted(dropped))})")
    if named := _name_nodes(new.graph):
        changes.append(f"{named} nodes named")
    return new, changes


def _turn_gemms(graph: onnx.GraphProto) -> int:
    """Give every Gemm its weights as transB=1 wants them, which is how torch writes a linear layer."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    turned: dict[str, str] = {}
    nodes, count = [], 0
    for node in graph.node:
        attribute = next((item for item in node.attribute if item.name == "transB"), None)
        if node.op_type == "Gemm" and (attribute is None or attribute.i == 0):
            count += 1
            weights = node.input[1]
            if weights not in turned:
                turned[weights] = f"{weights}/transposed"
                if weights in constants:
                    array = numpy_helper.to_array(constants[weights]).T
                    graph.initializer.append(numpy_helper.from_array(array.copy(), turned[weights]))
                else:
                    nodes.append(helper.make_node("Transpose", [weights], [turned[weights]], perm=[1, 0]))
            node.input[1] = turned[weights]
            if attribute is None:
                attribute = node.attribute.add(name="transB", type=onnx.AttributeProto.INT)
            attribute.i = 1
        nodes.append(node)
    if count:
        used = {name for node in nodes for name in node.input}
        for name in turned.keys() & constants.keys() - used:
            graph.initializer.remove(constants[name])
        turned_graph = onnx.GraphProto(node=nodes)
        graph.ClearField("node")
        graph.node.extend(turned_graph.node)
    return count


def _drop_new_defaults(proto: onnx.ModelProto) -> set[str]:
    """Leave out attributes newer than FAMILIAR_OPSET that say their default; returns their names."""
    opset = max(item.version for item in proto.opset_import if item.domain in STANDARD)
    dropped = set()
    for node in proto.graph.node:
        if node.domain not in STANDARD or not onnx.defs.has(node.op_type, opset):
            continue
        known = onnx.defs.get_schema(node.op_type, opset).attributes
        familiar: Collection[str] = ()
        if onnx.defs.has(node.op_type, FAMILIAR_OPSET):
            familiar = onnx.defs.get_schema(node.op_type, FAMILIAR_OPSET).attributes
        for attribute in list(node.attribute):
            if attribute.name in known and attribute.name not in familiar:
                default = known[attribute.name].default_value
                if default.type and _value(attribute) == _value(default):
                    node.attribute.remove(attribute)
                    dropped.add(attribute.name)
    return dropped


def _value(attribute: onnx.AttributeProto) -> object:
    return helper.get_attribute_value(attribute)


def _name_nodes(graph: onnx.GraphProto) -> int:
    """Name every node once, by what it does where it has no name of its own; returns how many got one."""
    given = {node.name for node in graph.node}
    taken: set[str] = set()
    count = 0
    for index, node in enumerate(graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{index}"
            while node.name in given | taken:
                node.name += "_"
            count += 1
        taken.add(node.name)
    return count
