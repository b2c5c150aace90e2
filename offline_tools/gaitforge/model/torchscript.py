"""TorchScript: run as it is, or rebuilt from its own state if it carries a hidden state."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gaitd.errors import InputError
from gaitforge.checkpoint.actor import Actor
from gaitforge.checkpoint.choices import Choices
from gaitforge.checkpoint.config import ActorConfig
from gaitforge.checkpoint.content import content_of
from gaitforge.checkpoint.read import rebuild
from gaitforge.checkpoint.recipe import Statistics
from gaitforge.checkpoint.training import script_activation
from gaitforge.common import console
from gaitforge.model.torch_policy import Source, first_tensor, last_line, run_torch, source_of

WIDEST = 4096
"""Longest observation that is tried."""

PROOF_ROWS, PROOF_TOLERANCE = 100, 1e-4
"""A rebuilt recurrent module is compared with the original over this many steps."""

_HEADS = {"_FirstSliceDeterministicOutput": "gaussian", "_MeanSliceDeterministicOutput": "gaussian"}
"""What rsl_rl's exported modules call the end of the network (rsl_rl/modules/distribution.py)."""


def load_torchscript(path: Path, config: ActorConfig | None, choices: Choices) -> Source:
    """Load a module and find the observation's length. Raises InputError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = torch.jit.load(str(path), map_location="cpu").eval()
    except Exception as error:  # torch raises RuntimeError and others for damage
        raise InputError(f"{path} is no readable TorchScript: {last_line(error)}") from error
    if any("weight_hh_l" in name for name in module.state_dict()):
        return _rebuilt(path, module, config, choices)
    obs_dim = _obs_dim(path, module, config, choices)
    probe = torch.linspace(-1.0, 1.0, obs_dim).reshape(1, -1)
    outputs = [first_tensor(_run(module, probe)).clone() for _ in range(3)]
    if any(not torch.equal(outputs[0], other) for other in outputs[1:]):
        raise InputError(
            f"{path} answers the same observation differently each time: it keeps a state inside, which the "
            "robot could not reset; export the training checkpoint instead"
        )
    width = outputs[0].shape[-1]
    for who, wanted in (("--config", config.act_dim if config else None), ("the manifest", choices.act_dim)):
        if wanted is not None and wanted != width:
            raise InputError(f"{path} gives {width} actions, but {who} says {wanted}")
    one_row = not _takes_batches(module, obs_dim)
    note = ", one row at a time" if one_row else ""
    console.say(f"actor: TorchScript, {obs_dim} to {width} values{note}")
    return Source(module, obs_dim, {}, one_row=one_row)


def _run(module: Any, rows: torch.Tensor) -> Any:
    with torch.no_grad():
        return module(rows)


def _runs(module: Any, width: int) -> bool:
    try:
        output = first_tensor(_run(module, torch.linspace(-1.0, 1.0, width).reshape(1, -1)))
    except Exception:  # whatever TorchScript raises for a wrong shape
        return False
    return isinstance(output, torch.Tensor) and output.dim() in (1, 2) and output.shape[-1] > 0


def _obs_dim(path: Path, module: Any, config: ActorConfig | None, choices: Choices) -> int:
    """Return the one length that the module runs on. Raises InputError when there is none, or several."""
    told = {"--config": config.obs_dim if config else None, "the manifest": choices.obs_dim}
    for who, width in told.items():
        if width is not None:
            if not _runs(module, width):
                raise InputError(
                    f"{path} does not run on an observation of {width} values, which is the obs_dim that "
                    f"{who} says: {_reason(module, width)}"
                )
            return width
    layers = [tensor.shape[-1] for tensor in module.state_dict().values() if tensor.dim() == 2]
    candidates = [width for width in dict.fromkeys(layers) if _runs(module, width)]
    if not candidates:
        candidates = [width for width in range(1, WIDEST + 1) if _runs(module, width)][:2]
    ask = "say it as obs_dim in --config (a file with obs_dim: N and nothing else will do)"
    if not candidates:
        tried = ", ".join(map(str, dict.fromkeys(layers))) or "none"
        reason = f": {_reason(module, layers[0])}" if layers else ""
        raise InputError(
            f"{path} runs on no observation of 1 to {WIDEST} values (its layers take {tried}): {ask}{reason}"
        )
    if len(candidates) > 1 or _runs(module, candidates[0] + 1):
        raise InputError(
            f"{path} runs on observations of several lengths ({candidates[0]} and more), so the right one "
            f"cannot be found by trying: {ask}"
        )
    return candidates[0]


def _reason(module: Any, width: int) -> str:
    try:
        output = _run(module, torch.zeros(1, width))
    except Exception as error:
        return last_line(error)
    return f"it gives {type(output).__name__}"


def _takes_batches(module: Any, width: int) -> bool:
    """Tell whether two rows at once give what they give one by one."""
    rows = torch.from_numpy(np.random.default_rng(0).standard_normal((2, width), dtype=np.float32))
    try:
        both = first_tensor(_run(module, rows))
    except Exception:  # traced for a batch of one
        return False
    single = [first_tensor(_run(module, row.reshape(1, -1))).reshape(-1) for row in rows]
    return both.shape == (2, len(single[0])) and bool(torch.allclose(both, torch.stack(single), atol=1e-5))


def _rebuilt(path: Path, module: Any, config: ActorConfig | None, choices: Choices) -> Source:
    """Rebuild a recurrent module from its weights and prove it against the original. Raises InputError."""
    base = config or ActorConfig()
    activation = base.activation or choices.activation or script_activation(module)
    described = ActorConfig(
        activation=activation,
        act_dim=base.act_dim,
        obs_dim=base.obs_dim,
        hidden_sizes=base.hidden_sizes,
        output_activation=base.output_activation,
        normalizer_epsilon=base.normalizer_epsilon or _epsilon(module),
    )
    heads = [_HEADS.get(str(getattr(part, "original_name", ""))) for part in module.modules()]
    head = choices.head or next((name for name in heads if name is not None), None)
    told = Choices(choices.actor, choices.normalizer, choices.ignore, choices.activation, head)
    console.say("TorchScript with a hidden state inside: rebuilding it from its weights")
    states = _states(module)
    weights = {key: value for key, value in module.state_dict().items() if key not in states}
    actor, recipe = rebuild(content_of(path, weights), told, described, str(path))
    _prove(path, module, actor, recipe.normalizer)
    return source_of(actor, None)


def _states(module: Any) -> dict[str, torch.Tensor]:
    """Return the buffers that have the shape of a recurrent layer's state, (layers, 1, size)."""
    weights = module.state_dict()
    sizes = {tensor.shape[1] for name, tensor in weights.items() if "weight_hh_l" in name}
    buffers = dict(module.named_buffers())
    return {
        name: tensor
        for name, tensor in buffers.items()
        if tensor.dim() == 3 and tensor.shape[1] == 1 and tensor.shape[2] in sizes
    }


