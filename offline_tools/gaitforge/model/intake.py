"""Reading an ONNX file: any form that exporters write becomes one that every robot runs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gaitd.errors import InputError
from gaitforge.common import console, files
from gaitforge.model import equality, external_data, versions

if TYPE_CHECKING:
    import onnx

INITIALIZERS_APART = 4
"""The first IR version in which an initializer need not be an input as well."""


@dataclass(frozen=True)
class OnnxFile:
    """A model as it was read."""

    proto: onnx.ModelProto
    content: bytes
    """The model in one piece; the file's own bytes where nothing had to change."""
    sha256: str
    """Of the file as it was found, followed by the files of its external data in the order of their names."""


def read_model(path: Path) -> OnnxFile:
    """Read a model, and bring it into a form that the oldest supported runtime takes.

    External data come in from beside the file, local functions are written out, initializers are no inputs,
    an open batch is one robot, IR version and opset are no newer than versions.OLDEST_RUNTIME reads. Every
    change is printed, and the changed model gives what the old one gave, or is refused with InputError.
    """
    import onnx

    content = files.read_model(path, "the ONNX model")
    try:
        proto = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf and onnx raise kinds of their own
        raise InputError(f"{path} is no valid ONNX model: {first_line(error)}") from error
    versions.check_readable(proto, str(path))
    outside = external_data.take_in(proto, path)
    try:
        onnx.checker.check_model(proto)
    except Exception as error:
        raise InputError(f"{path} is no valid ONNX model: {first_line(error)}") from error
    digest = hashlib.sha256(content)
    for _, data in sorted(outside.items()):
        digest.update(data)
    if outside:
        console.note(f"{path}: took in the values of {', '.join(file.name for file in sorted(outside))}")
    normal, changes = _normalized(proto, str(path))
    for item in (*normal.graph.input, *normal.graph.output):
        check_tensor(item, str(path))
    if changes:
        console.note(f"{path}: {'; '.join(changes)}")
        equality.check_same(proto, normal, f"{path}: {'; '.join(changes)}")
    if changes or outside:
        content = normal.SerializeToString()
    return OnnxFile(normal, content, digest.hexdigest())


def _normalized(proto: onnx.ModelProto, where: str) -> tuple[onnx.ModelProto, list[str]]:
    import onnx
    from onnx import inliner

    new = onnx.ModelProto()
    new.CopyFrom(proto)
    changes = []
    if new.functions:
        changes.append(f"local functions written out: {', '.join(item.name for item in new.functions)}")
        new = inliner.inline_local_functions(new)
    if doubled := _take_initializers_from_inputs(new):
        changes.append(f"{doubled} initializers are no inputs any more")
    if batches := _close_batch(new.graph):
        changes.append(f"the open batch ({', '.join(batches)}) is one robot")
    new, lowered = versions.lower(new, where)
    return new, changes + lowered


def _take_initializers_from_inputs(proto: onnx.ModelProto) -> int:
    graph = proto.graph
    names = {tensor.name for tensor in graph.initializer}
    names |= {tensor.values.name for tensor in graph.sparse_initializer}
    doubled = [item for item in graph.input if item.name in names]
    for item in doubled:
        graph.input.remove(item)
    if doubled:
        proto.ir_version = max(proto.ir_version, INITIALIZERS_APART)
    return len(doubled)


def _close_batch(graph: onnx.GraphProto) -> list[str]:
    """Set open axes but the last, which holds the values, to 1; returns what they were called."""
    names: list[str] = []
    for item in (*graph.input, *graph.output):
        for dim in item.type.tensor_type.shape.dim[:-1]:
            if not dim.HasField("dim_value"):
                names.append(dim.dim_param or "unnamed")
                dim.dim_value = 1
    if names:
        del graph.value_info[:]  # shapes of what lies between, with the batch still open
    return list(dict.fromkeys(names))


def check_tensor(item: onnx.ValueInfoProto, where: str) -> None:
    """Raise InputError for an input or output that is no float32 tensor of a fixed shape."""
    import onnx

    tensor = item.type.tensor_type
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
        raise InputError(f"{where}: {item.name} holds {kind}, expected FLOAT")
    shape = [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]
    if not shape or not all(isinstance(size, int) and size > 0 for size in shape):
        raise InputError(
            f"{where}: {item.name} has the dynamic shape {shape}; only the batch may be dynamic: "
            "export with a fixed number of values"
        )


def first_line(error: Exception) -> str:
    """Return the first line of an error's text that says something."""
    return next((line for line in str(error).strip().splitlines() if line.strip()), type(error).__name__)
