"""skrl: ``policy`` and the preprocessors of an agent.

Keys: agents/torch/*/*.py (checkpoint_modules), utils/model_instantiators/torch/gaussian.py and shared.py.
skrl 1 normalizes the observation by ``state_preprocessor``; 2 by ``observation_preprocessor``, and states,
which critics take, by ``state_preprocessor``.
"""

from __future__ import annotations

import re

from gaitforge.checkpoint.activations import of_trainer
from gaitforge.checkpoint.claims import Claims
from gaitforge.checkpoint.content import Content
from gaitforge.checkpoint.normalizers import Numbers
from gaitforge.checkpoint.recipe import Head, Recipe
from gaitforge.checkpoint.training import Training

_PREPROCESSORS = ("observation_preprocessor", "state_preprocessor")
_SCALER = "RunningStandardScaler"
_SCALER_ARGUMENTS = {"size", "device", "epsilon", "clip_threshold"}
_OFF_POLICY = r"(target_)?critic(_\d)?\.|target_policy\."


def recognise(content: Content) -> bool:
    """Tell by the names of the modules of an agent, or of its one separately stored policy."""
    agent = content.matches(r"policy\.") and (
        content.matches(r"policy\.log_std_parameter$|value\.|\w+_preprocessor\.|target_policy\.")
        or bool({"optimizer", "value", "state_preprocessor"} & set(content.values))
    )
    return agent or content.matches(r"log_std_parameter$") or content.matches(r"running_variance$")


def read(claims: Claims, training: Training) -> Recipe:
    """Take the policy. Raises InputError when its head is not told."""
    content = claims.content
    if not content.has("policy."):
        claims.refuse(
            "is one module of a skrl agent by itself; its preprocessor is in another file: save the whole "
            "agent (store_separately: False, or agent.save(path)) and export that"
        )
    root = "policy."
    groups = list(
        dict.fromkeys(
            match[1]
            for key in content.tensors
            if (match := re.match(r"(policy\.(?:\w+\.)*?)\d+\.weight$", key)) and ".value" not in key
        )
    )
    singles = [
        key.removesuffix("weight")
        for key, tensor in content.tensors.items()
        if re.match(r"policy\.(?!value)\w+\.weight$", key) and tensor.dim() == 2
    ]
    if len(groups) != 1 or len(singles) > 1:
        claims.refuse(
            f"has several networks in its policy ({', '.join(groups + singles)}): say their order, such as "
            + " ".join(f"--actor {name.rstrip('.')}" for name in (groups + singles)[:2])
        )
    rnn = claims.rnn(root)
    recipe = Recipe("skrl", [claims.chain([*groups, *singles])], rnn)
    recipe.normalizer = claims.normalizer(
        *_PREPROCESSORS, told=lambda key: _preprocessor(claims, training, key)
    )
    deviation = claims.take(f"{root}log_std_parameter", "exploration")
    if deviation is not None:
        recipe.exploration = (f"{root}log_std_parameter", deviation.numel())
    claims.leave("target_policy.", "critic")
    claims.leave("discriminator.", "discriminator (AMP)")
    claims.leave("amp_observation_preprocessor.", "discriminator (AMP)")
    claims.leave_training_only([root])
    _configured(claims, training, recipe)
    return recipe


def _preprocessor(claims: Claims, training: Training, key: str) -> Numbers:
    """What params/agent.yaml says of a preprocessor, by its class and its arguments."""
    where = str(training.agent_path)
    agent = training.section("agent")
    kind = str(agent.get(key) or "none").strip("<>'\"").rsplit(".", 1)[-1]
    if key in agent and kind != _SCALER and claims.choices.normalizer is None:
        claims.refuse(
            f"has a {key}, but {where} says agent.{key}: {agent[key]}; {_SCALER} is supported: keep the "
            f"agent.yaml of this run, or say --normalizer {key} or none"
        )
    of_skrl_2 = "observation_preprocessor" in agent
    if key == "state_preprocessor" and of_skrl_2 and claims.choices.normalizer is None:
        claims.refuse(
            f"has a state_preprocessor alone, but {where} is of skrl 2, where that is for what the critic "
            "takes: say --normalizer none, or --normalizer state_preprocessor if the policy takes states"
        )
    arguments = training.section("agent", f"{key}_kwargs")
    unknown = sorted(arguments.keys() - _SCALER_ARGUMENTS)
    if unknown:
        claims.refuse(
            f"was trained with agent.{key}_kwargs.{unknown[0]} ({where}), which is not understood; {_SCALER} "
            f"has {', '.join(sorted(_SCALER_ARGUMENTS))}"
        )
    return Numbers(
        training.number("agent", f"{key}_kwargs", "epsilon"),
        training.number("agent", f"{key}_kwargs", "clip_threshold"),
    )


def _configured(claims: Claims, training: Training, recipe: Recipe) -> None:
    """Take over what params/agent.yaml says of the policy's network and the preprocessors."""
    where = str(training.agent_path)
    policy = training.section("models", "policy")
    networks = policy.get("network") or []
    if not (isinstance(networks, list) and all(isinstance(network, dict) for network in networks)):
        claims.refuse(f"is described by {where}, whose models.policy.network is no list of networks")
    for network in networks:
        kinds = network.get("activations")
        for kind in kinds if isinstance(kinds, list) else [kinds] if kinds else []:
            name = of_trainer(kind, where)
            if recipe.activations.setdefault(where, name) != name:
                claims.refuse(f"has layers with different activations ({where}); one is supported")
    for key in _PREPROCESSORS:
        told = training.get("agent", key)
        if told and recipe.normalizer is None and claims.choices.normalizer is None:
            claims.refuse(f"has no {key}, but {where} says {told}")
    output = str(policy.get("output") or "").replace(" ", "")
    if output == "tanh(ACTIONS)":
        recipe.head = Head("tanh")
    elif output not in ("", "ACTIONS"):
        claims.refuse(
            f"has a policy whose output is {output} ({where}); ACTIONS and tanh(ACTIONS) are supported"
        )
    elif not output and claims.content.matches(_OFF_POLICY) and claims.config.output_activation is None:
        claims.refuse(
            "does not tell whether its actor ends in a tanh: say output_activation: tanh or identity in "
            "--config"
        )
    elif not output and claims.config.output_activation is None:
        recipe.notes.append("skrl does not save what follows the last layer; taking its output as the action")
