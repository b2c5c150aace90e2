"""What a checkpoint leaves open is refused, with what to say about it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoint_files as t
import numpy as np
import pytest
import torch
from checkpoint_files import ACT, ELU, OBS, below, forward, linears, numbered

from gaitforge.model.onnx_policy import read_policy, run_rows

Forge = Callable[..., int]
Refused = Callable[..., str]
Printed = pytest.CaptureFixture[str]

LAYERS = linears(OBS, 48, 32, ACT)
WIDE = linears(OBS, 48, 32, 2 * ACT)
ELU_SAID = ("--activation", "elu")


def save(content: Any) -> None:
    torch.save(content, "model.pt")


def state_dict() -> dict[str, torch.Tensor]:
    return {**numbered(LAYERS, "actor."), **t.critic("critic."), "std": torch.ones(ACT)}


def test_the_table_says_what_each_key_was_taken_as(refused: Refused, capsys: Printed) -> None:
    save({**state_dict(), "estimator.0.weight": torch.zeros(3, 3)})
    with pytest.raises(SystemExit, match="2"):
        refused(2, "export", "model.pt", *ELU_SAID, "--ignore")
    capsys.readouterr()
    from gaitforge.cli import main

    assert main(["export", "model.pt", *ELU_SAID]) == 2
    out, error = capsys.readouterr()
    rows = {line.split()[0]: line for line in out.splitlines() if line}
    assert "NOT UNDERSTOOD" in rows["estimator.0"]
    assert " actor " in rows["actor.0"]
    assert "critic" in rows["critic.0"]
    for option in ("--actor", "--ignore estimator.0"):
        assert option in error


def test_an_onnx_model_is_no_checkpoint(forge: Forge, capsys: Printed) -> None:
    Path("walk.onnx").write_bytes(b"anything")
    assert forge("export", "walk.onnx") == 2
    assert "walk.onnx is an ONNX model, not a checkpoint" in capsys.readouterr().err


def test_a_normalizer_that_nobody_took(refused: Refused) -> None:
    save({"policy": state_dict(), "obs_statistics": {"mean": torch.zeros(OBS), "var": torch.ones(OBS)}})
    error = refused(2, "export", "model.pt", *ELU_SAID)
    assert "--normalizer obs_statistics" in error


def test_a_normalizer_of_unknown_make_needs_its_epsilon(refused: Refused, forge: Forge) -> None:
    mean, var = t.moments()
    save({"policy": state_dict(), "obs_statistics": {"mean": t.tensor(mean), "var": t.tensor(var)}})
    said = ("export", "model.pt", "--normalizer", "obs_statistics")
    assert "normalizer_epsilon" in refused(2, *said, *ELU_SAID)
    Path("actor.yaml").write_text("activation: elu\nnormalizer_epsilon: 0.03\n")
    assert forge(*said, "--config", "actor.yaml") == 0
    inputs = np.random.default_rng(1).standard_normal((20, OBS)).astype(np.float32)
    got = run_rows(read_policy(Path("policy.onnx")).backend(), inputs)
    np.testing.assert_allclose(got, forward(LAYERS, (inputs - mean) / (np.sqrt(var) + 0.03), ELU), atol=1e-5)


@pytest.mark.parametrize(
    "hidden",
    [
        {"infos": {"obs_rms": {"mean": torch.zeros(OBS), "var": torch.ones(OBS)}}},
        {"obs_rms": {"mean": [0.5] * OBS, "std": [2.0] * OBS}},
        {"obs_rms": {"mean": np.zeros(OBS), "std": np.ones(OBS)}},
        {"obs_mean": torch.zeros(OBS), "obs_std": torch.ones(OBS)},
    ],
)
def test_statistics_are_found_wherever_they_are(refused: Refused, hidden: dict[str, Any]) -> None:
    save({**t.runner({"model_state_dict": state_dict()}), **hidden})
    assert "obs_" in refused(2, "export", "model.pt", *ELU_SAID)


@pytest.mark.parametrize("name", ["frame", "epoch", "critical", "valuable", "optimum"])
def test_a_layer_named_almost_like_training(refused: Refused, name: str) -> None:
    save({**state_dict(), f"{name}.0.weight": torch.zeros(4, 4)})
    assert f"{name}.0" in refused(2, "export", "model.pt", *ELU_SAID)


def test_what_training_notes_down_is_left_out(forge: Forge) -> None:
    infos = {"curriculum": torch.ones(100), "best": 3.0}
    save(
        {
            **t.runner({"model_state_dict": state_dict()}),
            "infos": infos,
            "env_state": {"level": torch.ones(4)},
        }
    )
    assert forge("export", "model.pt", *ELU_SAID) == 0


def test_two_normalizers_must_be_told_apart(refused: Refused, forge: Forge) -> None:
    content = t.skrl(numbered(LAYERS, "net."))
    content["observation_preprocessor"] = {
        "running_mean": torch.zeros(OBS),
        "running_variance": torch.ones(OBS),
        "current_count": torch.ones(()),
    }
    save(content)
    error = refused(2, "export", "model.pt", *ELU_SAID)
    assert "observation_preprocessor and state_preprocessor" in error
    assert "has no normalizer 'nothing'" in refused(
        2, "export", "model.pt", *ELU_SAID, "--normalizer", "nothing"
    )
    for key, expected in (
        ("state_preprocessor", t.skrl_normalized),
        ("observation_preprocessor", lambda x: np.clip(x, -5, 5)),
        ("none", lambda x: x),
    ):
        assert forge("export", "model.pt", *ELU_SAID, "--normalizer", key) == 0
        inputs = 4 * np.random.default_rng(1).standard_normal((20, OBS)).astype(np.float32)
        got = run_rows(read_policy(Path("policy.onnx")).backend(), inputs)
        np.testing.assert_allclose(got, forward(LAYERS, expected(inputs), ELU), atol=2e-5)


def test_a_normalizer_of_another_length(refused: Refused) -> None:
    content = t.rsl_rl_5(LAYERS)
    content["actor_state_dict"] |= below("obs_normalizer.", t.empirical(OBS + 1))
    save(content)
    assert "46 values, the actor takes 45" in refused(2, "export", "model.pt", *ELU_SAID)


def test_a_hidden_layer_is_not_the_action(refused: Refused) -> None:
    """The head has a name that the layout does not know; its input is as wide as the action."""
    narrow = linears(OBS, 48, ACT)
    head = linears(ACT, ACT, seed=3)[0]
    save(
        t.runner(
            {
                "model_state_dict": {
                    **numbered(narrow, "actor."),
                    **head.tensors("mu."),
                    "std": torch.ones(ACT),
                }
            }
        )
    )
    assert "model_state_dict.mu" in refused(2, "export", "model.pt", *ELU_SAID)
    save(t.skrl({**numbered(narrow, "net."), **head.tensors("a."), **head.tensors("b.")}))
    assert "several networks" in refused(2, "export", "model.pt", *ELU_SAID)


def test_the_exploration_tells_the_actions_width(refused: Refused) -> None:
    weights = {**numbered(linears(OBS, 48, 32), "actor."), "std": torch.ones(ACT)}
    save(t.runner({"model_state_dict": weights}))
    error = refused(2, "export", "model.pt", *ELU_SAID)
    assert "32 actions" in error
    assert "12 by the exploration's" in error


@pytest.mark.parametrize("form", ["actor_state_dict", "model_state_dict"])
def test_two_outputs_an_action_need_a_word(refused: Refused, form: str) -> None:
    if form == "actor_state_dict":
        save(t.rsl_rl_5(WIDE, deviation=False))
    else:
        save(t.runner({form: numbered(WIDE, "actor.")}))
    error = refused(2, "export", "model.pt", *ELU_SAID)
    assert all(f"--head {kind}" in error for kind in ("gaussian", "beta", "plain"))


def test_convolutions_are_named(refused: Refused) -> None:
    content = t.rsl_rl_5(LAYERS)
    content["actor_state_dict"]["cnns.scan.0.weight"] = torch.zeros(8, 1, 3, 3)
    content["actor_state_dict"]["cnns.scan.0.bias"] = torch.zeros(8)
    save(content)
    assert "convolution layers (actor_state_dict.cnns.scan.*)" in refused(2, "export", "model.pt", *ELU_SAID)
    save({**state_dict(), "history.conv.2.weight": torch.zeros(8, 4, 3)})
    assert "convolution layers (history.conv.*)" in refused(2, "export", "model.pt", *ELU_SAID)
    critics_only = {**state_dict(), "critic.cnn.0.weight": torch.zeros(8, 1, 3, 3)}
    save(critics_only)
    from gaitforge.cli import main

    assert main(["export", "model.pt", *ELU_SAID]) == 0


def test_several_recurrent_layers(refused: Refused) -> None:
    content = t.rsl_rl_5(linears(24, ACT))
    for name in ("a", "b"):
        content["actor_state_dict"] |= below(f"rnn.{name}.", t.lstm(OBS, 24)[0])
    save(content)
    assert "several recurrent layers" in refused(2, "export", "model.pt", *ELU_SAID)


def test_an_unknown_layout_is_asked_for_its_actor(refused: Refused) -> None:
    save({"brain": {"trunk.0.weight": torch.zeros(8, OBS), "head.weight": torch.zeros(ACT, 8)}})
    assert "--actor" in refused(2, "export", "model.pt", *ELU_SAID)
    assert "has no layer brian" in refused(2, "export", "model.pt", *ELU_SAID, "--actor", "brian")
    error = refused(2, "export", "model.pt", *ELU_SAID, "--actor", "brain.trunk")
    assert "brain.head" in error


def test_ignore_names_something_that_is_there(refused: Refused) -> None:
    save(state_dict())
    assert "has no key 'estimator'" in refused(2, "export", "model.pt", *ELU_SAID, "--ignore", "estimator")


def test_a_wrapper_is_not_the_difference_between_two_weights(refused: Refused) -> None:
    weights = state_dict()
    save({**weights, "module.actor.0.weight": weights["actor.0.weight"] + 1})
    assert "actor.0.weight twice" in refused(2, "export", "model.pt", *ELU_SAID)


@pytest.mark.parametrize("value", [np.float64(3.5), np.float32(3.5), np.int64(7), np.bool_(True), np.ones(3)])
def test_numpy_values_are_data(forge: Forge, value: Any) -> None:
    save(
        {
            "model_state_dict": state_dict(),
            "optimizer_state_dict": {},
            "iter": value,
            "infos": {"best": value},
        }
    )
    ignore = ("--ignore", "infos") if isinstance(value, np.ndarray) else ()
    assert forge("export", "model.pt", *ELU_SAID, *ignore) == 0


class VecNormalize:
    """Named like the class that stable-baselines3 pickles."""


def test_vecnormalize_is_refused_with_the_way_out(refused: Refused, forge: Forge) -> None:
    Path("vecnormalize.pkl").write_bytes(pickle.dumps(VecNormalize(), protocol=4))
    error = refused(2, "export", "vecnormalize.pkl")
    assert "obs_rms.mean" in error
    assert "--obs-stats" in error
    weights = {**numbered(LAYERS[:-1], "mlp_extractor.policy_net."), **LAYERS[-1].tensors("action_net.")}
    torch.save({**weights, "log_std": torch.zeros(ACT)}, "policy.pth")
    assert "--normalizer none" in refused(2, "export", "policy.pth", *ELU_SAID)
    assert forge("export", "policy.pth", *ELU_SAID, "--normalizer", "none") == 0


def test_a_skrl_module_without_its_preprocessor(refused: Refused) -> None:
    torch.save({**numbered(LAYERS, "net."), "log_std_parameter": torch.zeros(ACT)}, "policy_500.pt")
    assert "the whole agent" in refused(2, "export", "policy_500.pt", *ELU_SAID)


def test_an_off_policy_actor_may_end_in_a_tanh(refused: Refused, forge: Forge) -> None:
    content = t.skrl(numbered(LAYERS, "net."))
    content["critic_1"] = t.critic("net.", OBS + ACT)
    save(content)
    assert "output_activation" in refused(2, "export", "model.pt", *ELU_SAID)
    Path("actor.yaml").write_text("activation: elu\noutput_activation: tanh\n")
    assert forge("export", "model.pt", "--config", "actor.yaml") == 0
    inputs = np.random.default_rng(1).standard_normal((20, OBS)).astype(np.float32)
    got = run_rows(read_policy(Path("policy.onnx")).backend(), inputs)
    expected = np.tanh(forward(LAYERS, t.skrl_normalized(inputs), ELU))
    np.testing.assert_allclose(got, expected, atol=1e-5)
