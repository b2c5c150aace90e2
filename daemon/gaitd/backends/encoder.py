"""An encoder's model on the CPU: one tensor in, one out, of any shape with the right number of values."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from gaitd.backends import has_onnxruntime
from gaitd.backends.base import Float32Array
from gaitd.bundle.models import model_files, named
from gaitd.bundle.read import Bundle
from gaitd.errors import BackendError, InputError
from gaitd.policy.schema_stream import Encoder, Stream
from gaitd.system.memory import MODEL_BYTES, memory_limit


class EncoderModel:
    """MODEL.onnx of a bundle, for the stream that it makes."""

    def __init__(self, bundle: Bundle, stream: Stream, encoder: Encoder) -> None:
        """Load it. Raises InputError where it does not fit the manifest, BackendError without onnxruntime."""
        check_onnxruntime(stream)
        from gaitd.backends.onnx import open_session

        file = model_files(encoder.model)[0]
        with named(f"{bundle.path}: {file}"), memory_limit(MODEL_BYTES):
            self._session = open_session(bundle.read_bytes(file))
        where = f"{bundle.path}: {file}"
        self._shape = _shape(where, "input", encoder.input, encoder.takes.size, self._session.get_inputs())
        _shape(where, "output", encoder.output, stream.size, self._session.get_outputs())
        self._input, self._output = encoder.input, encoder.output

    def __call__(self, values: Float32Array) -> Float32Array:
        """The stream's values (size,) for those of a frame. Raises BackendError when the run failed."""
        try:
            (output,) = self._session.run([self._output], {self._input: values.reshape(self._shape)})
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise BackendError(f"onnxruntime failed: {type(error).__name__}: {str(error)[:200]}") from None
        made: Float32Array = output.reshape(-1)
        return made


def check_onnxruntime(stream: Stream) -> None:
    """Raise BackendError where nothing here could run the stream's encoder."""
    if not has_onnxruntime():
        raise BackendError(
            f"stream {stream.name}: its encoder runs on the CPU, and onnxruntime is not installed: "
            "pip install 'gaitd[onnx]'"
        )


def time_encoder(model: EncoderModel, encoder: Encoder, runs: int) -> list[float]:
    """How long each of some runs took on a frame of zeros [s]. Raises BackendError, also for no numbers."""
    values = np.zeros(encoder.takes.size, np.float32)
    taken = []
    for _ in range(runs):
        began_s = time.perf_counter()
        made = model(values)
        taken.append(time.perf_counter() - began_s)
        if not np.isfinite(made).all():
            raise BackendError(f"{encoder.model}.onnx makes what is not finite of a frame of zeros")
    return taken


def _shape(where: str, kind: str, name: str, size: int, nodes: list[Any]) -> list[int]:
    """Of the one tensor there. Raises InputError unless it is one of that name with so many floats."""
    (node, *others) = nodes
    # A symbolic first axis is a batch of one; any other axis must be fixed.
    found = list(node.shape)
    shape = [1, *found[1:]] if found and not isinstance(found[0], int) else found
    fixed = all(isinstance(each, int) for each in shape)
    fits = node.name == name and node.type == "tensor(float)"
    if others or not fits or not fixed or math.prod(shape) != size:
        listed = ", ".join(f"{each.name} {each.type} {each.shape}" for each in nodes)
        raise InputError(
            f"{where}: {kind}s are {listed}; expected one tensor {name!r}, tensor(float) with {size} values"
        )
    return shape
