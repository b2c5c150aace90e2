"""rl_games: ``model.a2c_network`` and ``model.running_mean_std``.

Keys: algos_torch/network_builder.py (A2CBuilder), models.py, running_mean_std.py; what the player does with
the mean: common/player.py, algos_torch/players.py (clamped to +-1 and scaled to the action space if
clip_actions).
"""

from __future__ import annotations

import torch

from gaitforge.checkpoint.activations import of_trainer
from gaitforge.checkpoint.claims import Claims, joined
from gaitforge.checkpoint.content import Content
from gaitforge.checkpoint.recipe import Head, Layer, Recipe
from gaitforge.checkpoint.training import Training

ROOT = "model."
_NETWORK = "model.a2c_network."


def recognise(content: Content) -> bool:
    """Tell by the network's name."""
    return content.has(_NETWORK)


def read(claims: Claims, training: Training) -> Recipe:
    """Take actor_mlp, a recurrent layer before or after it, and mu."""
    mlp = claims.sequential(f"{_NETWORK}actor_mlp.") if claims.content.has(f"{_NETWORK}actor_mlp.") else []
    mu = claims.linear(f"{_NETWORK}mu.")
    separate = claims.content.has(f"{_NETWORK}a_rnn.")
    rnn = claims.rnn(f"{_NETWORK}a_rnn." if separate else f"{_NETWORK}rnn.")
    recipe = Recipe("rl_games", [], rnn)
    if rnn and mlp and _rnn_is_last(claims, training, rnn, mlp[0], mlp[-1], mu[0]):
        recipe.encoder, recipe.branches = mlp, [mu]
    else:
        recipe.branches = [joined(mlp, mu)]
    inside = claims.content.has("model.running_mean_std.")
    recipe.normalizer = claims.normalizer("model.running_mean_std" if inside else "running_mean_std")
    where = str(training.agent_path)
    if training.get("params", "network", "mlp", "d2rl"):
        claims.refuse(f"has a D2RL network ({where}), whose layers also take the observation: not supported")
    activation = training.get("params", "network", "mlp", "activation")
    if activation:
        recipe.activations[where] = of_trainer(activation, where)
    _normalization(claims, training, recipe)
    sigma = claims.take(f"{_NETWORK}sigma", "exploration")
    if sigma is not None:
        recipe.exploration = (f"{_NETWORK}sigma", sigma.numel())
    claims.leave(f"{_NETWORK}sigma.", "exploration")
    for prefix in ("c_rnn.", "c_layer_norm."):
        claims.leave(_NETWORK + prefix, "critic")
    for prefix in ("reward_mean_std.", "advantage_mean_std.", "central_val_stats.", "assymetric_vf_nets."):
        claims.leave(prefix, "value function")
    claims.leave("running_mean_std.", "the same as model.running_mean_std")
    claims.leave_training_only([ROOT, _NETWORK])
    recipe.head = _head(training, recipe)
    return recipe


def _normalization(claims: Claims, training: Training, recipe: Recipe) -> None:
    """Hold what params/agent.yaml says against the file; rl_games' own epsilon and clip cannot be set."""
    where = str(training.agent_path)
    told = training.get("params", "config", "normalize_input")
    if told is not None and claims.choices.normalizer is None and bool(told) != bool(recipe.normalizer):
        there = "a" if recipe.normalizer else "no"
        claims.refuse(
            f"has {there} running_mean_std, but {where} says normalize_input: {told}: keep the agent.yaml of "
            "this run, or say --normalizer"
        )
    clip = training.number("params", "env", "clip_observations")
    if clip is not None:
        recipe.notes.append(
            f"{where}: observations are clipped to +-{clip:g} before they are normalized: say so as "
            "observation.clip in the manifest"
        )


def _rnn_is_last(
    claims: Claims,
    training: Training,
    rnn: dict[str, torch.Tensor],
    first: Layer,
    last: Layer,
    mu: Layer,
) -> bool:
    """Tell whether the recurrent layer stands after the MLP, by the widths, else by the configuration."""
    size, width = rnn["weight_hh_l0"].shape[1], rnn["weight_ih_l0"].shape[1]
    outputs = last.weights["weight"].shape[0]
    after = outputs == width and mu.weights["weight"].shape[1] == size
    before = first.weights["weight"].shape[1] == size and mu.weights["weight"].shape[1] == outputs
    told = training.get("params", "network", "rnn", "before_mlp")
    if after and before and told is None:
        claims.refuse(
            "does not tell whether its recurrent layer stands before the MLP: keep params/agent.yaml"
        )
    if not (after or before):
        claims.refuse("has a recurrent layer that also takes or passes on the observation: not supported")
    return after if not (after and before) else not told


def _head(training: Training, recipe: Recipe) -> Head:
    where = str(training.agent_path)
    activation = training.get("params", "network", "space", "continuous", "mu_activation")
    if activation is not None and of_trainer(activation, where) != "identity":
        recipe.notes.append(f"{where}: mu_activation is {activation}")
        return Head(of_trainer(activation, where))
    if training.get("params", "config", "clip_actions"):
        limit = training.number("params", "env", "clip_actions") or 1.0
        recipe.notes.append(f"{where}: actions are clipped to +-1, then scaled by {limit:g}")
        return Head("clip", torch.tensor([-limit]), torch.tensor([limit]))
    if training.agent_path is None:
        recipe.notes.append(
            "rl_games does not save mu_activation nor clip_actions: taking the output of mu as the action; "
            "keep params/agent.yaml beside the checkpoint to be sure"
        )
    return Head()
