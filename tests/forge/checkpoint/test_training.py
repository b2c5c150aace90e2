"""What training wrote beside a checkpoint is read, and must agree with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoint_files as t
import numpy as np
import pytest
import torch
import yaml
from checkpoint_files import ACT, ELU, OBS, RELU, Array, forward, linears, numbered
from torch import nn

from gaitforge.model.onnx_policy import read_policy, run_rows

Forge = Callable[..., int]
Refused = Callable[..., str]

LAYERS = linears(OBS, 48, 32, ACT)
WIDE = linears(OBS, 48, 32, 2 * ACT)
INPUTS = np.random.default_rng(3).standard_normal((20, OBS)).astype(np.float32)


def configure(agent: dict[str, Any], folder: str = ".") -> None:
    path = Path(folder) / "params" / "agent.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(agent))


def save(content: Any, name: str = "model.pt") -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, name)


def actions() -> Array:
    return run_rows(read_policy(Path("policy.onnx")).backend(), INPUTS)


def rsl_rl_1() -> dict[str, Any]:
    weights = {**numbered(LAYERS, "actor."), **t.critic("critic."), "std": torch.ones(ACT)}
    return t.runner({"model_state_dict": weights})


def rl_games() -> dict[str, Any]:
    return t.rl_games({**numbered(LAYERS[:-1], "actor_mlp."), **LAYERS[-1].tensors("mu.")})


SKRL_NETWORK = [{"name": "net", "input": "OBSERVATIONS", "layers": [48, 32], "activations": "relu"}]

ACTIVATIONS = {
    "rsl_rl 3": (rsl_rl_1(), {"policy": {"activation": "relu"}}, lambda x: x),
    "rsl_rl 5": (t.rsl_rl_5(LAYERS), {"actor": {"activation": "relu"}}, t.rsl_normalized),
    "rsl_rl 5 student": (
        t.rsl_rl_5(LAYERS, "student", "teacher"),
        {"student": {"activation": "relu"}, "teacher": {"activation": "elu"}},
        t.rsl_normalized,
    ),
    "skrl": (
        t.skrl(numbered(LAYERS, "net.")),
        {"models": {"policy": {"network": SKRL_NETWORK, "output": "ACTIONS"}}},
        t.skrl_normalized,
    ),
    "rl_games": (
        rl_games(),
        {"params": {"network": {"mlp": {"activation": "relu"}}, "config": {"normalize_input": True}}},
        t.rl_games_normalized,
    ),
}


@pytest.mark.parametrize("folder", [".", "checkpoints", "a/b"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_activation_is_that_of_the_trainers_configuration(forge: Forge, name: str, folder: str) -> None:
    content, agent, normalize = ACTIVATIONS[name]
    configure(agent)
    save(content, f"{folder}/model.pt")
    assert forge("export", f"{folder}/model.pt") == 0
    np.testing.assert_allclose(actions(), forward(LAYERS, normalize(INPUTS), RELU), atol=1e-5)


def test_a_configuration_that_is_a_link_to_nothing_is_not_passed_over(refused: Refused) -> None:
    content, agent, _ = ACTIVATIONS["rsl_rl 3"]
    configure(agent)
    save(content)
    Path("params/agent.yaml").unlink()
    Path("params/agent.yaml").symlink_to("/nowhere/agent.yaml")
    error = refused(2, "export", "model.pt", "--activation", "elu")
    assert "params/agent.yaml cannot be read: a link to /nowhere/agent.yaml, where nothing is" in error


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_contradiction_is_refused(refused: Refused, name: str) -> None:
    content, agent, _ = ACTIVATIONS[name]
    configure(agent)
    save(content)
    error = refused(2, "export", "model.pt", "--activation", "elu")
    assert "activations disagree: --activation says elu" in error
    assert "agent.yaml says relu" in error


def test_an_unknown_activation_is_refused(refused: Refused) -> None:
    configure({"policy": {"activation": "crelu"}})
    save(rsl_rl_1())
    assert "'crelu' is not one of" in refused(2, "export", "model.pt")


@pytest.mark.parametrize(
    ("content", "agent"),
    [
        (rsl_rl_1(), {"policy": {"activation": "elu", "actor_obs_normalization": True}}),
        (rsl_rl_1(), {"policy": {"activation": "elu"}, "empirical_normalization": True}),
        (
            {key: value for key, value in rl_games().items() if key != "model"}
            | {
                "model": {
                    key: value
                    for key, value in rl_games()["model"].items()
                    if "running" not in key and "count" not in key
                }
            },
            {"params": {"network": {"mlp": {"activation": "elu"}}, "config": {"normalize_input": True}}},
        ),
        (
            {
                key: value
                for key, value in t.skrl(numbered(LAYERS, "net.")).items()
                if key != "state_preprocessor"
            },
            {"agent": {"state_preprocessor": "RunningStandardScaler"}},
        ),
    ],
)
def test_a_normalizer_that_training_had_must_be_there(
    refused: Refused, forge: Forge, content: dict[str, Any], agent: dict[str, Any]
) -> None:
    configure(agent)
    save(content)
    assert "agent.yaml" in refused(2, "export", "model.pt", "--activation", "elu")
    assert forge("export", "model.pt", "--activation", "elu", "--normalizer", "none") == 0


def test_heads_are_read_from_the_configuration(forge: Forge) -> None:
    distribution = {"class_name": "rsl_rl.modules:BetaDistribution", "action_range": [-2.0, 1.0]}
    save(t.rsl_rl_5(WIDE, deviation=False))
    configure({"actor": {"activation": "elu", "distribution_cfg": distribution}})
    assert forge("export", "model.pt") == 0
    out = forward(WIDE, t.rsl_normalized(INPUTS), ELU)
    alpha, beta = 1 + t.SOFTPLUS(out[:, :ACT]), 1 + t.SOFTPLUS(out[:, ACT:])
    np.testing.assert_allclose(actions(), 3 * alpha / (alpha + beta) - 2, atol=1e-5)
    distribution = {"class_name": "HeteroscedasticGaussianDistribution"}
    configure({"actor": {"activation": "elu", "distribution_cfg": distribution}})
    assert forge("export", "model.pt") == 0
    np.testing.assert_allclose(actions(), out[:, :ACT], atol=1e-5)


def test_skrl_and_rl_games_outputs_are_read_from_the_configuration(forge: Forge, refused: Refused) -> None:
    save(t.skrl(numbered(LAYERS, "net.")))
    policy = {"network": SKRL_NETWORK, "output": "tanh(ACTIONS)"}
    configure({"models": {"policy": policy}})
    assert forge("export", "model.pt") == 0
    np.testing.assert_allclose(
        actions(), np.tanh(forward(LAYERS, t.skrl_normalized(INPUTS), RELU)), atol=1e-5
    )
    configure({"models": {"policy": {**policy, "output": "3 * ACTIONS"}}})
    assert "3*ACTIONS" in refused(2, "export", "model.pt")
    save(rl_games())
    network = {"mlp": {"activation": "elu"}, "space": {"continuous": {"mu_activation": "None"}}}
    configure({"params": {"network": network, "config": {"clip_actions": True}}})
    assert forge("export", "model.pt") == 0
    expected = np.clip(forward(LAYERS, t.rl_games_normalized(INPUTS), ELU), -1, 1)
    np.testing.assert_allclose(actions(), expected, atol=1e-5)
    network["mlp"]["d2rl"] = True
    configure({"params": {"network": network}})
    assert "D2RL" in refused(2, "export", "model.pt")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_the_activation_is_that_of_the_exported_module(forge: Forge) -> None:
    save(rsl_rl_1())
    Path("exported").mkdir()
    torch.jit.script(nn.Sequential(nn.Linear(OBS, 8), nn.ReLU(), nn.Linear(8, ACT))).save(
        "exported/policy.pt"
    )
    assert forge("export", "model.pt") == 0
    np.testing.assert_allclose(actions(), forward(LAYERS, INPUTS, RELU), atol=1e-5)


def test_the_observation_of_the_environment_is_printed(
    forge: Forge, capsys: pytest.CaptureFixture[str]
) -> None:
    save(rsl_rl_1())
    configure({"policy": {"activation": "elu"}})
    Path("params/env.yaml").write_text(
        "observations:\n  policy:\n    concatenate_terms: true\n    base_ang_vel:\n      func: "
        "mdp:base_ang_vel\n"
        "      scale: 0.25\n      clip: !!python/tuple [-1, 1]\n    actions: {func: mdp:last_action}\n"
    )
    assert forge("export", "model.pt") == 0
    assert "base_ang_vel (scale 0.25, clip [-1, 1]), actions" in capsys.readouterr().out


SKRL = t.skrl(numbered(LAYERS, "net."))


def normalized(epsilon: float, clip: float) -> Array:
    """skrl's RunningStandardScaler: resources/preprocessors/torch/running_standard_scaler.py."""
    mean, var = t.moments()
    return np.clip((INPUTS - mean) / (np.sqrt(var) + epsilon), -clip, clip)


