"""Policies on the NPU of RK3588 through the vendor's Python package, rknn-toolkit-lite2.

``RKNNLite.inference`` drops the return code of the run and hands out an array all the same. So the package's
runtime object is driven step by step, and what it leaves out is checked here. gaitd.backends.rknn is the
default: it needs a fraction of the time and allocates nothing.
"""

from __future__ import annotations

import gc
import importlib.metadata
import os
from typing import Any

import numpy as np

from gaitd.backends import rknn_api as api
from gaitd.backends.base import Float32Array
from gaitd.backends.npu_tensors import HiddenState, InputCheck, check_tensors
from gaitd.backends.rknn_host import RknnHost
from gaitd.bundle.rknn_file import check_runtime_fits, read_rknn_file
from gaitd.errors import BackendError
from gaitd.policy.manifest import Model

PACKAGE = "rknn-toolkit-lite2"
VERSION = "2.5.0"
"""The one whose behaviour these checks were made for; its runtime object is no public interface."""
LIBRARY = "/usr/lib/librknnrt.so"
"""The only place where the package looks."""
STALE_CHANGE = 0.1
"""Normalized observation units. An input that differs by more cannot give the very same output bits."""


class RknnLiteBackend:
    """One policy on one NPU core (see base.Backend)."""

    def __init__(
        self,
        model_bytes: bytes,
        model: Model,
        observation_dim: int,
        action_dim: int,
        core: str = "0",
    ) -> None:
        """Load the model and bind its tensors by name.

        Raises InputError for an unknown core, a file that is no model, or tensors that are not those of the
        manifest; BackendError when package, runtime or driver are missing or do not fit.
        """
        self._core, core_mask = core, api.core_mask(core)
        host = RknnHost()
        self._file = read_rknn_file(model_bytes)
        host.check_chip(self._file.platforms)
        self._wheel = _open_wheel(model_bytes, core_mask, host)
        self._runtime = self._wheel.rknn_runtime
        try:
            self._prepare(model, observation_dim, action_dim)
        except BaseException:
            self.close()
            raise

    def infer(self, observation: Float32Array) -> Float32Array:
        """See base.Backend. Checks the observation, the run's own code, and the outputs."""
        if self._runtime is None:
            raise BackendError("the NPU backend is closed")
        self._check.check(observation)
        np.copyto(self._observation, observation)
        try:
            code = self._runtime.set_inputs(self._inputs, "float32", None) or self._runtime.run(False)
            if code:
                raise BackendError(api.explain("rknn_run", code))
            outputs = self._runtime.get_outputs(False, reuse_outputs=True)
        except BackendError:
            raise
        except Exception as error:  # the package raises nothing more special
            raise BackendError(f"{PACKAGE}: {error}") from None
        finally:
            gc.collect(0)  # each call leaves a reference cycle with its buffers behind
        self._take(outputs)
        self._check_fresh()
        return self._action

    def commit(self) -> None:
        """See base.Backend."""
        self._hidden.commit()

    def reset(self) -> None:
        """See base.Backend."""
        self._hidden.reset()

    def versions(self) -> dict[str, str]:
        """See base.Backend."""
        return {
            "runtime": self._runtime_version,
            "driver": self._driver_version,
            "toolkit": self._file.toolkit,
            PACKAGE: VERSION,
            "library": LIBRARY,
            "npu_core": self._core,
        }

    def memory(self) -> dict[str, int]:
        """See Backend.memory: the package does not ask the runtime."""
        return {}

    def close(self) -> None:
        """See base.Backend. Can be called twice."""
        if self._runtime is not None:
            self._runtime = None
            self._wheel.release()

    def _prepare(self, model: Model, observation_dim: int, action_dim: int) -> None:
        try:
            _, self._runtime_version, self._driver_version = self._runtime.get_sdk_version()
            counts = self._runtime.get_in_out_num()
            inputs, outputs = (
                {_name(attribute): attribute for attribute in map(self._attribute(is_output), range(count))}
                for is_output, count in zip((False, True), counts, strict=True)
            )
        except Exception as error:
            raise BackendError(f"{PACKAGE}: {error}") from None
        check_runtime_fits(self._file.toolkit, self._runtime_version, LIBRARY)
        sizes = [{name: int(tensor.n_elems) for name, tensor in side.items()} for side in (inputs, outputs)]
        check_tensors(model, observation_dim, action_dim, *sizes)
        self._inputs = [np.zeros(_shape(tensor), np.float32) for tensor in inputs.values()]
        given = {name: values.reshape(-1) for name, values in zip(inputs, self._inputs, strict=True)}
        self._observation = given[model.input]
        self._taken = [np.full(tensor.n_elems, np.nan, np.float32) for tensor in outputs.values()]
        taken = dict(zip(outputs, self._taken, strict=True))
        self._action = taken[model.output]
        self._hidden = HiddenState(model, given, taken)
        self._check = InputCheck(observation_dim)
        self._last_input = self._all_given()
        self._last_output = np.full(sum(values.size for values in self._taken), np.nan, np.float32)

    def _attribute(self, is_output: bool) -> Any:
        return lambda index: self._runtime.get_tensor_attr(index, is_output)

    def _take(self, outputs: Any) -> None:
        """Check number, type, size and finiteness; the arrays belong to the package, so copy them."""
        if not isinstance(outputs, list) or len(outputs) != len(self._taken):
            raise BackendError(f"{PACKAGE} gave no list of {len(self._taken)} outputs")
        for number, (got, kept) in enumerate(zip(outputs, self._taken, strict=True)):
            if not isinstance(got, np.ndarray) or got.dtype != np.float32 or got.size != kept.size:
                what = f"{got.dtype} {got.shape}" if isinstance(got, np.ndarray) else type(got).__name__
                raise BackendError(
                    f"{PACKAGE} gave output {number} as {what}, expected float32 ({kept.size},)"
                )
            np.copyto(kept, got.reshape(-1))
            if not np.isfinite(kept).all():
                raise BackendError("the NPU reported success, but its output is not finite")

    def _all_given(self) -> Float32Array:
        return np.concatenate([values.reshape(-1) for values in self._inputs])

    def _check_fresh(self) -> None:
        """Refuse the output of an earlier run: the buffer is the runtime's, so it cannot be marked before."""
        given = self._all_given()
        output = np.concatenate(self._taken)
        if not np.array_equal(output, self._last_output):
            self._last_input, self._last_output = given, output
        elif np.abs(given - self._last_input).max() > STALE_CHANGE:
            raise BackendError("the NPU reported success, but its output is that of an earlier run")


