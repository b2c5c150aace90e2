"""The models that the tests run, and their answers computed with numpy."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from standin.model_file import Layer, Tensor, model_bytes

from gaitd.policy.manifest import Model, RecurrentState

OBSERVATION_DIM = 45
ACTION_DIM = 12
HIDDEN_DIM = 8

Float32Array = npt.NDArray[np.float32]


def layers(inputs: int, outputs: int, width: int = 32) -> list[Layer]:
    """A small ELU network with fixed random weights."""
    random = np.random.default_rng(7)
    sizes = [inputs, width, width, outputs]
    return [
        Layer(
            (random.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32),
            (0.1 * random.standard_normal(rows)).astype(np.float32),
            "elu" if index < 2 else "none",
        )
        for index, (columns, rows) in enumerate(itertools.pairwise(sizes))
    ]


def forward(network: list[Layer], values: Float32Array) -> Float32Array:
    """What the network answers."""
    for layer in network:
        values = layer.weight @ values + layer.bias
        if layer.activation == "elu":
            values = np.where(values > 0, values, np.expm1(values))
    return values.astype(np.float32)


def policy(**file: str) -> bytes:
    """A feed-forward policy: obs (1, 45) -> action (1, 12)."""
    network = layers(OBSERVATION_DIM, ACTION_DIM)
    obs, action = Tensor("obs", (1, OBSERVATION_DIM)), Tensor("action", (1, ACTION_DIM))
    return model_bytes(network, [obs], [action], **file)


def recurrent_policy() -> tuple[bytes, Model, list[Layer]]:
    """obs, h_in -> action, h_out."""
    network = layers(OBSERVATION_DIM + HIDDEN_DIM, ACTION_DIM + HIDDEN_DIM)
    inputs = [Tensor("obs", (1, OBSERVATION_DIM)), Tensor("h_in", (1, 1, HIDDEN_DIM))]
    outputs = [Tensor("action", (1, ACTION_DIM)), Tensor("h_out", (1, 1, HIDDEN_DIM))]
    state = RecurrentState(input="h_in", output="h_out", shape=[1, 1, HIDDEN_DIM])
    return model_bytes(network, inputs, outputs), Model(recurrent=[state]), network


def observation(seed: int = 0) -> Float32Array:
    return np.random.default_rng(seed).standard_normal(OBSERVATION_DIM).astype(np.float32)
