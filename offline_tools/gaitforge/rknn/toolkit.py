"""A running rknn-toolkit2: builds models and simulates them."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from gaitd.errors import BackendError
from gaitd.policy.manifest import Float32Array
from gaitforge.common import console
from gaitforge.model import equality
from gaitforge.model.onnx_policy import PolicyOnnx
from gaitforge.rknn import dialect, environment


@dataclass(frozen=True)
class Quantization:
    """How weights and activations become integers."""

    dtype: str
    algorithm: str
    dataset: Mapping[str, Float32Array]
    """Calibration inputs (samples, *input shape) by input name."""
    fp16_layers: Sequence[str] | None = None
    """Layers kept in float16; None leaves the choice of layers aside, an empty list only lists them."""


@dataclass(frozen=True)
class BuildOptions:
    """Options of a build, besides the model."""

    target: str = "rk3588"
    opt_level: int = 3
    output_optimize: bool = True
    quantization: Quantization | None = None
    """None builds for float16."""


@dataclass(frozen=True)
class Layer:
    """One row of the compiler's table: an operator and where it runs."""

    name: str
    op: str
    dtype: str
    target: str


@dataclass(frozen=True)
class BuildReport:
    """The compiler's report on a model."""

    layers: list[Layer]
    internal_memory_kib: float | None
    weight_memory_kib: float | None
    hybrid_layers: list[str]
    """Names for ``Quantization.fp16_layers``; only of hybrid builds."""
    unsupported: list[str]
    """Operators that the chip has no implementation of, though the simulator runs them."""

    def on_cpu(self) -> list[Layer]:
        """Operators that leave the NPU; reshapes and conversions, which move data only, do not count."""
        moving = {"Reshape", "exDataConvert", "Transpose"}
        return [layer for layer in self.layers if layer.target == "CPU" and layer.op not in moving]

    def in_float16(self) -> list[Layer]:
        """Operators that compute in float16; of interest in a quantized model."""
        moving = {"Reshape", "exDataConvert", "Transpose"}
        return [layer for layer in self.layers if layer.dtype == "FLOAT16" and layer.op not in moving]


class Toolkit:
    """A process of the toolkit's environment. A context manager; one thread; one model at a time."""

    def __init__(self, log: Path, venv: Path | None = None) -> None:
        """Start it; what the toolkit prints is appended to ``log``.

        Raises BackendError when the environment is missing.
        """
        python = environment.python(venv)
        self.log = log.absolute()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        # The toolkit writes intermediate graphs to its working directory and copies of the model to TMPDIR.
        self._scratch = tempfile.TemporaryDirectory(prefix="gaitforge-rknn-")
        self._written: dict[bytes, Path] = {}
        variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "", "TMPDIR": self._scratch.name}
        self._process = subprocess.Popen(
            [str(python), str(environment.SIDE / "server.py"), str(self.log), self._scratch.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self._scratch.name,
            env=variables,
            text=True,
        )

    def __enter__(self) -> Toolkit:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._scratch.cleanup()

    def versions(self) -> dict[str, str]:
        """Names and versions of the toolkit and what it computes with."""
        return dict(self._call("versions"))

    def build(
        self,
        policy: PolicyOnnx,
        options: BuildOptions,
        output: Path | None = None,
        *,
        trial: bool = False,
    ) -> BuildReport:
        """Build a policy, ready for ``infer``; write it to ``output``.

        Raises BackendError with the toolkit's reason, also for unsupported operators unless it is a trial.
        """
        quantization: dict[str, Any] | None = None
        if options.quantization is not None:
            chosen = options.quantization
            dataset = Path(self._scratch.name) / "dataset.npz"
            rows = {name: np.asarray(rows, np.float32) for name, rows in chosen.dataset.items()}
            np.savez(dataset, **rows)  # type: ignore[arg-type]
            quantization = {
                "dtype": chosen.dtype,
                "algorithm": chosen.algorithm,
                "dataset": str(dataset),
                "fp16_layers": None if chosen.fp16_layers is None else list(chosen.fp16_layers),
            }
        answer = self._call(
            "build",
            onnx=str(self._write(policy)),
            inputs=policy.toolkit_inputs(),
            target=options.target,
            quantization=quantization,
            opt_level=options.opt_level,
            output_optimize=options.output_optimize,
            output=None if output is None else str(output.absolute()),
        )
        layers = [Layer(**layer) for layer in answer.pop("layers")]
        report = BuildReport(layers=layers, **answer)
        if report.unsupported and not trial:
            named = ", ".join(report.unsupported)
            raise BackendError(f"the {options.target} has no implementation of {named} (see {self.log})")
        return report

    def infer(self, inputs: Sequence[Float32Array]) -> list[Float32Array]:
        """Simulate the built model on a batch: arrays (rows, *input shape) -> (rows, *output shape).

        Raises BackendError when the simulator failed.
        """
        answer = self._call("infer", inputs=[_encode(array) for array in inputs])
        return [_decode(array) for array in answer["outputs"]]

    def _write(self, policy: PolicyOnnx) -> Path:
        """Write the model in the toolkit's dialect, once; returns the path. Raises InputError."""
        import onnx

        if policy.content not in self._written:
            proto = onnx.load_model_from_string(policy.content)
            new, changes = dialect.for_toolkit(proto)
            if changes:
                what = f"for rknn-toolkit2, {policy.path}: {'; '.join(changes)}"
                console.note(what)
                equality.check_same(proto, new, what)
            path = Path(self._scratch.name) / f"policy{len(self._written)}.onnx"
            path.write_bytes(new.SerializeToString())
            self._written[policy.content] = path
        return self._written[policy.content]

    def _call(self, name: str, **arguments: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps({"call": name, **arguments}), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise BackendError(f"rknn-toolkit2 died in {name} (see {self.log})")
        answer = json.loads(line)
        if not answer["ok"]:
            raise BackendError(f"rknn-toolkit2: {answer['error']} (see {self.log})")
        result: dict[str, Any] = answer["result"]
        return result


def _encode(array: Float32Array) -> dict[str, Any]:
    data = np.ascontiguousarray(array, "<f4")
    return {"shape": list(data.shape), "data": base64.b64encode(data.tobytes()).decode()}


def _decode(array: dict[str, Any]) -> Float32Array:
    flat: Float32Array = np.frombuffer(base64.b64decode(array["data"]), np.dtype("<f4"))
    return np.reshape(flat, tuple(array["shape"]))
