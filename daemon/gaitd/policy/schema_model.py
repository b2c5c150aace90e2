"""A policy's models: their tensors, hidden states, and how several are connected."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from gaitd.policy.schema import Strict


class RecurrentState(Strict, frozen=True, kw_only=True):
    """A hidden state that the model takes and gives back; zero at activate."""

    input: str
    """Name of the tensor that the model takes."""
    output: str
    """Name of the tensor that it gives back, for the next step."""
    shape: list[int]
    """Of both."""


class Model(Strict, frozen=True, kw_only=True):
    """The tensors of the model."""

    input: str = "obs"
    """Name of the tensor that takes the observation."""
    output: str = "action"
    """Name of the tensor that holds the action."""
    recurrent: list[RecurrentState] = []
    """Hidden states, of a recurrent policy."""
    npu_memory_kib: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """The most that model.rknn may take of the NPU's memory, weights and internal; more is refused. None: no
    bound."""


class GraphModel(Strict, frozen=True, kw_only=True):
    """One of several models, which run in the order of the list."""

    name: str
    """Its files are NAME.onnx and NAME.rknn."""
    inputs: dict[str, list[str]]
    """By tensor, what it takes, one behind the other: parts of the observation, and models before it."""
    output: str = "action"
    """Name of the tensor that it gives. That of the last model is the action."""
    size: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Values of the output; of the last model that is the action's, and is left out."""
    unused_outputs: list[str] = []
    """Tensors that it gives and nobody takes."""
    recurrent: list[RecurrentState] = []
    """Hidden states."""
    every_steps: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    """It runs in a session's first step and in every so many-th from there; in between its output stays."""
    backend: Literal["configured", "onnx"] = "configured"
    """configured: as the robot's configuration has it. onnx: always on the CPU."""
    npu_core: Literal["0", "1", "2"] | None = None
    """The core that it runs on; null: the configured one."""
    npu_memory_kib: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """The most that NAME.rknn may take of the NPU's memory, weights and internal; more is refused. null: no
    bound."""
