"""Checkpoints of every form become ONNX models that compute what torch computes."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nets
import numpy as np
import onnx
import pytest
import torch
import yaml
from torch import nn

from gaitforge.model import export
from gaitforge.model.onnx_policy import read_policy, run_rows

Forge = Callable[..., int]
Refused = Callable[..., str]

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")

INPUTS = np.random.default_rng(3).standard_normal((40, nets.OBS), dtype=np.float32)


def torch_actions(module: nn.Module, inputs: np.ndarray = INPUTS) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(module.eval()(torch.from_numpy(inputs)))


def onnx_actions(path: Path, inputs: np.ndarray = INPUTS) -> np.ndarray:
    return run_rows(read_policy(path).backend(), inputs)


def save(content: Any, name: str = "policy.pt") -> str:
    torch.save(content, name)
    return name


@pytest.fixture
def actor() -> nn.Sequential:
    torch.manual_seed(0)
    return nets.mlp(nets.OBS, 64, 32, nets.ACT)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "model"])
def test_unwraps_state_dicts(forge: Forge, actor: nn.Sequential, wrapper: str | None, prefix: str) -> None:
    weights = nets.actor_weights(actor, prefix)
    save(weights if wrapper is None else {wrapper: weights, "epoch": 3})
    assert forge("export", "policy.pt", "--activation", "elu") == 0
    np.testing.assert_allclose(onnx_actions(Path("policy.onnx")), torch_actions(actor), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "activation"),
    [
        ("relu", nn.ReLU),
        ("tanh", nn.Tanh),
        ("gelu", nn.GELU),
        ("elu", nn.ELU),
        ("selu", nn.SELU),
        ("silu", nn.SiLU),
        ("leaky_relu", nn.LeakyReLU),
    ],
)
def test_takes_the_activation_of_the_description(
    forge: Forge, name: str, activation: type[nn.Module]
) -> None:
    actor = nets.mlp(nets.OBS, 48, nets.ACT, activation=activation)
    save(nets.actor_weights(actor))
    config = {"obs_dim": nets.OBS, "act_dim": nets.ACT, "hidden_sizes": [48], "activation": name}
    Path("actor.yaml").write_text(yaml.safe_dump(config))
    assert forge("export", "policy.pt", "--config", "actor.yaml") == 0
    np.testing.assert_allclose(onnx_actions(Path("policy.onnx")), torch_actions(actor), atol=1e-5)


def test_rebuilds_layer_norms(forge: Forge) -> None:
    actor = nets.mlp(nets.OBS, 64, 32, nets.ACT, activation=nn.SiLU, norm=True)
    save(nets.actor_weights(actor))
    assert forge("export", "policy.pt", "--activation", "silu") == 0
    np.testing.assert_allclose(onnx_actions(Path("policy.onnx")), torch_actions(actor), atol=1e-5)


def test_legged_gym_is_exported_strictly(
    forge: Forge, actor: nn.Sequential, capsys: pytest.CaptureFixture[str]
) -> None:
    save(nets.legged_gym(actor))
    assert forge("export", "policy.pt", "--strict", "--activation", "elu") == 0
    assert "critic" in capsys.readouterr().out
    np.testing.assert_allclose(onnx_actions(Path("policy.onnx")), torch_actions(actor), atol=1e-5)


@pytest.mark.parametrize("form", [nets.old_rsl_rl, nets.new_rsl_rl])
def test_normalizer_goes_into_the_graph(
    forge: Forge, actor: nn.Sequential, form: Callable[[nn.Module], dict[str, Any]]
) -> None:
    save(form(actor))
    mean, std = nets.statistics()
    expected = torch_actions(actor, ((INPUTS - mean.numpy()) / (std.numpy() + 0.01)).astype(np.float32))
    assert forge("export", "policy.pt", "--activation", "elu") == 0
    np.testing.assert_allclose(onnx_actions(Path("policy.onnx")), expected, atol=1e-5)


def test_normalizer_goes_beside_the_graph(forge: Forge, actor: nn.Sequential) -> None:
    save(nets.new_rsl_rl(actor))
    assert forge("export", "policy.pt", "--activation", "elu", "--separate-normalizer") == 0
    np.testing.assert_allclose(onnx_actions(Path("policy.onnx")), torch_actions(actor), atol=1e-5)
    with np.load("policy_obs_stats.npz") as stats:
        mean, std = nets.statistics()
        np.testing.assert_allclose(stats["mean"], mean[0], rtol=1e-6)
        np.testing.assert_allclose(stats["std"], std[0] + 0.01, rtol=1e-6)


@pytest.mark.parametrize(
    "make", [torch.jit.script, lambda module: torch.jit.trace(module, torch.zeros(1, 45))]
)
def test_takes_torchscript(forge: Forge, actor: nn.Sequential, make: Callable[[nn.Module], Any]) -> None:
    make(actor).save("policy.pt")
    assert forge("export", "policy.pt") == 0
    np.testing.assert_allclose(onnx_actions(Path("policy.onnx")), torch_actions(actor), atol=1e-5)


class ActorCritic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.actor, self.critic = nn.Linear(nets.OBS, nets.ACT), nn.Linear(nets.OBS, 1)

    def forward(self, obs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.actor(obs), self.critic(obs)


def test_drops_the_critics_output(forge: Forge) -> None:
    both = ActorCritic()
    torch.jit.script(both).save("policy.pt")
    assert forge("export", "policy.pt") == 0
    np.testing.assert_allclose(onnx_actions(Path("policy.onnx")), torch_actions(both.actor), atol=1e-5)


@pytest.mark.parametrize(("kind", "states"), [(nn.GRU, ["h"]), (nn.LSTM, ["h", "c"])])
def test_recurrent_actor_carries_its_hidden_state(forge: Forge, kind: type[Any], states: list[str]) -> None:
    rnn, head = kind(nets.OBS, 32), nets.mlp(32, 16, nets.ACT)
    save(nets.recurrent(rnn, head))
    assert forge("export", "policy.pt", "--activation", "elu") == 0
    policy = read_policy(Path("policy.onnx"))
    assert [state.input for state in policy.model.recurrent] == [f"{name}_in" for name in states]
    with torch.no_grad():
        sequence, _ = rnn(torch.from_numpy(INPUTS).unsqueeze(1))
        expected = np.asarray(head(sequence.squeeze(1)))
    np.testing.assert_allclose(run_rows(policy.backend(), INPUTS), expected, atol=1e-5)


def test_dynamic_batch_and_opset(forge: Forge, actor: nn.Sequential) -> None:
    save(nets.actor_weights(actor))
    assert forge("export", "policy.pt", "--activation", "elu", "--dynamic-batch", "--opset", "17") == 0
    proto = onnx.load("policy.onnx")
    assert proto.opset_import[0].version == 17
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_strict_allows_nothing_to_be_ignored(
    refused: Refused, forge: Forge, actor: nn.Sequential, capsys: pytest.CaptureFixture[str]
) -> None:
    save({**nets.actor_weights(actor), "estimator.0.weight": torch.zeros(3, 3)})
    ignoring = ("export", "policy.pt", "--activation", "elu", "--ignore", "estimator")
    assert "estimator" in refused(2, *ignoring, "--strict")
    assert not Path("policy.onnx").exists()
    assert forge(*ignoring) == 0
    assert "--ignore 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"obs_dim": 48}, "obs_dim is 48, but the checkpoint's weights say 45"),
        ({"hidden_sizes": [64, 64]}, "hidden_sizes"),
        (
            {"hidden_sizes": [64, 32, 16]},
            "the checkpoint's weights say [64, 32]",
        ),
        ({"activation": "relu6"}, "relu6"),
        ({"activasion": "elu"}, "activasion"),
    ],
)
def test_description_must_agree_with_the_weights(
    refused: Refused, actor: nn.Sequential, change: dict[str, Any], named: str
) -> None:
    save(nets.actor_weights(actor))
    Path("actor.yaml").write_text(yaml.safe_dump({"activation": "elu", **change}))
    assert named in refused(2, "export", "policy.pt", "--config", "actor.yaml")
    assert list(Path().glob("*.onnx*")) == []


class Runs:
    """A pickle that would make a file when loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("harm",)