def _epsilon(module: Any) -> float | None:
    """Return what the module's own normalizer adds to the deviation, if it has one."""
    for part in module.modules():
        value = getattr(part, "eps", None)
        if isinstance(value, float) and any(name.endswith("_mean") for name, _ in part.named_buffers()):
            return value
    return None


def _prove(path: Path, module: Any, actor: Actor, statistics: Statistics | None) -> None:
    source = source_of(actor, statistics)
    rows = np.random.default_rng(0).standard_normal((PROOF_ROWS, source.obs_dim), dtype=np.float32)
    for state in _states(module).values():
        state.zero_()
    try:
        outputs = [first_tensor(_run(module, torch.from_numpy(row.reshape(1, -1)))) for row in rows]
    except Exception as error:
        raise InputError(f"{path} does not run: {last_line(error)}") from error
    original = np.stack([output.numpy().reshape(-1) for output in outputs])
    rebuilt = run_torch(source, rows)
    if rebuilt.shape != original.shape:
        raise InputError(
            f"{path}: rebuilt from its weights it gives {rebuilt.shape[1]} actions, itself "
            f"{original.shape[1]}: export the training checkpoint instead"
        )
    worst = float(np.abs(original - rebuilt).max())
    if not worst <= PROOF_TOLERANCE:
        raise InputError(
            f"{path}: rebuilt from its weights it differs by {worst:.2g} from itself over {PROOF_ROWS} "
            "steps: export the training checkpoint instead"
        )
    console.note(f"the rebuilt module differs from the original by {worst:.1e} over {PROOF_ROWS} steps")
