"""An ONNX model becomes a .rknn model for the NPU."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from gaitd.errors import GateError, InputError
from gaitd.policy.manifest import Float32Array
from gaitforge.common import arrays, console, files
from gaitforge.model.macs import count_macs
from gaitforge.model.onnx_policy import PolicyOnnx, read_policy, run_rows
from gaitforge.rknn import record
from gaitforge.rknn.budget import check_budget
from gaitforge.rknn.hybrid import Trial, search
from gaitforge.rknn.simulator import SimulatorBackend
from gaitforge.rknn.toolkit import BuildOptions, BuildReport, Toolkit

DTYPE = "w8a8"
ALIASES = {"asymmetric_affine-u8": DTYPE, "asymmetric_quantized-8": DTYPE}
"""Names of older chips and toolkits for 8-bit weights and activations."""

ALGORITHMS = ("normal", "mmse", "kl_divergence")

HYBRID_MEAN_ERROR = 0.05
"""What --hybrid aims at: mean action error, raw action units."""

ANOTHER_POLICY = {"float16": 0.02, "integers": 0.5}
"""Root mean square of the error over that of the actions. Rounding stays ten times below; what is above was
not converted but changed. How good a model is, `gaitforge verify` says.
"""

TRIAL_SAMPLES = 8
JUDGED_ROWS = 512
COMPARED_ROWS = 64
SMALL_ACTION = 1e-2
"""Actions smaller than this, raw units, are compared as if they were of this size."""


def convert(
    model: Path,
    output: Path,
    *,
    options: BuildOptions,
    dataset: Path | None = None,
    samples: int | None = None,
    hybrid: bool = False,
    replace_unsupported: list[str] | None = None,
    npu_memory_kib: float | None = None,
) -> BuildReport:
    """Write the .rknn model and its record; nothing is written when a step fails, or when the model takes
    more than ``npu_memory_kib`` of the NPU's memory.

    Raises InputError for wrong input, BackendError when the toolkit is missing or refuses, GateError when
    what it made is another policy.
    """
    policy = read_policy(model)
    inputs = record.calibration_inputs(policy, dataset, samples) if dataset is not None else {}
    if options.quantization is not None:
        options = replace(options, quantization=replace(options.quantization, dataset=inputs))
    judged = _judged(policy, inputs)
    with Toolkit(output.with_name(f"{output.name}.log")) as toolkit:
        policy = check_operators(toolkit, policy, options, replace_unsupported, judged, output)
        if hybrid:
            options = _with_layers(toolkit, policy, options, judged)
        with files.replacing(output) as beside:
            what = "float16" if options.quantization is None else options.quantization.dtype
            with console.step(f"Converting to {what} for {options.target}"):
                report = toolkit.build(policy, options, beside)
            check_budget(npu_memory_kib, report.weight_memory_kib, report.internal_memory_kib, output)
            check_converted(toolkit, policy, options, judged)
        version = toolkit.versions()["rknn-toolkit2"]
    record.write(output, _record(output, policy, options, dataset, samples, report, version))
    _say_result(output, policy, options, report)
    return report


def check_converted(
    toolkit: Toolkit, policy: PolicyOnnx, options: BuildOptions, judged: Float32Array
) -> None:
    """Compare what the toolkit has built with the ONNX model. Raises GateError when it is another policy."""
    rows = arrays.thin(judged, COMPARED_ROWS)
    with console.step(f"Comparing with the ONNX model on {len(rows)} inputs"):
        expected = run_rows(policy.backend(), rows)
        got = SimulatorBackend(toolkit, policy).run_rows(rows)
    error = float(np.sqrt(np.mean((got - expected) ** 2)))
    size = float(np.sqrt(np.mean(expected**2)))
    allowed = ANOTHER_POLICY["float16" if options.quantization is None else "integers"]
    if not error <= allowed * max(size, SMALL_ACTION):
        raise GateError(
            f"what rknn-toolkit2 made of {policy.path} is another policy: its actions, of size {size:.3g}, "
            f"are off by {error:.3g} (root mean square; allowed is {100 * allowed:g} %): not written. "
            "If the inputs were unlike what the robot meets, give recorded ones with --dataset"
        )


def replace_operators(model: Path, names: list[str], target: str, log: Path) -> None:
    """Put equivalents for unsupported operators, and the named ones, into an ONNX model itself."""
    policy = read_policy(model)
    with Toolkit(log) as toolkit:
        new = check_operators(toolkit, policy, BuildOptions(target), names, _judged(policy, {}), model)
    if new is not policy:
        new.path.replace(model)


def check_operators(
    toolkit: Toolkit,
    policy: PolicyOnnx,
    options: BuildOptions,
    replace_unsupported: list[str] | None,
    judged: Float32Array,
    output: Path,
) -> PolicyOnnx:
    """Name the operators that the NPU does not run, by a quick trial build, and replace them if asked."""
    import onnx

    from gaitforge.model import operators

    proto = onnx.load_model_from_string(policy.content)
    with console.step("Checking operators"):
        report = toolkit.build(policy, _trial(options), trial=True)
    away = {layer.op for layer in report.on_cpu()} | set(report.unsupported)
    for op in sorted(away):
        where = "has no implementation there at all" if op in report.unsupported else "runs on the CPU"
        advice = operators.ADVICE.get(op, "no equivalent is known")
        console.note(f"{op} is not available on the {options.target}'s NPU, it {where}; instead: {advice}")
    if options.quantization is not None:
        for layer in report.in_float16():
            console.note(f"{layer.op} {layer.name} stays in float16: it has no integer form")
    if replace_unsupported is None:
        return policy
    unknown = sorted(set(replace_unsupported) - set(operators.REPLACEABLE))
    if unknown:
        raise InputError(
            f"--replace-unsupported: there is no equivalent of {unknown[0]}; there are "
            f"{', '.join(operators.REPLACEABLE)}"
        )
    changed, counts = operators.replace(proto, away | set(replace_unsupported))
    if not counts:
        console.note("nothing to replace")
        return policy
    return _replaced(policy, changed.SerializeToString(), counts, judged, output)


def _replaced(
    policy: PolicyOnnx, content: bytes, counts: dict[str, int], judged: Float32Array, output: Path
) -> PolicyOnnx:
    """Write the changed model beside the output and say what the change does to the actions."""
    path = output.with_suffix(".replaced.onnx")
    with files.replacing(path) as beside:
        beside.write_bytes(content)
    new = read_policy(path)
    error = np.abs(run_rows(new.backend(), judged) - run_rows(policy.backend(), judged))
    named = ", ".join(f"{count} {op}" for op, count in counts.items())
    console.say(
        f"replaced {named} in {path}: actions change by {error.mean():.2g} on average, "
        f"{error.max():.2g} at most"
    )
    return new


def _trial(options: BuildOptions) -> BuildOptions:
    """The same, but quick: few samples, the simplest algorithm, no choice of layers."""
    if options.quantization is None:
        return options
    few = {name: rows[:TRIAL_SAMPLES] for name, rows in options.quantization.dataset.items()}
    quick = replace(options.quantization, algorithm="normal", dataset=few, fp16_layers=None)
    return replace(options, quantization=quick)


def _with_layers(
    toolkit: Toolkit, policy: PolicyOnnx, options: BuildOptions, judged: Float32Array
) -> BuildOptions:
    def passes(trial: Trial) -> bool:
        return trial.mean_error <= HYBRID_MEAN_ERROR

    console.say("Searching layers to keep in float16:")
    reference = run_rows(policy.backend(), judged)
    trial = search(toolkit, policy, options, judged, reference, passes)
    assert options.quantization is not None
    return replace(options, quantization=replace(options.quantization, fp16_layers=trial.fp16_layers))


def _judged(policy: PolicyOnnx, inputs: dict[str, Float32Array]) -> Float32Array:
    """Observations to judge a change of the model with: recorded ones, else random ones."""
    if inputs:
        return arrays.thin(inputs[policy.model.input][:, 0, :], JUDGED_ROWS)
    return arrays.normal_rows(JUDGED_ROWS, policy.observation_dim)


def _record(
    output: Path,
    policy: PolicyOnnx,
    options: BuildOptions,
    dataset: Path | None,
    samples: int | None,
    report: BuildReport,
    version: str,
) -> record.Record:
    chosen = options.quantization
    quantized = {}
    if chosen is not None and dataset is not None:
        rows = chosen.dataset[policy.model.input][:, 0, :]
        quantized = {
            "quant_dtype": chosen.dtype,
            "algorithm": chosen.algorithm,
            "dataset": os.path.relpath(dataset, output.parent),
            "dataset_sha256": files.sha256(dataset),
            "samples": samples,
            "fp16_layers": None if chosen.fp16_layers is None else list(chosen.fp16_layers),
            "input_min": rows.min(axis=0).tolist(),
            "input_max": rows.max(axis=0).tolist(),
        }
    return record.Record(
        sha256=files.sha256(output),
        model=policy.model,
        observation_dim=policy.observation_dim,
        action_dim=policy.action_dim,
        onnx=os.path.relpath(policy.path, output.parent),
        onnx_sha256=policy.sha256,
        target=options.target,
        opt_level=options.opt_level,
        output_optimize=options.output_optimize,
        toolkit=version,
        cpu_layers=[f"{layer.op} {layer.name}" for layer in report.on_cpu()],
        weight_memory_kib=report.weight_memory_kib,
        internal_memory_kib=report.internal_memory_kib,
        **quantized,
    )


def _say_result(output: Path, policy: PolicyOnnx, options: BuildOptions, report: BuildReport) -> None:
    import onnx

    def kib(size: float | None) -> str:
        return "unknown" if size is None else f"{size:.1f} KiB"

    counts = {target: sum(layer.target == target for layer in report.layers) for target in ("NPU", "CPU")}
    console.say(
        f"wrote {output} ({output.stat().st_size / 1024:.0f} KiB): weights {kib(report.weight_memory_kib)}, "
        f"internal {kib(report.internal_memory_kib)}; {counts['NPU']} layers on the NPU, {counts['CPU']} on "
        f"the CPU ({len(report.on_cpu())} of them computing)"
    )
    for target in ("NPU", "CPU"):
        ops = Counter(layer.op for layer in report.layers if layer.target == target)
        if ops:
            console.say(f"  {target}: {', '.join(f'{count} {op}' for op, count in sorted(ops.items()))}")
    macs = count_macs(onnx.load_model_from_string(policy.content))
    console.say(f"  {macs:,} multiply-accumulates an inference")
    if options.quantization is not None and options.quantization.fp16_layers:
        console.say(f"in float16: {', '.join(options.quantization.fp16_layers)}")
