"""onnxruntime on the CPU: one thread, inputs and outputs bound to arrays made at start."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence

import numpy as np

# Newer builds would otherwise keep a usage database in the home directory and send it off.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

from gaitd.backends.base import Float32Array
from gaitd.bundle.onnx_file import check_self_contained
from gaitd.errors import BackendError, InputError
from gaitd.policy.manifest import Model
from gaitd.system.empty_directory import empty_working_directory


def open_session(model_bytes: bytes) -> onnxruntime.InferenceSession:
    """Load a model for one thread. Raises InputError when it cannot be read or refers to other files."""
    check_self_contained(model_bytes)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Subnormal numbers cost ten times the time of others. Where onnxruntime can, it has the processor take
    # them for 0, in the thread that opens the process's first session, which also runs it.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    # Else bytes that say so are read in onnxruntime's own format, which nothing here has looked through.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.log_severity_level = 4  # what is wrong comes as an exception
    try:
        with empty_working_directory():
            return onnxruntime.InferenceSession(model_bytes, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        raise InputError(f"model.onnx: onnxruntime cannot load it: {_first_line(error)}") from None


class OnnxBackend:
    """A bundle's model.onnx (gaitd.backends.base.Backend)."""

    def __init__(
        self,
        model_bytes: bytes,
        model: Model,
        observation_dim: int,
        action_dim: int,
        *,
        inputs: Mapping[str, int] | None = None,
        unused_outputs: Sequence[str] = (),
    ) -> None:
        """Load the model. Raises InputError when it does not fit the contract, or as open_session does.

        ``inputs``: of a model with several, how many values each takes of the observation, one behind the
        other; then ``model.input`` is none of them. ``unused_outputs``: tensors that nobody asks for.
        """
        self._session = open_session(model_bytes)
        states = model.recurrent
        sizes = {model.input: observation_dim} if inputs is None else inputs
        self._check_names(model, sizes, unused_outputs)
        self._check_hidden(model)
        self._inputs = {name: np.zeros(self._shape(name, size), np.float32) for name, size in sizes.items()}
        places = np.cumsum([0, *sizes.values()]).tolist()
        self._filled = [
            (array.reshape(-1), slice(start, stop))
            for array, start, stop in zip(self._inputs.values(), places, places[1:], strict=False)
        ]
        self._action = np.zeros(self._shape(model.output, action_dim, of_output=True), np.float32)
        self._hidden = [np.zeros(state.shape, np.float32) for state in states]
        self._next_hidden = [np.zeros(state.shape, np.float32) for state in states]
        self._binding = self._session.io_binding()
        for name, array in self._inputs.items():
            _bind(self._binding.bind_input, name, array)
        _bind(self._binding.bind_output, model.output, self._action)
        for state, now, then in zip(states, self._hidden, self._next_hidden, strict=True):
            _bind(self._binding.bind_input, state.input, now)
            _bind(self._binding.bind_output, state.output, then)

    def infer(self, observation: Float32Array) -> Float32Array:
        """See Backend.infer."""
        for values, place in self._filled:
            values[:] = observation[place]
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:
            raise BackendError(f"onnxruntime failed: {_first_line(error)}") from None
        return self._action.reshape(-1)

    def commit(self) -> None:
        """See Backend.commit."""
        for now, then in zip(self._hidden, self._next_hidden, strict=True):
            now[...] = then

    def reset(self) -> None:
        """See Backend.reset."""
        for now in self._hidden:
            now.fill(0.0)

    def versions(self) -> dict[str, str]:
        """See Backend.versions."""
        return {"onnxruntime": onnxruntime.__version__}

    def memory(self) -> dict[str, int]:
        """See Backend.memory: it has no part in the NPU's."""
        return {}

    def close(self) -> None:
        """See Backend.close: onnxruntime frees the session with the object."""

    def _check_names(self, model: Model, inputs: Collection[str], unused_outputs: Sequence[str]) -> None:
        for kind, expected, got in (
            (
                "input",
                [*inputs, *(state.input for state in model.recurrent)],
                [node.name for node in self._session.get_inputs()],
            ),
            (
                "output",
                [model.output, *(state.output for state in model.recurrent), *unused_outputs],
                [node.name for node in self._session.get_outputs()],
            ),
        ):
            if sorted(expected) != sorted(got):
                raise InputError(
                    f"model.onnx: {kind}s are {', '.join(got)}, but the manifest's model section says "
                    f"{', '.join(expected)}"
                )

    def _check_hidden(self, model: Model) -> None:
        nodes = {node.name: node for node in (*self._session.get_inputs(), *self._session.get_outputs())}
        for state in model.recurrent:
            for node in (nodes[state.input], nodes[state.output]):
                # A symbolic axis takes whatever the manifest says.
                fits = len(node.shape) == len(state.shape) and all(
                    size == wanted or not isinstance(size, int)
                    for size, wanted in zip(node.shape, state.shape, strict=True)
                )
                if node.type != "tensor(float)" or not fits or min(state.shape, default=1) < 1:
                    raise InputError(
                        f"model.onnx: hidden state {node.name!r} is {node.type} {node.shape}, but the "
                        f"manifest's model.recurrent says {state.shape}"
                    )

    def _shape(self, name: str, dim: int, *, of_output: bool = False) -> list[int]:
        nodes = self._session.get_outputs() if of_output else self._session.get_inputs()
        node = next(node for node in nodes if node.name == name)
        # A symbolic batch axis is one robot; any other axis must be fixed.
        shape = [
            1 if index == 0 and not isinstance(size, int) else size for index, size in enumerate(node.shape)
        ]
        if node.type != "tensor(float)" or shape not in ([1, dim], [dim]):
            raise InputError(
                f"model.onnx: tensor {name!r} is {node.type} {node.shape}, expected tensor(float) [1, {dim}] "
                f"as the manifest's {'joints' if of_output else 'observation terms'} make"
            )
        return list(shape)


def _bind(bind: object, name: str, array: Float32Array) -> None:
    assert callable(bind)
    bind(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
