"""Policies on the NPU of RK3588, through the vendor's runtime library.

Bound to the public C interface rather than to the vendor's Python wheel: the wheel drops the return code of
the run and hands out an array all the same, does not check sizes, and leaves reference cycles behind it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial

import numpy as np

from gaitd.backends import rknn_api as api
from gaitd.backends.base import NPU_MEMORY, Float32Array
from gaitd.backends.npu_tensors import HiddenState, InputCheck, check_tensors
from gaitd.backends.rknn_host import RknnHost, library_path, library_version
from gaitd.bundle.rknn_file import check_runtime_fits, read_rknn_file
from gaitd.errors import BackendError, InputError
from gaitd.policy import manifest


class RknnBackend:
    """One policy on one NPU core (see base.Backend)."""

    def __init__(
        self,
        model_bytes: bytes,
        model: manifest.Model,
        observation_dim: int,
        action_dim: int,
        core: str = "0",
        host: RknnHost | None = None,
    ) -> None:
        """Load the model and bind its tensors by name.

        Raises InputError for an unknown core, a file that is no model, or tensors that are not those of the
        manifest; BackendError when the NPU, its runtime or its driver is missing or does not fit the model.
        """
        self._core, self._core_mask = core, api.core_mask(core)
        host = host or RknnHost()
        self._file = read_rknn_file(model_bytes)
        host.check_chip(self._file.platforms)
        self._library = api.load_library(host.library)
        self._path = library_path(host.library)
        check_runtime_fits(self._file.toolkit, library_version(self._path), self._path)
        self._context = self._load(model_bytes, host)
        try:
            self._prepare(model, observation_dim, action_dim)
        except BaseException:
            self.close()
            raise

    def infer(self, observation: Float32Array) -> Float32Array:
        """See base.Backend. Checks the observation, every call of the runtime, and the action."""
        if not self._context:
            raise BackendError("the NPU backend is closed")
        self._check.check(observation)
        np.copyto(self._observation, observation)
        self._results.fill(np.nan)  # what the runtime does not write must not pass for an answer
        for function, call in self._calls:
            if code := call():
                raise BackendError(api.explain(function, code))
        if not np.isfinite(self._results, out=self._results_finite).all():
            raise BackendError("the NPU reported success, but its output is not finite or was not written")
        return self._action

    def commit(self) -> None:
        """See base.Backend."""
        self._hidden.commit()

    def reset(self) -> None:
        """See base.Backend."""
        self._hidden.reset()

    def versions(self) -> dict[str, str]:
        """Versions of the runtime library, the NPU driver and the toolkit that converted the model."""
        return {
            "runtime": self._runtime_version,
            "driver": self._driver_version,
            "toolkit": self._file.toolkit,
            "library": self._path,
            "npu_core": self._core,
        }

    def memory(self) -> dict[str, int]:
        """See base.Backend."""
        return self._memory

    def close(self) -> None:
        """See base.Backend. Can be called twice."""
        if self._context:
            context, self._context = self._context, 0
            self._library.rknn_destroy(context)

    def _load(self, model_bytes: bytes, host: RknnHost) -> int:
        context = ctypes.c_uint64()
        flags = api.FLAG_PRIOR_HIGH | api.FLAG_DISABLE_PROC_HIGH_PRIORITY
        code = self._library.rknn_init(ctypes.byref(context), model_bytes, len(model_bytes), flags, None)
        if code:
            runtime = library_version(self._path) or "of unknown version"
            why = host.diagnosis()
            raise BackendError(
                f"{api.explain('rknn_init', code)}; model by rknn-toolkit2 {self._file.toolkit}, "
                f"runtime {runtime} at {self._path}" + (f"; {why}" if why else "")
            )
        return context.value

    def _prepare(self, model: manifest.Model, observation_dim: int, action_dim: int) -> None:
        versions = api.SdkVersion()
        self._query(api.QUERY_SDK_VERSION, versions)
        self._runtime_version = versions.runtime.decode(errors="replace")
        self._driver_version = versions.driver.decode(errors="replace")
        check_runtime_fits(self._file.toolkit, self._runtime_version, self._path)
        self._call("rknn_set_core_mask", self._core_mask)

        count = api.TensorCount()
        self._query(api.QUERY_IN_OUT_NUM, count)
        inputs = [self._attribute(api.QUERY_INPUT_ATTR, i) for i in range(count.inputs)]
        outputs = [self._attribute(api.QUERY_OUTPUT_ATTR, i) for i in range(count.outputs)]
        self._memory = self._memory_sizes()
        _check_budget(model.npu_memory_kib, self._memory)
        sizes = [{_name(tensor): int(tensor.elements) for tensor in side} for side in (inputs, outputs)]
        check_tensors(model, observation_dim, action_dim, *sizes)

        _, given = _side_by_side(inputs)
        self._results, taken = _side_by_side(outputs)
        self._results_finite = np.empty(self._results.shape, np.bool_)
        self._observation, self._action = given[model.input], taken[model.output]
        self._check = InputCheck(observation_dim)
        self._hidden = HiddenState(model, given, taken)
        self._calls = self._run_calls(inputs, given, outputs, taken)

    def _run_calls(
        self,
        inputs: list[api.TensorAttribute],
        given: dict[str, Float32Array],
        outputs: list[api.TensorAttribute],
        taken: dict[str, Float32Array],
    ) -> list[tuple[str, Callable[[], int]]]:
        """The calls of one run with their arguments bound once; the buffers live in ``self``."""
        set_inputs = (api.Input * len(inputs))()
        for item, attribute in zip(set_inputs, inputs, strict=True):
            buffer = given[_name(attribute)]
            item.index, item.buffer, item.size = attribute.index, buffer.ctypes.data, buffer.nbytes
            item.type, item.format = api.TYPE_FLOAT32, attribute.format
        get_outputs = (api.Output * len(outputs))()
        for item, attribute in zip(get_outputs, outputs, strict=True):
            buffer = taken[_name(attribute)]
            item.index, item.buffer, item.size = attribute.index, buffer.ctypes.data, buffer.nbytes
            item.want_float, item.preallocated = 1, 1
        arguments: dict[str, tuple[object, ...]] = {
            "rknn_inputs_set": (len(inputs), set_inputs),
            "rknn_run": (None,),
            "rknn_outputs_get": (len(outputs), get_outputs, None),
            "rknn_outputs_release": (len(outputs), get_outputs),
        }
        return [
            (function, partial(getattr(self._library, function), self._context, *bound))
            for function, bound in arguments.items()
        ]

    def _memory_sizes(self) -> dict[str, int]:
        """Empty where the runtime does not tell."""
        sizes = api.MemorySize()
        arguments = (api.QUERY_MEM_SIZE, ctypes.byref(sizes), ctypes.sizeof(sizes))
        if self._library.rknn_query(self._context, *arguments):
            return {}
        return {name: int(getattr(sizes, name)) for name in NPU_MEMORY}

    def _attribute(self, query: int, index: int) -> api.TensorAttribute:
        attribute = api.TensorAttribute(index=index)
        self._query(query, attribute)
        return attribute

    def _query(self, query: int, answer: ctypes.Structure) -> None:
        self._call("rknn_query", query, ctypes.byref(answer), ctypes.sizeof(answer))

    def _call(self, function: str, *arguments: object) -> None:
        code = getattr(self._library, function)(self._context, *arguments)
        if code:
            raise BackendError(api.explain(function, code))


def _check_budget(budget_kib: float | None, memory: dict[str, int]) -> None:
    if budget_kib is None:
        return
    if not memory:
        raise BackendError(
            "the runtime does not tell what the model takes of the NPU's memory, which the manifest's "
            f"model.npu_memory_kib bounds to {budget_kib:g} KiB: install a newer librknnrt.so"
        )
    taken_kib = (memory["weights"] + memory["internal"]) / 1024
    if taken_kib > budget_kib:
        raise InputError(
            f"model.rknn takes {taken_kib:.1f} KiB of the NPU's memory (weights and internal), but the "
            f"manifest's model.npu_memory_kib is {budget_kib:g}"
        )


def _name(attribute: api.TensorAttribute) -> str:
    return str(attribute.name.decode(errors="replace"))


def _side_by_side(tensors: list[api.TensorAttribute]) -> tuple[Float32Array, dict[str, Float32Array]]:
    """One zeroed array for all tensors, and each tensor's part of it by name."""
    whole = np.zeros(sum(tensor.elements for tensor in tensors), np.float32)
    parts, start = {}, 0
    for tensor in tensors:
        parts[_name(tensor)] = whole[start : start + tensor.elements]
        start += tensor.elements
    return whole, parts
