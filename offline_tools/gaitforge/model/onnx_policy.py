"""A policy as an ONNX file: its tensors, and running it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from gaitd.backends.base import Backend
from gaitd.errors import InputError
from gaitd.policy.contract import Float32Array, Model, RecurrentState
from gaitforge.common import files

if TYPE_CHECKING:
    import onnx

    from gaitd.backends.onnx import OnnxBackend

RECURRENT_KEY = "gaitd.recurrent"
"""Metadata of the ONNX file: JSON list of the hidden states' input, output and shape."""


@dataclass(frozen=True)
class PolicyOnnx:
    """An ONNX policy with one observation, one action and hidden states; batch of one."""

    path: Path
    content: bytes
    model: Model
    observation_dim: int
    action_dim: int
    operators: tuple[str, ...]
    """Types of the graph's nodes, each once, in order."""

    def toolkit_inputs(self) -> dict[str, list[int]]:
        """Names and fixed shapes of the inputs, as the converter is told them."""
        hidden = {state.input: state.shape for state in self.model.recurrent}
        return {self.model.input: [1, self.observation_dim], **hidden}

    def backend(self) -> OnnxBackend:
        """Load it into onnxruntime."""
        from gaitd.backends.onnx import OnnxBackend

        return OnnxBackend(self.content, self.model, self.observation_dim, self.action_dim)


def read_policy(path: Path) -> PolicyOnnx:
    """Read an ONNX policy.

    Raises InputError when it is no ONNX file or has inputs, outputs or shapes that the robot cannot feed.
    """
    import onnx

    content = files.existing(path, "the ONNX model").read_bytes()
    try:
        proto = onnx.load_model_from_string(content)
        onnx.checker.check_model(proto)
    except Exception as error:  # protobuf and onnx raise kinds of their own
        raise InputError(f"{path} is no valid ONNX model: {_first_line(error)}") from error
    return _describe(path, content, proto)


def _describe(path: Path, content: bytes, proto: onnx.ModelProto) -> PolicyOnnx:
    constants = {tensor.name for tensor in proto.graph.initializer}
    inputs = {item.name: _shape(path, item) for item in proto.graph.input if item.name not in constants}
    outputs = {item.name: _shape(path, item) for item in proto.graph.output}
    recurrent = _recurrent(path, proto, inputs, outputs)
    plain_inputs = [name for name in inputs if name not in {state.input for state in recurrent}]
    plain_outputs = [name for name in outputs if name not in {state.output for state in recurrent}]
    for kind, names in (("input", plain_inputs), ("output", plain_outputs)):
        if len(names) != 1:
            raise InputError(
                f"{path}: the robot feeds one observation and takes one action, but the model has "
                f"{len(names)} {kind}s besides hidden states: {', '.join(names) or 'none'}"
            )
    model = Model(input=plain_inputs[0], output=plain_outputs[0], recurrent=recurrent)
    dims = []
    for name, shape in ((model.input, inputs[model.input]), (model.output, outputs[model.output])):
        if len(shape) not in (1, 2) or (len(shape) == 2 and shape[0] != 1):
            raise InputError(f"{path}: {name} has shape {shape}, expected [1, n] or [batch, n]")
        dims.append(shape[-1])
    operators = tuple(dict.fromkeys(node.op_type for node in proto.graph.node))
    return PolicyOnnx(path, content, model, dims[0], dims[1], operators)


def _shape(path: Path, value: onnx.ValueInfoProto) -> list[int]:
    """Return the shape with a symbolic first axis, the batch, as 1."""
    import onnx

    tensor = value.type.tensor_type
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
        raise InputError(f"{path}: {value.name} holds {kind}, expected FLOAT")
    shape = [dim.dim_value for dim in tensor.shape.dim]
    if shape and shape[0] == 0:
        shape[0] = 1
    if not shape or 0 in shape:
        named = [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]
        raise InputError(
            f"{path}: {value.name} has the dynamic shape {named}; only the batch may be dynamic: "
            "export with a fixed number of values"
        )
    return shape


def _recurrent(
    path: Path, proto: onnx.ModelProto, inputs: dict[str, list[int]], outputs: dict[str, list[int]]
) -> list[RecurrentState]:
    """Hidden states: from the file's metadata, else the pairs named x_in and x_out."""
    metadata = {item.key: item.value for item in proto.metadata_props}
    if RECURRENT_KEY in metadata:
        try:
            return msgspec.json.decode(metadata[RECURRENT_KEY], type=list[RecurrentState])
        except msgspec.DecodeError as error:
            raise InputError(f"{path}: metadata {RECURRENT_KEY}: {error}") from error
    states = []
    for name, shape in inputs.items():
        partner = name.removesuffix("_in") + "_out"
        if name.endswith("_in") and outputs.get(partner) == shape:
            states.append(RecurrentState(input=name, output=partner, shape=shape))
    return states


def set_metadata(proto: onnx.ModelProto, recurrent: list[RecurrentState], **texts: str) -> None:
    """Write hidden states and further texts into the file's metadata."""
    entries = {**texts}
    if recurrent:
        entries[RECURRENT_KEY] = json.dumps(msgspec.to_builtins(recurrent))
    for key, value in entries.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value


def run_rows(backend: Backend, observations: Float32Array) -> Float32Array:
    """Run the rows (N, observation_dim) in order from a reset; returns actions (N, action_dim)."""
    backend.reset()
    actions = []
    for row in observations:
        actions.append(np.array(backend.infer(row)))
        backend.accept()
    return np.stack(actions)


def _first_line(error: Exception) -> str:
    lines: list[Any] = [line for line in str(error).strip().splitlines() if line.strip()]
    return str(lines[0]) if lines else type(error).__name__
