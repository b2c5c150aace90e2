"""gaitforge export: a training checkpoint becomes an ONNX model that provably computes the same."""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gaitd.errors import GateError, InputError
from gaitd.policy.contract import Float32Array, RecurrentState
from gaitforge import arrays, console, files
from gaitforge.policy_onnx import PolicyOnnx, read_policy, run_rows, set_metadata

if TYPE_CHECKING:
    import onnx

    from gaitforge.actor import ActorConfig
    from gaitforge.checkpoint import Checkpoint
    from gaitforge.cli import Subparsers

OPSET = 13
TOLERANCE = 1e-4
"""Largest difference between torch and onnxruntime, in raw action units."""

CHECK_ROWS = 1000

RSL_ACTIVATION = "elu"
"""The default of rsl_rl and legged_gym, whose checkpoints do not tell."""


@dataclass(frozen=True)
class Source:
    """A policy as torch runs it."""

    module: Any
    """Gives the action, or a tuple that begins with it."""
    obs_dim: int
    hidden: dict[str, list[int]]
    """Shapes of the hidden states by name."""
    separate_stats: tuple[Float32Array, Float32Array] | None = None
    """Mean and standard deviation (including epsilon) left out of the graph."""


@dataclass(frozen=True)
class Consistency:
    """How far onnxruntime is from torch, over all rows; arrays are per action."""

    max_error: Float32Array
    mean_error: Float32Array
    cosine: Float32Array
    rows: int


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "export",
        help="turn a training checkpoint into an ONNX model",
        description="Rebuild the actor of a checkpoint, export it to ONNX and check that both agree.",
    )
    parser.add_argument("checkpoint", type=Path, help=".pt: state dict, training checkpoint or TorchScript")
    parser.add_argument("--config", type=Path, help="YAML that describes the actor")
    parser.add_argument("--activation", help="activation of the hidden layers, where there is no --config")
    parser.add_argument("--output", type=Path, default=Path("policy.onnx"), help="default: %(default)s")
    parser.add_argument("--dynamic-batch", action="store_true", help="leave the batch size open")
    parser.add_argument("--opset", type=int, default=OPSET, help="ONNX operator set (default: %(default)s)")
    parser.add_argument("--strict", action="store_true", help="refuse missing and unexpected keys")
    parser.add_argument(
        "--normalizer",
        choices=("graph", "separate"),
        default="graph",
        help="where a normalizer of the checkpoint goes: into the graph, or into OUTPUT_obs_stats.npz, "
        "which quantizes better (default: %(default)s)",
    )
    parser.add_argument("--observations", type=Path, help="recorded model inputs to check with as well")
    parser.add_argument(
        "--tolerance", type=float, default=TOLERANCE, help="largest difference (default: %(default)s)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Export and check."""
    export(
        args.checkpoint,
        args.output,
        config=args.config,
        activation=args.activation,
        dynamic_batch=args.dynamic_batch,
        opset=args.opset,
        strict=args.strict,
        separate_normalizer=args.normalizer == "separate",
        observations=args.observations,
        tolerance=args.tolerance,
    )


def stats_path(output: Path) -> Path:
    """Where the statistics of a separate normalizer go."""
    return output.with_name(f"{output.stem}_obs_stats.npz")


def export(
    checkpoint: Path,
    output: Path,
    *,
    config: Path | None = None,
    activation: str | None = None,
    dynamic_batch: bool = False,
    opset: int = OPSET,
    strict: bool = False,
    separate_normalizer: bool = False,
    observations: Path | None = None,
    tolerance: float = TOLERANCE,
) -> Consistency:
    """Write the ONNX model. Raises InputError, or GateError when torch and onnxruntime disagree."""
    source = load_source(checkpoint, config, activation, strict, separate_normalizer)
    if dynamic_batch and source.hidden:
        raise InputError("--dynamic-batch: a recurrent policy carries the hidden state of one robot")
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


def load_source(
    path: Path,
    config_path: Path | None = None,
    activation: str | None = None,
    strict: bool = False,
    separate_normalizer: bool = False,
) -> Source:
    """Load a policy from a checkpoint or TorchScript. Raises InputError."""
    from gaitforge import checkpoint
    from gaitforge.actor import read_config

    config = read_config(files.existing(config_path, "the configuration")) if config_path else None
    files.existing(path, "the checkpoint")
    if checkpoint.is_torchscript(path):
        return _load_torchscript(path, config)
    found = checkpoint.read(path)
    config = config or checkpoint.own_config(path, found)
    config = _with_activation(path, found, config, activation)
    _report_keys(path, found, checkpoint.expected_keys(config, found.prefix), strict)
    return _build(path, found, config, separate_normalizer, str(config_path or path))


def has_normalizer(path: Path) -> bool:
    """Tell whether a checkpoint brings its own normalizer. Raises InputError."""
    from gaitforge import checkpoint

    return not checkpoint.is_torchscript(path) and checkpoint.read(path).normalizer is not None


def _build(
    path: Path, found: Checkpoint, config: ActorConfig, separate_normalizer: bool, where: str
) -> Source:
    from torch import nn

    from gaitforge.actor import Actor, Normalizer, build_mlp, build_rnn, check_config
    from gaitforge.checkpoint import RSL_EPSILON

    rnn = build_rnn(found.rnn) if found.rnn else None
    actor = Actor(build_mlp(found.layers, config), rnn, nn.Identity())
    if rnn is not None and actor.linear_layers()[0].in_features != rnn.hidden_size:
        raise InputError(
            f"{path}: the recurrent layer gives {rnn.hidden_size} values, but the layer after it takes "
            f"{actor.linear_layers()[0].in_features}"
        )
    check_config(actor, config, where)
    stats = None
    if found.normalizer is not None:
        mean, std = found.normalizer
        if len(mean) != actor.obs_dim:
            raise InputError(
                f"{path}: the normalizer has {len(mean)} values, the actor takes {actor.obs_dim}"
            )
        epsilon = RSL_EPSILON if config.normalizer_epsilon is None else config.normalizer_epsilon
        console.note(f"the checkpoint's normalizer divides by std + {epsilon:g}")
        if separate_normalizer:
            stats = (mean.numpy(), (std + epsilon).numpy())
        else:
            actor.normalizer = Normalizer(mean, std, epsilon)
    console.say(f"actor: {actor.describe()}")
    return Source(actor.eval(), actor.obs_dim, actor.hidden_shapes(), stats)


def _with_activation(
    path: Path, found: Checkpoint, config: ActorConfig | None, activation: str | None
) -> ActorConfig:
    from gaitforge.actor import ActorConfig, check_activation

    if activation is not None:
        check_activation(activation, "--activation")
        if config is not None and config.activation != activation:
            raise InputError(f"--activation {activation} disagrees with the description: {config.activation}")
        return config or ActorConfig(activation=activation)
    if config is not None:
        return config
    if found.of_rsl_rl:
        console.note(
            f"a checkpoint does not tell its activation: taking {RSL_ACTIVATION}, the default of rsl_rl and "
            "legged_gym; say --activation if training used another"
        )
        return ActorConfig(activation=RSL_ACTIVATION)
    raise InputError(f"{path} does not tell its activation: give --config or --activation, such as elu")


def _report_keys(path: Path, found: Checkpoint, expected: list[str], strict: bool) -> None:
    if found.ignored:
        named = ", ".join(dict.fromkeys(key.partition(".")[0] for key in found.ignored))
        console.note(f"{len(found.ignored)} weights that acting does not need are left out: {named}")
    present = {f"{found.prefix}{layer.index}.{name}" for layer in found.layers for name in layer.weights}
    missing = [key for key in expected if key not in present] if expected else []
    unexpected = found.unexpected + [key for key in sorted(present) if expected and key not in expected]
    if not (missing or unexpected):
        return
    rows = [["key", "state"], *([key, "missing"] for key in missing)]
    console.say(console.table([*rows, *([key, "unexpected"] for key in unexpected)]))
    if strict:
        raise InputError(
            f"{path}: {len(missing)} keys are missing and {len(unexpected)} are unexpected (--strict)"
        )
    if missing:
        raise InputError(f"{path}: {missing[0]} is missing, which the description asks for")


def _load_torchscript(path: Path, config: ActorConfig | None) -> Source:
    import torch

    try:
        module = torch.jit.load(str(path), map_location="cpu").eval()
    except Exception as error:  # torch raises RuntimeError and others for damage
        raise InputError(f"{path} is no readable TorchScript: {_first_line(error)}") from error
    widths = [tensor.shape[1] for tensor in module.parameters() if tensor.dim() == 2]
    if config is not None and config.obs_dim is not None:
        obs_dim = config.obs_dim
    elif widths:
        obs_dim = widths[0]
    else:
        raise InputError(f"{path}: cannot tell the observation's length: give it as obs_dim in --config")
    probe = torch.linspace(-1.0, 1.0, obs_dim).reshape(1, -1)
    try:
        with torch.no_grad():
            outputs = [module(probe) for _ in range(3)]
    except Exception as error:
        raise InputError(
            f"{path} does not run on an observation of {obs_dim} values: {_last_line(error)}"
        ) from error
    first, *others = [_first_tensor(output) for output in outputs]
    if any(not torch.equal(first, other) for other in others):
        raise InputError(
            f"{path} answers the same observation differently each time: it keeps a hidden state inside, "
            "which the robot could not reset; export the training checkpoint instead"
        )
    console.say(f"actor: TorchScript, {obs_dim} to {first.shape[-1]} values")
    return Source(module, obs_dim, {})


def _first_tensor(output: Any) -> Any:
    return output[0] if isinstance(output, tuple | list) else output


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
        raise InputError(f"torch cannot export this policy to opset {opset}: {_last_line(error)}") from error
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


def run_torch(source: Source, inputs: Float32Array) -> Float32Array:
    """Run the rows in order from a reset; returns actions (N, action_dim)."""
    import torch

    with torch.no_grad():
        if not source.hidden:
            output = _first_tensor(source.module(torch.from_numpy(inputs)))
            return np.asarray(output.numpy(), np.float32)
        hidden = tuple(torch.zeros(shape) for shape in source.hidden.values())
        actions = []
        for row in torch.from_numpy(inputs):
            action, *following = source.module(row.unsqueeze(0), *hidden)
            hidden = tuple(following)
            actions.append(action.numpy()[0])
    return np.asarray(actions, np.float32)


def compare(reference: Float32Array, other: Float32Array) -> Consistency:
    """Compare two runs (N, action_dim). Raises InputError when they differ in shape."""
    if reference.shape != other.shape:
        raise InputError(f"torch gives actions of shape {reference.shape}, ONNX {other.shape}")
    error = np.abs(reference - other)
    norms = np.linalg.norm(reference, axis=0) * np.linalg.norm(other, axis=0)
    cosine = np.divide((reference * other).sum(axis=0), norms, out=np.ones_like(norms), where=norms > 0)
    return Consistency(error.max(axis=0), error.mean(axis=0), cosine, len(reference))


def _report(result: Consistency, tolerance: float) -> None:
    rows = [["action", "max error", "mean error", "cosine"]]
    columns = zip(result.max_error, result.mean_error, result.cosine, strict=True)
    for index, (largest, mean, cosine) in enumerate(columns):
        rows.append([str(index), f"{largest:.2e}", f"{mean:.2e}", f"{cosine:.7f}"])
    console.say(console.table(rows))
    worst = int(result.max_error.argmax())
    if not result.max_error[worst] <= tolerance:
        raise GateError(
            f"action {worst} differs by {result.max_error[worst]:.2e} between torch and onnxruntime, "
            f"more than the tolerance {tolerance:g}"
        )


def _write_stats(source: Source, output: Path) -> None:
    if source.separate_stats is None:
        return
    mean, std = source.separate_stats
    with files.replacing(stats_path(output)) as beside:
        np.savez(beside, mean=mean, std=std)
    console.say(f"wrote {stats_path(output)}: the model takes normalized observations")


def _signature(policy: PolicyOnnx) -> str:
    hidden = "".join(f", {state.input} {state.shape}" for state in policy.model.recurrent)
    return f"obs [{policy.observation_dim}]{hidden} to action [{policy.action_dim}]"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1].strip()
