"""Which layers of a quantized model stay in float16: as few as the gate allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from gaitd.errors import GateError
from gaitd.policy.manifest import Float32Array
from gaitforge.common import console
from gaitforge.model.onnx_policy import PolicyOnnx
from gaitforge.rknn.simulator import SimulatorBackend
from gaitforge.rknn.toolkit import BuildOptions, Toolkit


@dataclass(frozen=True)
class Trial:
    """One choice of layers, and how far the model then is from float."""

    fp16_layers: list[str]
    mean_error: float
    max_error: float


def search(
    toolkit: Toolkit,
    policy: PolicyOnnx,
    options: BuildOptions,
    inputs: Float32Array,
    reference: Float32Array,
    passes: Callable[[Trial], bool],
) -> Trial:
    """Find layers to keep in float16 so that the model passes.

    Every layer is tried alone; then layers join in the order of what each gained, until ``passes``.
    ``inputs`` (N, observation_dim) and the float model's actions on them (N, action_dim) judge a trial.
    Raises GateError when only a model wholly in float16 would do.
    """

    def attempt(layers: list[str]) -> tuple[Trial, list[str]]:
        assert options.quantization is not None
        chosen = replace(options, quantization=replace(options.quantization, fp16_layers=layers))
        report = toolkit.build(policy, chosen)
        error = np.abs(SimulatorBackend(toolkit, policy).run_rows(inputs) - reference)
        trial = Trial(layers, float(error.mean()), float(error.max()))
        named = ", ".join(layers) or "no layer"
        console.say(f"  {named} in float16: mean error {trial.mean_error:.4f}, max {trial.max_error:.4f}")
        return trial, report.hybrid_layers

    trial, names = attempt([])
    if passes(trial):
        return trial
    alone = {name: attempt([name])[0] for name in names}
    ranked = sorted(names, key=lambda name: alone[name].mean_error)
    for count in range(1, max(2, len(ranked))):
        trial, _ = attempt(ranked[:count])  # the first one again: the toolkit has another one by now
        if passes(trial):
            return trial
    raise GateError(
        "no mix of integer and float16 layers passes the gate: convert without --do-quant, wholly in float16"
    )
