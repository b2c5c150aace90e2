"""A policy as torch runs it: a rebuilt actor or TorchScript."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gaitd.errors import InputError
from gaitd.policy.contract import Float32Array
from gaitforge.common import console, files

if TYPE_CHECKING:
    from gaitforge.checkpoint.actor import ActorConfig
    from gaitforge.checkpoint.read import Checkpoint

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


def load_source(
    path: Path,
    config_path: Path | None = None,
    activation: str | None = None,
    strict: bool = False,
    separate_normalizer: bool = False,
) -> Source:
    """Load a policy from a checkpoint or TorchScript. Raises InputError."""
    from gaitforge.checkpoint import read as checkpoint
    from gaitforge.checkpoint.actor import read_config

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
    from gaitforge.checkpoint import read as checkpoint

    return not checkpoint.is_torchscript(path) and checkpoint.read(path).normalizer is not None


def _build(
    path: Path, found: Checkpoint, config: ActorConfig, separate_normalizer: bool, where: str
) -> Source:
    from torch import nn

    from gaitforge.checkpoint.actor import Actor, Normalizer, build_mlp, build_rnn, check_config
    from gaitforge.checkpoint.read import RSL_EPSILON

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
    from gaitforge.checkpoint.actor import ActorConfig, check_activation

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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = torch.jit.load(str(path), map_location="cpu").eval()
    except Exception as error:  # torch raises RuntimeError and others for damage
        raise InputError(f"{path} is no readable TorchScript: {last_line(error)}") from error
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
            f"{path} does not run on an observation of {obs_dim} values: {last_line(error)}"
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


def last_line(error: Exception) -> str:
    """Return the last line of an error's text that says something."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1].strip()