def _open_wheel(model_bytes: bytes, core_mask: int, host: RknnHost) -> Any:
    """The package with the model loaded. Raises BackendError."""
    try:
        found = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise BackendError(
            f"{PACKAGE} is not installed: pip install '{PACKAGE}=={VERSION}' (aarch64), or use the rknn "
            "backend, which needs no package"
        ) from None
    if found != VERSION:
        raise BackendError(
            f"{PACKAGE} is version {found}, but gaitd knows {VERSION} only: pip install "
            f"'{PACKAGE}=={VERSION}', or use the rknn backend"
        )
    try:
        from rknnlite.api import RKNNLite
    except Exception as error:  # a package with C extensions fails in many ways
        raise BackendError(f"{PACKAGE} cannot be imported: {error}") from None
    wheel = RKNNLite()
    memory = os.memfd_create("model.rknn")
    try:
        os.write(memory, model_bytes)
        if wheel.load_rknn(f"/proc/self/fd/{memory}") != 0:
            raise BackendError(f"{PACKAGE} cannot read the model; its own lines above say more")
    finally:
        os.close(memory)
    if wheel.init_runtime(core_mask=core_mask) != 0 or wheel.rknn_runtime is None:
        why = host.diagnosis()
        raise BackendError(
            f"{PACKAGE} cannot start the NPU runtime {LIBRARY}; its own lines above say more"
            + (f"; {why}" if why else "")
        )
    return wheel


def _name(attribute: Any) -> str:
    return str(attribute.name.decode(errors="replace"))


def _shape(attribute: Any) -> tuple[int, ...]:
    return tuple(int(size) for size in attribute.dims[: attribute.n_dims])
