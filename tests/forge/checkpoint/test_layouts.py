"""Each trainer's checkpoint becomes a model that gives what the trainer's own formulas give."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoint_files as t
import numpy as np
import pytest
import torch
from checkpoint_files import ACT, ELU, OBS, RELU, SILU, Array, below, forward, linears, numbered

from gaitforge.model.onnx_policy import read_policy, run_rows

Forge = Callable[..., int]
Refused = Callable[..., str]
Case = tuple[Any, list[str], Callable[[Array], Array]]

INPUTS = (np.random.default_rng(3).standard_normal((40, OBS)) * 2).astype(np.float32)
LAYERS = linears(OBS, 48, 32, ACT)
WIDE = linears(OBS, 48, 32, 2 * ACT)
ELU_SAID = ["--activation", "elu"]


def plain(x: Array) -> Array:
    return forward(LAYERS, x, ELU)


def rsl_rl_1() -> Case:
    weights = {**numbered(LAYERS, "actor."), **t.critic("critic."), "std": torch.ones(ACT)}
    return t.runner({"model_state_dict": weights}), ELU_SAID, plain


def rsl_rl_2_with_curiosity() -> Case:
    content, said, _ = rsl_rl_1()
    content["obs_norm_state_dict"] = t.empirical()
    content["privileged_obs_norm_state_dict"] = t.empirical(60)
    content["rnd_state_dict"] = numbered(linears(OBS, 8, 1), "predictor.")
    content["rnd_optimizer_state_dict"] = t.OPTIMIZER
    return content, said, lambda x: plain(t.rsl_normalized(x))


def rsl_rl_3() -> Case:
    content, said, _ = rsl_rl_1()
    content["model_state_dict"] |= below("actor_obs_normalizer.", t.empirical())
    content["model_state_dict"] |= below("critic_obs_normalizer.", t.empirical(60))
    return content, said, lambda x: plain(t.rsl_normalized(x))


def rsl_rl_3_state_dependent() -> Case:
    weights = {**numbered(WIDE, "actor."), **t.critic("critic.")}
    return t.runner({"model_state_dict": weights}), [*ELU_SAID, "--head", "gaussian"], mean_half


def rsl_rl_5() -> Case:
    return t.rsl_rl_5(LAYERS), ELU_SAID, lambda x: plain(t.rsl_normalized(x))


def rsl_rl_5_gaussian() -> Case:
    said = [*ELU_SAID, "--head", "gaussian"]
    return t.rsl_rl_5(WIDE, deviation=False), said, lambda x: mean_half(t.rsl_normalized(x))


def rsl_rl_5_beta() -> Case:
    def mean(x: Array) -> Array:
        out = forward(WIDE, t.rsl_normalized(x), ELU)
        alpha, beta = 1 + t.SOFTPLUS(out[:, :ACT]), 1 + t.SOFTPLUS(out[:, ACT:])
        return 2 * alpha / (alpha + beta) - 1

    return t.rsl_rl_5(WIDE, deviation=False), [*ELU_SAID, "--head", "beta"], mean


def rsl_rl_5_recurrent() -> Case:
    memory, run = t.lstm(OBS, 24)
    layers = linears(24, 32, ACT)
    content = t.rsl_rl_5(layers)
    content["actor_state_dict"] |= below("rnn.rnn.", memory)
    content["critic_state_dict"] |= below("rnn.rnn.", t.lstm(60, 8)[0])
    return content, ELU_SAID, lambda x: forward(layers, run(t.rsl_normalized(x)), ELU)


def rsl_rl_3_recurrent_student() -> Case:
    memory, run = t.lstm(OBS, 24)
    layers = linears(24, 32, ACT)
    weights = {**numbered(layers, "student."), **numbered(linears(60, 16, ACT), "teacher.")}
    weights |= below("memory_s.rnn.", memory) | below("memory_t.rnn.", t.lstm(60, 8)[0])
    weights |= below("teacher_obs_normalizer.", t.empirical(60)) | {"std": torch.ones(ACT)}
    return t.runner({"model_state_dict": weights}), ELU_SAID, lambda x: forward(layers, run(x), ELU)


def rsl_rl_2_student() -> Case:
    weights = {**numbered(LAYERS, "student."), **numbered(linears(60, 16, ACT), "teacher.")}
    content = t.runner({"model_state_dict": {**weights, "std": torch.ones(ACT)}})
    content["obs_norm_state_dict"] = t.empirical()
    content["privileged_obs_norm_state_dict"] = t.empirical(60)
    return content, ELU_SAID, lambda x: plain(t.rsl_normalized(x))


def rsl_rl_5_student() -> Case:
    return t.rsl_rl_5(LAYERS, "student", "teacher"), ELU_SAID, lambda x: plain(t.rsl_normalized(x))


def skrl_1_of_ones_own() -> Case:
    return t.skrl(numbered(LAYERS, "net.")), ELU_SAID, lambda x: plain(t.skrl_normalized(x))


def skrl_1_instantiated() -> Case:
    weights = {**numbered(LAYERS[:-1], "net_container."), **LAYERS[-1].tensors("policy_layer.")}
    weights |= {"value_layer.weight": torch.ones(1, 32), "value_layer.bias": torch.zeros(1)}
    return t.skrl(weights), ELU_SAID, lambda x: plain(t.skrl_normalized(x))


def skrl_2_instantiated() -> Case:
    weights = {**numbered(LAYERS[:-1], "net_container."), **LAYERS[-1].tensors("output_layer.")}
    content = t.skrl(weights, "observation_preprocessor")
    return content, ELU_SAID, lambda x: plain(t.skrl_normalized(x))


def rl_games() -> Case:
    network = {**numbered(LAYERS[:-1], "actor_mlp."), **LAYERS[-1].tensors("mu.")}
    return t.rl_games(network), ELU_SAID, lambda x: plain(t.rl_games_normalized(x))


def rl_games_recurrent_after_the_mlp() -> Case:
    trunk, mu = linears(OBS, 48, 32), linears(24, ACT)
    memory, run = t.lstm(32, 24)
    network = numbered(trunk, "actor_mlp.") | mu[0].tensors("mu.") | below("rnn.rnn.", memory)
    content = t.rl_games(network)

    def mean(x: Array) -> Array:
        return mu[0](run(ELU(forward(trunk, t.rl_games_normalized(x), ELU))))

    return content, ELU_SAID, mean


def rl_games_recurrent_before_the_mlp() -> Case:
    trunk, mu = linears(24, 48, 32), linears(32, ACT)
    memory, run = t.lstm(OBS, 24)
    network = numbered(trunk, "actor_mlp.") | mu[0].tensors("mu.") | below("a_rnn.rnn.", memory)
    network |= below("c_rnn.rnn.", t.lstm(OBS, 24)[0])
    return t.rl_games(network), ELU_SAID, lambda x: forward([*trunk, *mu], run(t.rl_games_normalized(x)), ELU)


def sb3_ppo() -> Case:
    weights = {
        **numbered(LAYERS[:-1], "mlp_extractor.policy_net."),
        **numbered(linears(OBS, 16), "mlp_extractor.value_net."),
        **LAYERS[-1].tensors("action_net."),
        "value_net.weight": torch.ones(1, 16),
        "value_net.bias": torch.zeros(1),
        "log_std": torch.zeros(ACT),
    }
    return weights, ["--activation", "tanh"], lambda x: forward(LAYERS, x, np.tanh)


def sb3_recurrent_ppo() -> Case:
    memory, run = t.lstm(OBS, 24)
    layers = linears(24, 32, ACT)
    weights = below("lstm_actor.", memory) | below("lstm_critic.", t.lstm(OBS, 24)[0])
    weights |= numbered(layers[:-1], "mlp_extractor.policy_net.") | layers[-1].tensors("action_net.")
    weights |= numbered(linears(24, 16), "mlp_extractor.value_net.") | {"log_std": torch.zeros(ACT)}
    return weights, ["--activation", "tanh"], lambda x: forward(layers, run(x), np.tanh)


def fast_sac() -> Case:
    rng = np.random.default_rng(8)
    scale, bias = rng.uniform(0.5, 3, ACT), rng.uniform(-1, 1, ACT)
    weights = {
        **numbered(LAYERS[:-1], "net.", step=3),
        **LAYERS[-1].tensors("fc_mu.0."),
        **linears(32, ACT, seed=4)[0].tensors("fc_logstd."),
        "action_scale": t.tensor(scale),
        "action_bias": t.tensor(bias),
    }
    content = {
        "actor_state_dict": weights,
        "qnet_state_dict": t.critic("net."),
        "qnet_target_state_dict": t.critic("net."),
        "log_alpha": torch.zeros(1),
        "obs_normalizer_state": t.empirical(),
        "critic_obs_normalizer_state": t.empirical(60),
        "actor_optimizer_state_dict": t.OPTIMIZER,
        "q_optimizer_state_dict": t.OPTIMIZER,
        "alpha_optimizer_state_dict": t.OPTIMIZER,
        "grad_scaler_state_dict": {},
        "args": {"use_tanh": True, "obs_normalization": True},
        "global_step": 7,
    }
    return content, [], lambda x: np.tanh(forward(LAYERS, t.rsl_normalized(x), SILU)) * scale + bias


def fast_sac_without_tanh() -> Case:
    content, said, _ = fast_sac()
    content["args"]["use_tanh"] = False
    return content, said, lambda x: forward(LAYERS, t.rsl_normalized(x), SILU)


def fast_td3() -> Case:
    layers = linears(OBS, 48, 32, 16, ACT)
    weights = {
        **numbered(layers[:2], "net."),
        **layers[2].tensors("fc_head.0."),
        **layers[3].tensors("fc_mu.0."),
        "noise_scales": torch.ones(8, 1),
        "std_min": torch.tensor(0.05),
        "std_max": torch.tensor(0.8),
    }
    content = {"actor_state_dict": weights, "obs_normalizer_state": t.empirical(), "global_step": 7}
    return content, [], lambda x: np.tanh(forward(layers, t.rsl_normalized(x), RELU))


def asap() -> Case:
    content = {
        "actor_model_state_dict": {**numbered(LAYERS, "actor_module.module."), "std": torch.ones(ACT)},
        "critic_model_state_dict": t.critic("critic_module.module."),
        "actor_optimizer_state_dict": t.OPTIMIZER,
        "critic_optimizer_state_dict": t.OPTIMIZER,
        "iter": 3,
        "infos": None,
    }
    return content, ELU_SAID, plain


def falcon() -> Case:
    lower, upper = linears(OBS, 32, 8, seed=1), linears(OBS, 24, 4, seed=2)
    parts = {"lower_body": lower, "upper_body": upper}
    content = {
        "actor_model_state_dict": {
            name: {**numbered(layers, "actor_module.module."), "std": torch.ones(29)}
            for name, layers in parts.items()
        },
        "critic_model_state_dict": {name: t.critic("critic_module.module.") for name in parts},
        "actor_optimizer_state_dict": dict.fromkeys(parts, t.OPTIMIZER),
        "critic_optimizer_state_dict": dict.fromkeys(parts, t.OPTIMIZER),
        "iter": 3,
    }
    return content, ELU_SAID, lambda x: np.hstack([forward(lower, x, ELU), forward(upper, x, ELU)])


def named_by_hand() -> Case:
    weights = {**numbered(LAYERS[:-1], "brain.trunk."), **LAYERS[-1].tensors("brain.head.")}
    weights |= {"brain.spare.weight": torch.ones(3, 3), "stats.mean": t.tensor(t.moments()[0])}
    weights |= {"stats.var": t.tensor(t.moments()[1])}
    said = [
        "--actor",
        "brain.trunk",
        "--actor",
        "brain.head",
        "--ignore",
        "brain.spare",
        "--normalizer",
        "none",
    ]
    return weights, [*said, *ELU_SAID], plain


def mean_half(x: Array) -> Array:
    return forward(WIDE, x, ELU)[:, :ACT]


CASES = [
    rsl_rl_1,
    rsl_rl_2_with_curiosity,
    rsl_rl_3,
    rsl_rl_3_state_dependent,
    rsl_rl_5,
    rsl_rl_5_gaussian,
    rsl_rl_5_beta,
    rsl_rl_5_recurrent,
    rsl_rl_3_recurrent_student,
    rsl_rl_2_student,
    rsl_rl_5_student,
    skrl_1_of_ones_own,
    skrl_1_instantiated,
    skrl_2_instantiated,
    rl_games,
    rl_games_recurrent_after_the_mlp,
    rl_games_recurrent_before_the_mlp,
    sb3_ppo,
    sb3_recurrent_ppo,
    fast_sac,
    fast_sac_without_tanh,
    fast_td3,
    asap,
    falcon,
    named_by_hand,
]


def actions(inputs: Array = INPUTS) -> Array:
    return run_rows(read_policy(Path("policy.onnx")).backend(), inputs)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_gives_the_trainers_action(forge: Forge, case: Callable[[], Case]) -> None:
    content, said, expected = case()
    torch.save(content, "model.pt")
    assert forge("export", "model.pt", *said) == 0
    np.testing.assert_allclose(actions(), expected(INPUTS.astype(np.float64)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_refuses_a_layer_that_nobody_knows(
    refused: Refused, capsys: pytest.CaptureFixture[str], case: Callable[[], Case]
) -> None:
    content, said, _ = case()
    content["encoder_of_history.0.weight"] = torch.zeros(4, 4)
    torch.save(content, "model.pt")
    assert "encoder_of_history" in refused(2, "export", "model.pt", *said)
    assert not Path("policy.onnx").exists()


@pytest.mark.parametrize(
    "case", [case for case in CASES if case not in (fast_sac, fast_sac_without_tanh, fast_td3)]
)
def test_never_guesses_the_activation(refused: Refused, case: Callable[[], Case]) -> None:
    content, said, _ = case()
    torch.save(content, "model.pt")
    said = said[: said.index("--activation")] + said[said.index("--activation") + 2 :]
    assert "does not tell its activation" in refused(2, "export", "model.pt", *said)


def test_a_separate_normalizer_has_the_trainers_epsilon_and_clip(forge: Forge) -> None:
    content, said, _ = skrl_1_of_ones_own()
    torch.save(content, "model.pt")
    assert forge("export", "model.pt", *said, "--separate-normalizer") == 0
    with np.load("policy_obs_stats.npz") as stats:
        normalized = np.clip((INPUTS - stats["mean"]) / stats["std"], -stats["clip"], stats["clip"])
    np.testing.assert_allclose(normalized, t.skrl_normalized(INPUTS), atol=1e-5)
    np.testing.assert_allclose(actions(normalized), plain(t.skrl_normalized(INPUTS)), atol=1e-5)


def archive(weights: dict[str, torch.Tensor], low: str, high: str, **data: Any) -> None:
    """What stable-baselines3's model.save() writes, as far as it matters."""
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    space = {":serialized:": "gASV", "low_repr": low, "high_repr": high}
    with zipfile.ZipFile("model.zip", "w") as file:
        file.writestr("data", json.dumps({"action_space": space, **data}))
        file.writestr("policy.pth", buffer.getvalue())
        file.writestr("_stable_baselines3_version", "2.9.2")