def test_the_scalers_arguments_are_read_from_the_configuration(forge: Forge, refused: Refused) -> None:
    save(SKRL)
    kwargs = {"size": None, "device": "cpu", "epsilon": 0.05, "clip_threshold": 2.0}
    agent = {"state_preprocessor": "RunningStandardScaler", "state_preprocessor_kwargs": kwargs}
    configure({"agent": agent})
    assert forge("export", "model.pt", "--activation", "elu") == 0
    np.testing.assert_allclose(actions(), forward(LAYERS, normalized(0.05, 2.0), ELU), atol=1e-5)
    assert np.abs(normalized(0.05, 2.0)).max() == 2.0
    Path("actor.yaml").write_text("activation: elu\nnormalizer_clip: 3.0\n")
    error = refused(2, "export", "model.pt", "--config", "actor.yaml")
    assert "normalizer_clip 3 by --config, 2 by its trainer" in error
    configure({"agent": {**agent, "state_preprocessor_kwargs": None}})
    assert forge("export", "model.pt", "--config", "actor.yaml") == 0
    np.testing.assert_allclose(actions(), forward(LAYERS, normalized(1e-8, 3.0), ELU), atol=1e-5)


@pytest.mark.parametrize(
    ("agent", "said"),
    [
        ({"state_preprocessor": "MeanOnlyScaler"}, "agent.state_preprocessor: MeanOnlyScaler"),
        (
            {"state_preprocessor": "RunningStandardScaler", "observation_preprocessor": None},
            "say --normalizer none, or --normalizer state_preprocessor",
        ),
        ({"state_preprocessor": None}, "agent.state_preprocessor: None"),
        ({"state_preprocessor_kwargs": {"clip": 4.0}}, "agent.state_preprocessor_kwargs.clip"),
        (
            {"state_preprocessor_kwargs": {"epsilon": "1e-8 "}},
            "state_preprocessor_kwargs.epsilon: expected a",
        ),
        ({"state_preprocessor_kwargs": {"clip_threshold": 0}}, "clips to +-0"),
        ({"state_preprocessor_kwargs": [1e-8]}, "agent.state_preprocessor_kwargs: expected keys and values"),
    ],
)
def test_a_scaler_that_is_not_understood_is_refused(
    refused: Refused, agent: dict[str, Any], said: str
) -> None:
    save(SKRL)
    configure({"agent": agent})
    assert said in refused(2, "export", "model.pt", "--activation", "elu")


