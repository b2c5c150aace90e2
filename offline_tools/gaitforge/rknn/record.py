"""How a .rknn file was made: kept beside it as NAME.rknn.json.

The toolkit cannot simulate a finished .rknn file, only what it has just built; with the record the same
model is built again.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from gaitd.bundle.untrusted import MAX_BUNDLE_BYTES
from gaitd.errors import InputError
from gaitd.policy.manifest import Float32Array, Model
from gaitd.system.plain_file import read_plain
from gaitforge.common import arrays, files
from gaitforge.model.onnx_policy import PolicyOnnx, read_policy
from gaitforge.rknn.toolkit import BuildOptions, Quantization

RECURRENT_SAMPLES = 256


class Record(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The sources and options of a .rknn file, and the compiler's report."""

    sha256: str
    """Of the .rknn file."""
    model: Model
    """Names of its tensors."""
    observation_dim: int
    action_dim: int
    onnx: str
    """Path of the model it was made from, relative to the record."""
    onnx_sha256: str
    """As PolicyOnnx.sha256."""
    target: str
    opt_level: int
    output_optimize: bool
    toolkit: str
    quant_dtype: str | None = None
    """None for float16."""
    algorithm: str | None = None
    dataset: str | None = None
    """Path of the calibration inputs, relative to the record."""
    dataset_sha256: str | None = None
    samples: int | None = None
    """How many calibration inputs were used; None for all."""
    fp16_layers: list[str] | None = None
    input_min: list[float] | None = None
    """Smallest calibration input, by value."""
    input_max: list[float] | None = None
    cpu_layers: list[str] = []
    """Operators that the compiler put on the CPU."""
    weight_memory_kib: float | None = None
    internal_memory_kib: float | None = None


def describe(record: Record) -> str:
    """How the file was made, in one line: for a bundle's provenance."""
    precision = "float16" if record.quant_dtype is None else record.quant_dtype
    if record.quant_dtype is not None and record.dataset_sha256 is not None:
        precision += f" ({record.algorithm}, calibrated on {record.dataset_sha256[:16]})"
    if record.fp16_layers:
        precision += f", {len(record.fp16_layers)} layers in float16"
    memory = "".join(
        f"; {what} {size:g} KiB"
        for what, size in (
            ("weights", record.weight_memory_kib),
            ("internal memory", record.internal_memory_kib),
        )
        if size is not None
    )
    return (
        f"rknn-toolkit2 {record.toolkit} for {record.target}, {precision}, opt-level {record.opt_level}, of "
        f"model {record.onnx_sha256[:16]}{memory}"
    )


def path_beside(rknn: Path) -> Path:
    """Where the record of a .rknn file is."""
    return rknn.with_name(f"{rknn.name}.json")


def write(rknn: Path, record: Record) -> None:
    """Write the record beside the .rknn file."""
    text = msgspec.json.format(msgspec.json.encode(record), indent=2)
    files.write_text(path_beside(rknn), text.decode() + "\n")


def read(rknn: Path) -> Record:
    """Read the record of a .rknn file. Raises InputError when it is missing or of another file."""
    files.existing(rknn, "the model")
    path = path_beside(rknn)
    try:
        record = msgspec.json.decode(read_plain(path, MAX_BUNDLE_BYTES), type=Record)
    except OSError as error:
        raise InputError(
            f"{path} is missing: the simulator needs to know how {rknn.name} was made; convert it again"
        ) from error
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: {error}") from error
    if record.sha256 != files.sha256(rknn):
        raise InputError(f"{rknn} is not the file that {path.name} describes: convert it again")
    return record


def sources(rknn: Path, record: Record) -> tuple[PolicyOnnx, BuildOptions]:
    """Return what the .rknn file was built from. Raises InputError when it is gone or has changed."""
    onnx = rknn.parent / record.onnx
    policy = read_policy(onnx)
    if policy.sha256 != record.onnx_sha256:
        raise _changed(rknn, onnx)
    quantization = None
    if record.quant_dtype is not None and record.algorithm is not None and record.dataset is not None:
        dataset = _unchanged(rknn, record.dataset, record.dataset_sha256)
        quantization = Quantization(
            record.quant_dtype,
            record.algorithm,
            calibration_inputs(policy, dataset, record.samples),
            record.fp16_layers,
        )
    return policy, BuildOptions(record.target, record.opt_level, record.output_optimize, quantization)


def _unchanged(rknn: Path, relative: str, sha256: str | None) -> Path:
    path = rknn.parent / relative
    if not path.is_file() or files.sha256(path) != sha256:
        raise _changed(rknn, path)
    return path


def _changed(rknn: Path, path: Path) -> InputError:
    return InputError(f"{path}, which {rknn.name} was made from, is gone or has changed: convert it again")


def calibration_inputs(
    policy: PolicyOnnx, dataset: Path, samples: int | None = None
) -> dict[str, Float32Array]:
    """Inputs (samples, *input shape) by name from recorded observations, evenly thinned to ``samples``.

    The hidden states of a recurrent policy are those of the float model on the rows in order; as the
    toolkit is slow with these, its default is RECURRENT_SAMPLES, otherwise all.
    """
    observations = arrays.read_observations(dataset, policy.observation_dim)
    inputs = {policy.model.input: observations[:, None, :]}
    if policy.model.recurrent:
        inputs.update(_hidden_states(policy, observations))
        samples = samples or RECURRENT_SAMPLES
    if samples is None:
        return inputs
    return {name: arrays.thin(rows, samples) for name, rows in inputs.items()}


def _hidden_states(policy: PolicyOnnx, observations: Float32Array) -> dict[str, Float32Array]:
    from gaitd.backends.onnx import open_session

    session = open_session(policy.content)
    names = [policy.model.output, *(state.output for state in policy.model.recurrent)]
    states = {state.input: np.zeros(state.shape, np.float32) for state in policy.model.recurrent}
    met: dict[str, list[Float32Array]] = {name: [] for name in states}
    for row in observations:
        for name, state in states.items():
            met[name].append(state)
        _, *following = session.run(names, {policy.model.input: row[None], **states})
        states = dict(zip(states, following, strict=True))
    return {name: np.stack(rows) for name, rows in met.items()}
