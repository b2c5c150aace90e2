"""A training checkpoint becomes an ONNX model that provably computes the same."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gaitd.errors import GateError, InputError
from gaitd.policy.manifest import Float32Array, RecurrentState
from gaitforge.checkpoint.choices import Choices
from gaitforge.common import arrays, console, files
from gaitforge.model.onnx_policy import PolicyOnnx, read_policy, run_rows, set_metadata
from gaitforge.model.torch_policy import Source, last_line, load_source, run_torch

if TYPE_CHECKING:
    import onnx


OPSET = 13
TOLERANCE = 1e-4
"""Largest difference between torch and onnxruntime, in raw action units; where an answer is larger than 1, of
that answer's own largest action.

Rounding grows with what is summed: float32 keeps seven digits, so actions of hundreds differ by some 1e-4
although the network is the same. It grows with the sums of the same step alone. The bound therefore follows
each answer, never the largest one of all inputs: a wrong constant or activation that shows on ordinary
observations is not excused by an extreme one; the check's inputs are of sizes 0.1, 1 and 5.
"""

CHECK_ROWS = 1000


@dataclass(frozen=True)
class Consistency:
    """How far onnxruntime is from torch, over all rows; arrays are per action."""

    max_error: Float32Array
    mean_error: Float32Array
    cosine: Float32Array
    relative: Float32Array
    """Largest error as a part of the same answer's largest action, at least of 1."""
    rows: int


def stats_path(output: Path) -> Path:
    """Where the statistics of a separate normalizer go."""
    return output.with_name(f"{output.stem}_obs_stats.npz")


def export(
    checkpoint: Path,
    output: Path,
    *,
    config: Path | None = None,
    choices: Choices | None = None,
    dynamic_batch: bool = False,
    opset: int = OPSET,
    separate_normalizer: bool = False,
    observations: Path | None = None,
    tolerance: float = TOLERANCE,
) -> Consistency:
    """Write the ONNX model. Raises InputError, or GateError when torch and onnxruntime disagree."""
    source = load_source(checkpoint, config, choices, separate_normalizer)
    if dynamic_batch and source.hidden:
        raise InputError("--dynamic-batch: a recurrent policy carries the hidden state of one robot")
    if dynamic_batch and source.one_row:
        raise InputError(f"--dynamic-batch: {checkpoint} was traced for a batch of one")
    with files.replacing(output) as beside:
        with console.step(f"Exporting to opset {opset}"):
            beside.write_bytes(to_onnx(source, opset, dynamic_batch))
        policy = read_policy(beside)
        inputs = check_inputs(source.obs_dim, observations)
        with console.step(f"Comparing torch and onnxruntime on {len(inputs)} inputs"):
            result = compare(run_torch(source, inputs), run_rows(policy.backend(), inputs))
        _report(result, tolerance)
    _write_stats(source, output)
    console.say(f"wrote {output}: {_signature(policy)}")
    return result


def to_onnx(source: Source, opset: int, dynamic_batch: bool) -> bytes:
    """Export, simplify and label the graph. Raises InputError when torch or the simplifier cannot."""
    import onnx
    import torch

    hidden = {name: torch.zeros(shape) for name, shape in source.hidden.items()}
    names = [f"{name}_in" for name in hidden], [f"{name}_out" for name in hidden]
    axes = {"obs": {0: "batch"}, "action": {0: "batch"}} if dynamic_batch else None
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            torch.onnx.export(
                source.module,
                (torch.zeros(1, source.obs_dim), *hidden.values()),
                buffer,
                input_names=["obs", *names[0]],
                output_names=["action", *names[1]],
                dynamic_axes=axes,
                opset_version=opset,
                dynamo=False,
            )
    except Exception as error:  # torch raises many kinds
        raise InputError(f"torch cannot export this policy to opset {opset}: {last_line(error)}") from error
    proto = onnx.load_model_from_string(buffer.getvalue())
    del proto.graph.output[1 + len(hidden) :]  # such as a critic's
    proto = simplify(proto)
    states = [
        RecurrentState(input=f"{name}_in", output=f"{name}_out", shape=shape)
        for name, shape in source.hidden.items()
    ]
    set_metadata(proto, states)
    return bytes(proto.SerializeToString())


def simplify(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Fold constants and drop what does nothing."""
    import onnxslim

    return onnxslim.slim(proto)


def check_inputs(dim: int, observations: Path | None) -> Float32Array:
    """Random inputs of several sizes (rows, dim), and the recorded ones."""
    scales = np.resize(np.array([0.1, 1.0, 5.0], np.float32), (CHECK_ROWS, 1))
    inputs = arrays.normal_rows(CHECK_ROWS, dim) * scales
    if observations is None:
        return inputs
    return np.concatenate([inputs, arrays.read_observations(observations, dim)])


def compare(reference: Float32Array, other: Float32Array) -> Consistency:
    """Compare two runs (N, action_dim). Raises InputError when they differ in shape."""
    if reference.shape != other.shape:
        raise InputError(f"torch gives actions of shape {reference.shape}, ONNX {other.shape}")
    error = np.abs(reference - other)
    norms = np.linalg.norm(reference, axis=0) * np.linalg.norm(other, axis=0)
    cosine = np.divide((reference * other).sum(axis=0), norms, out=np.ones_like(norms), where=norms > 0)
    size = np.maximum(np.abs(reference).max(axis=1, keepdims=True), 1.0)
    relative = (error / size).max(axis=0)
    return Consistency(error.max(axis=0), error.mean(axis=0), cosine, relative, len(reference))


def _report(result: Consistency, tolerance: float) -> None:
    rows = [["action", "max error", "mean error", "cosine"]]
    columns = zip(result.max_error, result.mean_error, result.cosine, strict=True)
    for index, (largest, mean, cosine) in enumerate(columns):
        rows.append([str(index), f"{largest:.2e}", f"{mean:.2e}", f"{cosine:.7f}"])
    console.say(console.table(rows))
    worst = int(result.relative.argmax())
    if not result.relative[worst] <= tolerance:
        raise GateError(
            f"action {worst} differs between torch and onnxruntime by {result.relative[worst]:.2e} (of the "
            f"answer's largest action where that is above 1), more than the tolerance {tolerance:g}"
        )


def _write_stats(source: Source, output: Path) -> None:
    """Write the statistics, or remove those of an earlier export, which would not fit."""
    stats = source.separate_stats
    if stats is None:
        stats_path(output).unlink(missing_ok=True)
        return
    clip = {} if stats.clip is None else {"clip": np.float32(stats.clip)}
    with files.replacing(stats_path(output)) as beside:
        np.savez(beside, mean=stats.mean, std=stats.divisor, **clip)
    console.say(f"wrote {stats_path(output)}: the model takes normalized observations")
    if clip:
        console.note(f"the manifest's normalization needs clip: {stats.clip:g}")


def _signature(policy: PolicyOnnx) -> str:
    hidden = "".join(f", {state.input} {state.shape}" for state in policy.model.recurrent)
    return f"obs [{policy.observation_dim}]{hidden} to action [{policy.action_dim}]"
