"""Activations by name, as descriptions, trainers and torch call them."""

from __future__ import annotations

from typing import Any

from torch import nn

from gaitd.errors import InputError

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "celu": nn.CELU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "hardswish": nn.Hardswish,
    "identity": nn.Identity,
    "leaky_relu": nn.LeakyReLU,
    "mish": nn.Mish,
    "relu": nn.ReLU,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "swish": nn.SiLU,
    "tanh": nn.Tanh,
}

_BY_CLASS = {kind.__name__: name for name, kind in ACTIVATIONS.items() if name not in ("identity", "swish")}
_TRAINERS = {"lrelu": "leaky_relu", "none": "identity", "linear": "identity", "swish": "silu"}


def check(name: str, where: str) -> None:
    """Raise InputError unless the activation is known."""
    if name not in ACTIVATIONS:
        raise InputError(f"{where}: {name!r} is not one of {', '.join(ACTIVATIONS)}")


def of_class(name: str) -> str | None:
    """Return the name of a torch class such as ``LeakyReLU``, None if it is no activation."""
    return _BY_CLASS.get(name)


def of_trainer(value: Any, where: str) -> str:
    """Return the name of what a trainer's configuration calls an activation. Raises InputError.

    Takes ``elu``, ``ELU``, ``nn.ELU``, ``<class 'torch.nn.modules.activation.ELU'>``. rsl_rl's ``crelu`` is
    refused: it was ReLU in version 1 and is CELU since 2 (utils.resolve_nn_activation).
    """
    last = str(value).strip("<>'\" ").rsplit(".", 1)[-1].strip("'")
    name = of_class(last) or _TRAINERS.get(last.lower(), last.lower())
    check(name, where)
    return name