def test_rl_games_normalizer_and_clip_of_observations(
    forge: Forge, refused: Refused, capsys: pytest.CaptureFixture[str]
) -> None:
    save(rl_games())
    configure({"params": {"config": {"normalize_input": False}}})
    assert "normalize_input: False" in refused(2, "export", "model.pt", "--activation", "elu")
    configure({"params": {"config": {"normalize_input": True}, "env": {"clip_observations": 5.0}}})
    assert forge("export", "model.pt", "--activation", "elu") == 0
    assert "clipped to +-5 before they are normalized: say so as observation.clip" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("policy:\n  activation: elu\n  activation: relu\n", "key 'activation' is named twice"),
        (
            "policy:\n  activation: !!python/object/apply:torch.nn.ELU []\n",
            "!!python/object/apply:torch.nn.ELU",
        ),
        ("- policy\n", "expected keys and values, got list"),
        ("policy: elu\n", "policy: expected keys and values, got 'elu'"),
        ("", "is empty"),
    ],
)
def test_a_configuration_that_is_not_understood_is_refused(refused: Refused, text: str, said: str) -> None:
    save(rsl_rl_1())
    configure({})
    Path("params/agent.yaml").write_text(text)
    error = refused(2, "export", "model.pt", "--activation", "elu")
    assert said in error
    assert "agent.yaml" in error


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "observations:\n  policy: {func: !!python/name:mdp.base_ang_vel ''}\n",
            "!!python/name:mdp.base_ang_vel",
        ),
        ("observations: {policy: {}}\nobservations: {policy: {}}\n", "is named twice"),
        ("observations: {}\n", "observations.policy: expected keys and values"),
    ],
)
def test_an_environment_that_is_not_understood_is_named(
    forge: Forge, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    save(rsl_rl_1())
    configure({"policy": {"activation": "elu"}})
    Path("params/env.yaml").write_text(text)
    assert forge("export", "model.pt") == 0
    printed = capsys.readouterr().out
    assert "the observation's terms are not shown: " in printed
    assert said in printed
