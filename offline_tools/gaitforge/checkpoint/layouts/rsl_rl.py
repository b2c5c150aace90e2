"""rsl_rl 1 to 5 and legged_gym: actor-critics and distilled students.

Versions 1 to 3 (modules/actor_critic.py, actor_critic_recurrent.py, student_teacher.py) save one
``model_state_dict``, with ``obs_norm_state_dict`` beside it in 2 and ``actor_obs_normalizer`` inside it in 3;
4 and 5 (models/mlp_model.py, rnn_model.py, modules/distribution.py) save ``actor_state_dict`` or, distilled,
``student_state_dict``. A head without a deviation of its own gives both parameters of its distribution: mean
and deviation (3: state_dependent_std; 5: HeteroscedasticGaussianDistribution) or, since 5, a Beta
distribution's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from gaitforge.checkpoint.activations import of_trainer
from gaitforge.checkpoint.claims import Claims
from gaitforge.checkpoint.content import Content
from gaitforge.checkpoint.recipe import Head, Recipe
from gaitforge.checkpoint.training import Training

_DEVIATIONS = ("std", "log_std", "distribution.std_param", "distribution.log_std_param")


def recognise(content: Content) -> bool:
    """Tell by the keys of any version."""
    return content.matches(r"(actor|student)_state_dict\.(mlp|rnn|cnns)\.") or content.matches(
        r"model_state_dict\.(actor|student)\.\d"
    )


def read(claims: Claims, training: Training) -> Recipe:
    """Take the actor, or the student of a distillation."""
    content = claims.content
    student = content.matches(r"student_state_dict\.|model_state_dict\.student\.")
    role = "student" if student else "actor"
    if content.has(f"{role}_state_dict."):
        root, layers, memory = f"{role}_state_dict.", "mlp.", "rnn."
        normalizers = [f"{root}obs_normalizer"]
        configured = training.section(role) or training.section("policy")
        normalized = configured.get("obs_normalization") or configured.get(f"{role}_obs_normalization")
        name = "rsl_rl 4 or 5"
    else:
        root, layers, memory = "model_state_dict.", f"{role}.", "memory_s." if student else "memory_a."
        normalizers = [f"{root}{role}_obs_normalizer", "obs_norm_state_dict"]
        configured = training.section("policy")
        normalized = configured.get(f"{role}_obs_normalization") or training.get("empirical_normalization")
        name = "rsl_rl 1 to 3 or legged_gym"
    convolutions = [key for key in content.tensors if key.startswith((f"{root}cnns.", f"{root}{role}_cnns."))]
    if convolutions:
        claims.refuse_convolutions(convolutions)
    recipe = Recipe(f"{name}, the {role}", [claims.sequential(root + layers)], claims.rnn(root + memory))
    recipe.normalizer = claims.normalizer(*normalizers)
    if normalized and recipe.normalizer is None and claims.choices.normalizer is None:
        claims.refuse(
            f"has no normalizer, but {training.agent_path} says that the {role}'s observation is normalized"
        )
    if configured.get("activation"):
        where = str(training.agent_path)
        recipe.activations[where] = of_trainer(configured["activation"], where)
    for key in _DEVIATIONS:
        deviation = claims.take(root + key, "exploration")
        if deviation is not None:
            recipe.exploration = (root + key, deviation.numel())
    recipe.head = _head(claims, training, recipe, configured)
    claims.leave("critic_obs_norm_state_dict.", "critic")
    claims.leave("privileged_obs_norm_state_dict.", "critic")
    claims.leave(f"{root}memory_c.", "critic")
    claims.leave(f"{root}memory_t.", "teacher")
    claims.leave_training_only([root])
    if training.get("clip_actions"):
        recipe.notes.append(
            f"{training.agent_path} clips actions to +-{training.get('clip_actions')}: say so as "
            "action.clip in the manifest"
        )
    return recipe


def _head(claims: Claims, training: Training, recipe: Recipe, configured: Mapping[str, Any]) -> Head:
    """What the last layer gives. Raises InputError when neither the file nor anybody says it."""
    distribution = configured.get("distribution_cfg") or {}
    if not isinstance(distribution, Mapping):
        claims.refuse(f"is described by {training.agent_path}, whose distribution_cfg is {distribution!r}")
    kind = claims.choices.head
    if kind is None and recipe.exploration is None:
        kind = _told_head(configured, distribution)
        if kind is None and recipe.output_width % 2 == 0:
            act_dim = claims.choices.act_dim
            only_gaussian = claims.content.has("model_state_dict.")
            if act_dim == recipe.output_width:
                kind = "plain"
            elif only_gaussian and act_dim is not None and 2 * act_dim == recipe.output_width:
                kind = "gaussian"
            else:
                claims.refuse(
                    f"has no deviation of the exploration and {recipe.output_width} outputs: they are the "
                    f"mean and deviation of {recipe.output_width // 2} actions (--head gaussian), the "
                    "parameters of a Beta distribution (--head beta), or the actions themselves (--head "
                    "plain)"
                )
        elif kind is not None:
            recipe.notes.append(f"{training.agent_path}: the head is {kind}; the policy gives its mean")
    if kind != "beta":
        return Head(kind or "plain")
    action_range = distribution.get("action_range") or [-1.0, 1.0]
    if (
        not isinstance(action_range, list)
        or len(action_range) != 2
        or not all(isinstance(bound, int | float) for bound in action_range)
    ):
        claims.refuse(f"has a Beta head whose action_range is {action_range!r}: expected two numbers")
    low, high = action_range
    if "action_range" not in distribution:
        recipe.notes.append("taking rsl_rl's default range of a Beta distribution's actions, -1 to 1")
    return Head("beta", torch.tensor([float(low)]), torch.tensor([float(high)]))


def _told_head(configured: Mapping[str, Any], distribution: Mapping[str, Any]) -> str | None:
    name = str(distribution.get("class_name", ""))
    if "Beta" in name:
        return "beta"
    if "Heteroscedastic" in name or configured.get("state_dependent_std"):
        return "gaussian"
    return "plain" if name or configured.get("state_dependent_std") is False else None
