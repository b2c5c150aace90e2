"""Models for newer runtimes, brought down to what every robot's onnxruntime reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gaitd.errors import InputError

if TYPE_CHECKING:
    import onnx

OLDEST_RUNTIME = "onnxruntime 1.16"
"""The oldest onnxruntime that gaitd[robot] admits (pyproject.toml); the Debian package brings a newer one."""

MAX_IR, MAX_OPSET, MAX_ML_OPSET = 9, 19, 3
"""What that runtime reads (onnxruntime's table of compatibility: 1.16 is built with ONNX 1.14)."""

STANDARD = ("", "ai.onnx")
ML = "ai.onnx.ml"


def check_readable(proto: onnx.ModelProto, where: str) -> None:
    """Raise InputError for a model that the onnx package here does not know the operators of."""
    import onnx

    for what, got, known in (
        ("IR version", proto.ir_version, onnx.IR_VERSION),
        ("opset", _opset(proto), onnx.defs.onnx_opset_version()),
    ):
        if got > known:
            raise InputError(
                f"{where} has {what} {got}, but onnx {onnx.__version__} here knows {known} at most: "
                "pip install --upgrade onnx, or export the model with an older opset"
            )


def lower(proto: onnx.ModelProto, where: str) -> tuple[onnx.ModelProto, list[str]]:
    """Return the model for OLDEST_RUNTIME, and what was changed. Raises InputError when that cannot be."""
    from onnx import version_converter

    changes = []
    _check_domains(proto, where)
    opset = _opset(proto)
    if opset > MAX_OPSET:
        newer = sorted({node.op_type for node in proto.graph.node if _is_newer(node)})
        try:
            proto = version_converter.convert_version(expand(proto, newer), MAX_OPSET)
        except Exception as error:  # the converter raises whatever its adapters do
            raise InputError(
                f"{where}: opset {opset} cannot be converted down to {MAX_OPSET}, the newest that "
                f"{OLDEST_RUNTIME} on a robot reads ({_reason(error)}): export with opset {MAX_OPSET}"
            ) from error
        named = f" ({', '.join(newer)} in simpler operators)" if newer else ""
        changes.append(f"opset {opset} became {MAX_OPSET}, the newest for {OLDEST_RUNTIME}{named}")
    if proto.ir_version > MAX_IR:
        changes.append(f"IR version {proto.ir_version} became {MAX_IR}, the newest for {OLDEST_RUNTIME}")
        proto.ir_version = MAX_IR
    return proto, changes


def expand(proto: onnx.ModelProto, operators: list[str]) -> onnx.ModelProto:
    """Write operators in terms of simpler ones, as ONNX itself defines them, and fold constants."""
    import onnx
    import onnxslim
    from onnx import inliner

    if not operators:
        return proto
    typed = onnx.ModelProto()
    typed.CopyFrom(proto)
    # The definitions depend on the types of their inputs.
    for tensor in typed.graph.initializer:
        typed.graph.value_info.append(
            onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        )
    # They leave out attributes that are not there, defaults or not.
    for node in typed.graph.node:
        if node.domain in STANDARD and node.op_type in operators:
            schema = onnx.defs.get_schema(node.op_type, _opset(typed))
            given = {attribute.name for attribute in node.attribute}
            defaults = [item.default_value for name, item in schema.attributes.items() if name not in given]
            node.attribute.extend(default for default in defaults if default.type)
    typed = onnx.shape_inference.infer_shapes(typed)
    expanded = inliner.inline_selected_functions(
        typed, [("", name) for name in operators], inline_schema_functions=True
    )
    for node in expanded.graph.node:
        if node.op_type == "Sum" and len(node.input) == 2:
            node.op_type = "Add"
    return onnxslim.slim(expanded)


def _check_domains(proto: onnx.ModelProto, where: str) -> None:
    used = {node.domain for node in proto.graph.node}
    for node in proto.graph.node:
        if node.domain not in (*STANDARD, ML):
            raise InputError(
                f"{where}: node {node.name or node.output[0]!r} is {node.domain}.{node.op_type}, no standard "
                "ONNX operator, which not every robot's onnxruntime has: export the model without the "
                "optimizations of a runtime"
            )
    for imported in list(proto.opset_import):
        if imported.domain not in STANDARD and imported.domain not in used:
            proto.opset_import.remove(imported)
        elif imported.domain == ML and imported.version > MAX_ML_OPSET:
            raise InputError(
                f"{where} uses {ML} opset {imported.version}, but {OLDEST_RUNTIME} on a robot reads "
                f"{MAX_ML_OPSET} at most: export the model with an older one"
            )


def _opset(proto: onnx.ModelProto) -> int:
    return max((item.version for item in proto.opset_import if item.domain in STANDARD), default=1)


def _is_newer(node: onnx.NodeProto) -> bool:
    import onnx

    try:
        onnx.defs.get_schema(node.op_type, MAX_OPSET)
    except onnx.defs.SchemaError:
        return True
    return False


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rpartition("failed: ")[2][:200] or type(error).__name__
