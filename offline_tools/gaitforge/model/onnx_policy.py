"""A policy as an ONNX file: its tensors, and running it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from gaitd.backends.base import Backend
from gaitd.errors import InputError
from gaitd.policy.manifest import Float32Array, Model, RecurrentState
from gaitforge.model.intake import OnnxFile, read_model

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
    """The model in one piece, as intake.read_model makes it."""
    sha256: str
    """Of the file, as in intake.OnnxFile."""
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
    """Read an ONNX policy, as intake.read_model does.

    Raises InputError when it is no ONNX file or has inputs, outputs or shapes that the robot cannot feed.
    """
    return _describe(path, read_model(path))


def _describe(path: Path, read: OnnxFile) -> PolicyOnnx:
    proto = read.proto
    inputs = {item.name: _shape(item) for item in proto.graph.input}
    outputs = {item.name: _shape(item) for item in proto.graph.output}
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
    return PolicyOnnx(path, read.content, read.sha256, model, dims[0], dims[1], operators)


def _shape(value: onnx.ValueInfoProto) -> list[int]:
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]


def _recurrent(
    path: Path, proto: onnx.ModelProto, inputs: dict[str, list[int]], outputs: dict[str, list[int]]
) -> list[RecurrentState]:
    """Hidden states: from the file's metadata, else the pairs named x_in and x_out."""
    metadata = {item.key: item.value for item in proto.metadata_props}
    if RECURRENT_KEY in metadata:
        try:
            told = msgspec.json.decode(metadata[RECURRENT_KEY], type=list[RecurrentState])
        except msgspec.DecodeError as error:
            raise InputError(f"{path}: metadata {RECURRENT_KEY}: {error}") from error
        for state in told:
            if not inputs.get(state.input) == outputs.get(state.output) == state.shape:
                raise InputError(
                    f"{path}: metadata {RECURRENT_KEY} says that {state.input} and {state.output} have shape "
                    f"{state.shape}, but the model has {inputs.get(state.input)} and "
                    f"{outputs.get(state.output)}: export it again"
                )
        return told
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
        backend.commit()
    return np.stack(actions)