def test_pickle_with_code_is_not_run(refused: Refused) -> None:
    save({"model_state_dict": Runs()}, "zip.pt")
    Path("plain.pt").write_bytes(pickle.dumps({"model": Runs()}, protocol=2))
    for name in ("zip.pt", "plain.pt"):
        assert "wants to run code" in refused(2, "export", name)
    assert not Path("harm").exists()


def test_a_whole_pickled_module_is_explained(refused: Refused, actor: nn.Sequential) -> None:
    save(actor)
    assert "torch.save(model.state_dict()" in refused(2, "export", "policy.pt")


def test_damaged_and_foreign_files(refused: Refused, actor: nn.Sequential) -> None:
    save(nets.actor_weights(actor))
    whole = Path("policy.pt").read_bytes()
    Path("cut.pt").write_bytes(whole[: len(whole) // 2])
    Path("foreign.pt").write_bytes(b"no checkpoint at all " * 50)
    Path("empty.pt").touch()
    for name in ("cut.pt", "foreign.pt", "empty.pt"):
        assert "truncated or no PyTorch checkpoint" in refused(2, "export", name)
    assert "does not exist" in refused(2, "export", "nowhere.pt")
    save({"optimizer": {}, "epoch": 3}, "other.pt")
    assert "holds no weights" in refused(2, "export", "other.pt")
    assert list(Path().glob("*.onnx*")) == []


def test_shapes_that_do_not_chain(refused: Refused, actor: nn.Sequential) -> None:
    weights = nets.actor_weights(actor)
    weights["actor.2.weight"] = torch.zeros(32, 50)
    save(weights)
    assert "takes 50 values, but the one before it gives 64" in refused(
        2, "export", "policy.pt", "--activation", "elu"
    )


def test_unknown_activation_is_asked_for(refused: Refused, actor: nn.Sequential) -> None:
    save(nets.actor_weights(actor))
    assert "does not tell its activation" in refused(2, "export", "policy.pt")


def test_large_actions_are_compared_to_their_size(forge: Forge, actor: nn.Sequential) -> None:
    with torch.no_grad():
        actor[-1].weight *= 1e4
    save(nets.actor_weights(actor))
    assert forge("export", "policy.pt", "--activation", "elu") == 0


def test_disagreement_fails_the_gate(refused: Refused, actor: nn.Sequential) -> None:
    save(nets.actor_weights(actor))
    error = refused(3, "export", "policy.pt", "--activation", "elu", "--tolerance", "1e-12")
    assert "more than the tolerance" in error
    assert not Path("policy.onnx").exists()


def test_large_actions_do_not_excuse_a_wrong_network(
    refused: Refused, actor: nn.Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor[-1].weight.data *= 1000.0
    save(nets.actor_weights(actor))
    simplify = export.simplify

    def wrong(model: onnx.ModelProto) -> onnx.ModelProto:
        """A simplifier that makes an action wrong by 0.02, where answers reach some thousand."""
        model = simplify(model)
        biases = [tensor for tensor in model.graph.initializer if list(tensor.dims) == [nets.ACT]]
        values = onnx.numpy_helper.to_array(biases[0]).copy()
        values[3] += 0.02
        biases[0].CopyFrom(onnx.numpy_helper.from_array(values, biases[0].name))
        return model

    monkeypatch.setattr(export, "simplify", wrong)
    assert np.abs(torch_actions(actor, 5 * INPUTS)).max() > 200
    error = refused(3, "export", "policy.pt", "--activation", "elu")
    assert "action 3 differs between torch and onnxruntime" in error
    assert not Path("policy.onnx").exists()
