"""From a checkpoint file to the actor that was trained, or a refusal that says what to do."""

from __future__ import annotations

from gaitd.errors import InputError
from gaitforge.checkpoint import activations, training
from gaitforge.checkpoint.actor import Actor, build
from gaitforge.checkpoint.choices import Choices
from gaitforge.checkpoint.claims import Claims
from gaitforge.checkpoint.config import CONFIG_KEY, ActorConfig, convert
from gaitforge.checkpoint.content import Content
from gaitforge.checkpoint.layouts import LAYOUTS, told
from gaitforge.checkpoint.recipe import Head, Recipe
from gaitforge.common import console


def rebuild(
    content: Content, choices: Choices, config: ActorConfig | None, where: str
) -> tuple[Actor, Recipe]:
    """Rebuild the actor; its normalizer is in the recipe only. Raises InputError.

    ``where`` names the description in errors.
    """
    if config is None and CONFIG_KEY in content.values:
        where = f"{content.path}: {CONFIG_KEY}"
        config = convert(content.values[CONFIG_KEY], where)
    config = config or ActorConfig()
    beside = training.find(content.path)
    claims = Claims(content, choices, config)
    recipe = _recipe(claims, beside)
    claims.close()
    _check_widths(claims, recipe, config)
    activation = _activation(claims, recipe, config, where)
    try:
        actor = build(recipe, activation, config)
    except InputError as error:
        raise InputError(f"{content.path}: {error}") from error
    _check_config(actor, recipe, config, where)
    if recipe.normalizer is not None and len(recipe.normalizer.mean) != actor.obs_dim:
        claims.refuse(
            f"has a normalizer {recipe.normalizer.key} of {len(recipe.normalizer.mean)} values, the actor "
            f"takes {actor.obs_dim}"
        )
    _tell(content, actor, recipe)
    return actor, recipe


def _recipe(claims: Claims, beside: training.Training) -> Recipe:
    if claims.choices.actor:
        return told.read(claims)
    layout = next((layout for layout in LAYOUTS if layout.recognise(claims.content)), None)
    if layout is None:
        claims.refuse(
            "is of no known layout: say the actor's parts in order, such as --actor policy.trunk --actor "
            "policy.head"
        )
    recipe = layout.read(claims, beside)
    if claims.choices.head is not None and recipe.head.kind == "plain":
        recipe.head = Head(claims.choices.head)
    if beside.agent_path is not None and str(beside.agent_path) in recipe.activations:
        console.note(f"read {beside.agent_path}")
    return recipe


def _check_widths(claims: Claims, recipe: Recipe, config: ActorConfig) -> None:
    """Raise InputError when the action has another width than somebody says."""
    width = recipe.output_width
    if recipe.head.kind in ("gaussian", "beta"):
        if width % 2:
            claims.refuse(f"has {width} outputs, which is no two for each action (--head {recipe.head.kind})")
        width //= 2
    said = {"the manifest": claims.choices.act_dim}
    if recipe.exploration is not None:
        said[f"the exploration's {recipe.exploration[0]}"] = recipe.exploration[1]
    for who, wanted in said.items():
        if wanted is not None and wanted != width:
            last = ", ".join(branch[-1].name for branch in recipe.branches)
            claims.refuse(
                f"has {width} actions by the layer taken as the last one ({last}), but {wanted} by {who}: "
                "say the actor's parts in order as --actor PREFIX"
            )


def _activation(claims: Claims, recipe: Recipe, config: ActorConfig, where: str) -> str | None:
    """Return the activation that all who say one agree on; None where none is needed. Raises InputError."""
    said = dict(recipe.activations)
    if config.activation is not None:
        said[where] = config.activation
    if claims.choices.activation is not None:
        activations.check(claims.choices.activation, "--activation")
        said["--activation"] = claims.choices.activation
    if not said:
        exported = training.exported_activation(claims.content.path)
        if exported is not None:
            said[str(exported[1])] = exported[0]
            console.note(f"the activation is that of {exported[1]}: {exported[0]}")
    names = {"silu" if name == "swish" else name for name in said.values()}
    if len(names) > 1:
        told = ", but ".join(f"{who} says {name}" for who, name in reversed(said.items()))
        raise InputError(f"{claims.content.path}: activations disagree: {told}")
    needed = any(len(branch) > 1 for branch in recipe.branches) or recipe.encoder
    if not names and needed:
        claims.refuse(
            "does not tell its activation, and a wrong one gives wrong actions: say --activation, such as "
            "elu, or keep params/agent.yaml or exported/policy.pt beside it"
        )
    return names.pop() if names else None


def _check_config(actor: Actor, recipe: Recipe, config: ActorConfig, where: str) -> None:
    """Raise InputError when the description says something else than the weights."""
    linears = actor.linear_layers()
    found = {
        "obs_dim": actor.obs_dim,
        "act_dim": actor.act_dim,
        "hidden_sizes": [layer.out_features for layer in linears[:-1]],
    }
    for key, value in found.items():
        wanted = getattr(config, key)
        if wanted is not None and wanted != value:
            raise InputError(f"{where}: {key} is {wanted}, but the checkpoint's weights say {value}")
    if config.layer_norm and not any(layer.kind != "linear" for layer in recipe.branches[0]):
        raise InputError(f"{where}: layer_norm is true, but the checkpoint has none")


def _tell(content: Content, actor: Actor, recipe: Recipe) -> None:
    console.say(f"layout: {recipe.layout}")
    console.say(f"actor: {actor.describe()}")
    if recipe.normalizer is not None:
        console.note(f"normalizer {recipe.normalizer.key}: {recipe.normalizer.formula}")
    for text in recipe.notes:
        console.note(text)
    terms = training.observation_terms(content.path)
    if terms is not None:
        console.note(f"{terms[0]}: the observation is {', '.join(terms[1])}")