def test_sb3_archive_tells_activation_and_clips_to_the_action_space(forge: Forge) -> None:
    kwargs = {":serialized:": "gASV", "activation_fn": "<class 'torch.nn.modules.activation.ELU'>"}
    archive(sb3_ppo()[0], "-0.5", "0.75", policy_kwargs=kwargs)
    assert forge("export", "model.zip") == 0
    np.testing.assert_allclose(actions(), np.clip(plain(INPUTS), -0.5, 0.75), atol=1e-5)


def sac() -> dict[str, torch.Tensor]:
    weights = {**numbered(LAYERS[:-1], "actor.latent_pi."), **LAYERS[-1].tensors("actor.mu.")}
    weights |= linears(32, ACT, seed=4)[0].tensors("actor.log_std.")
    return weights | t.critic("critic.qf0.", 57) | t.critic("critic_target.qf0.", 57)


def test_sb3_sac_scales_tanh_to_the_action_space(forge: Forge, refused: Refused) -> None:
    archive(sac(), "-1.0", "3.0", policy_kwargs={})
    assert forge("export", "model.zip") == 0
    np.testing.assert_allclose(actions(), 1 + 2 * np.tanh(forward(LAYERS, INPUTS, RELU)), atol=1e-5)
    torch.save(sac(), "policy.pth")
    assert "action space" in refused(2, "export", "policy.pth", "--activation", "relu")


@pytest.mark.parametrize(("kwargs", "limit"), [({}, 2.0), ({"clip_mean": 0.5}, 0.5)])
def test_sb3_sac_with_state_dependent_exploration_clips_the_mean(
    forge: Forge, kwargs: dict[str, float], limit: float
) -> None:
    weights = {key: value for key, value in sac().items() if not key.startswith("actor.log_std")}
    weights = {key.replace("actor.mu.", "actor.mu.0."): value for key, value in weights.items()}
    archive(weights | {"actor.log_std": torch.zeros(32, ACT)}, "-1.0", "3.0", policy_kwargs=kwargs)
    assert forge("export", "model.zip") == 0
    mean = forward(LAYERS, INPUTS, RELU)
    assert np.abs(mean).max() > 2.0
    np.testing.assert_allclose(actions(), 1 + 2 * np.tanh(np.clip(mean, -limit, limit)), atol=1e-5)


def test_sb3_contrib_ars_squashes_unless_it_is_linear(forge: Forge, refused: Refused) -> None:
    weights = numbered(LAYERS, "action_net.")
    archive(weights, "-1.0", "3.0", policy_kwargs={})
    assert forge("export", "model.zip") == 0
    mean = forward(LAYERS, INPUTS, RELU)
    np.testing.assert_allclose(actions(), 1 + 2 * np.tanh(mean), atol=1e-5)
    archive(weights, "-1.0", "3.0", policy_kwargs={"squash_output": False})
    assert forge("export", "model.zip") == 0
    np.testing.assert_allclose(actions(), np.clip(mean, -1, 3), atol=1e-5)
    torch.save(weights, "policy.pth")
    assert "action space" in refused(2, "export", "policy.pth")

    linear = linears(OBS, ACT)[0]
    named = {"__init__": "<function ARSLinearPolicy.__init__ at 0x7f>"}
    archive({"action_net.0.weight": t.tensor(linear.weight)}, "-1.0", "3.0", policy_class=named)
    assert forge("export", "model.zip") == 0
    np.testing.assert_allclose(actions(), np.clip(INPUTS @ linear.weight.T, -1, 3), atol=1e-5)
