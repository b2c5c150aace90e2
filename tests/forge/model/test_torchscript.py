"""TorchScript: the observation's length is found or asked for, recurrent modules are rebuilt."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gaitforge.model.onnx_policy import read_policy, run_rows

Forge = Callable[..., int]
Refused = Callable[..., str]
Printed = pytest.CaptureFixture[str]

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit")

OBS, ACT = 21, 6


def rows(width: int = OBS, count: int = 50) -> np.ndarray:
    return np.random.default_rng(2).standard_normal((count, width)).astype(np.float32)


def one_by_one(module: Any, inputs: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return np.stack([module(torch.from_numpy(row[None])).numpy().reshape(-1) for row in inputs])


def exported(inputs: np.ndarray) -> np.ndarray:
    return run_rows(read_policy(Path("policy.onnx")).backend(), inputs)


class Normalizer(nn.Module):
    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("_mean", torch.linspace(-1, 1, OBS)[None])
        self.register_buffer("_std", torch.linspace(0.01, 2, OBS)[None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self._mean) / (self._std + self.eps)


class KeepsState(nn.Module):
    """A recurrent policy as trainers export it: the hidden state is in buffers."""

    hidden_state: torch.Tensor
    cell_state: torch.Tensor

    def __init__(
        self, normalizer: nn.Module, factor: float = 1.0, activation: type[nn.Module] = nn.ELU
    ) -> None:
        super().__init__()
        self.normalizer, self.factor = normalizer, factor
        self.memory = nn.LSTM(OBS, 16, num_layers=2)
        self.actor = nn.Sequential(nn.Linear(16, 24), activation(), nn.Linear(24, ACT))
        self.register_buffer("hidden_state", torch.zeros(2, 1, 16))
        self.register_buffer("cell_state", torch.zeros(2, 1, 16))

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        x = self.normalizer(obs)
        out, (h, c) = self.memory(x.unsqueeze(0), (self.hidden_state, self.cell_state))
        self.hidden_state[:] = h
        self.cell_state[:] = c
        return self.actor(out.squeeze(0)) * self.factor


class KeepsGruState(nn.Module):
    hidden_state: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(OBS, 16)
        self.mlp = nn.Sequential(nn.Linear(16, 24), nn.Tanh(), nn.Linear(24, ACT))
        self.register_buffer("hidden_state", torch.zeros(1, 1, 16))

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        out, h = self.rnn(obs.unsqueeze(0), self.hidden_state)
        self.hidden_state[:] = h
        return self.mlp(out.squeeze(0))


class KeepsStateUnderAnotherName(nn.Module):
    last: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.memory = nn.GRU(OBS, 16)
        self.actor = nn.Sequential(nn.Linear(16, 24), nn.SiLU(), nn.Linear(24, ACT))
        self.register_buffer("last", torch.zeros(1, 1, 16))

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        out, h = self.memory(obs.unsqueeze(0), self.last)
        self.last[:] = h
        return self.actor(out.squeeze(0))


@pytest.mark.parametrize(
    "make",
    [
        lambda: KeepsState(nn.Identity()),
        lambda: KeepsState(Normalizer(1e-2)),
        lambda: KeepsState(Normalizer(0.3), activation=nn.ReLU),
        KeepsGruState,
        KeepsStateUnderAnotherName,
    ],
)
def test_a_recurrent_module_is_rebuilt(forge: Forge, make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(4)
    module = torch.jit.script(make().eval())
    module.save("policy.pt")
    assert forge("export", "policy.pt") == 0
    np.testing.assert_allclose(exported(rows()), one_by_one(module, rows()), atol=1e-5)


def test_a_module_that_does_more_than_its_weights_tell_is_refused(refused: Refused) -> None:
    torch.jit.script(KeepsState(nn.Identity(), factor=2.0)).save("policy.pt")
    assert "differs by" in refused(2, "export", "policy.pt")
    assert not Path("policy.onnx").exists()


class Counts(nn.Module):
    calls: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.actor = nn.Linear(OBS, ACT)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        self.calls += 1.0
        return self.actor(obs) * self.calls


def test_another_state_inside_is_refused(refused: Refused) -> None:
    torch.jit.script(Counts()).save("policy.pt")
    assert "keeps a state inside" in refused(2, "export", "policy.pt")


class Estimates(nn.Module):
    """The first layer by name takes another width than the observation."""

    def __init__(self) -> None:
        super().__init__()
        self.actor = nn.Sequential(nn.Linear(8, 16), nn.ELU(), nn.Linear(16, ACT))
        self.estimator = nn.Linear(OBS, 3)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return self.actor(torch.cat([obs[:, :5], self.estimator(obs)], dim=1))


class Folds(nn.Module):
    """No layer is as wide as the observation: three frames, one network for each."""

    def __init__(self) -> None:
        super().__init__()
        self.frame = nn.Linear(OBS // 3, 4)
        self.actor = nn.Linear(12, ACT)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return self.actor(self.frame(obs.reshape(obs.shape[0], 3, 7)).flatten(1))


@pytest.mark.parametrize("make", [Estimates, Folds])
def test_the_length_is_found_by_trying(forge: Forge, make: Callable[[], nn.Module], capsys: Printed) -> None:
    module = torch.jit.script(make().eval())
    module.save("policy.pt")
    assert forge("export", "policy.pt") == 0
    assert f"TorchScript, {OBS} to {ACT} values" in capsys.readouterr().out
    np.testing.assert_allclose(exported(rows()), one_by_one(module, rows()), atol=1e-5)


class LooksAtTheEnd(nn.Module):
    """Runs on any observation that is long enough."""

    def __init__(self) -> None:
        super().__init__()
        self.actor = nn.Linear(OBS, ACT)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return self.actor(obs[:, -21:])


def test_a_length_that_cannot_be_found_is_asked_for(forge: Forge, refused: Refused) -> None:
    module = torch.jit.script(LooksAtTheEnd().eval())
    module.save("policy.pt")
    assert "obs_dim in --config" in refused(2, "export", "policy.pt")
    Path("actor.yaml").write_text("obs_dim: 30\n")
    assert forge("export", "policy.pt", "--config", "actor.yaml") == 0
    np.testing.assert_allclose(exported(rows(30)), one_by_one(module, rows(30)), atol=1e-5)
    Path("actor.yaml").write_text("obs_dim: 20\n")
    error = refused(2, "export", "policy.pt", "--config", "actor.yaml")
    assert "does not run on an observation of 20 values, which is the obs_dim that --config says" in error


class OneRowOnly(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.actor = nn.Sequential(nn.Linear(OBS, 16), nn.ELU(), nn.Linear(16, ACT))

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return self.actor(obs.reshape(1, 21))


class FirstRowForAll(OneRowOnly):
    """Runs on a batch, but gives something else than row by row."""

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return self.actor(obs[:1].expand(obs.shape[0], 21))


@pytest.mark.parametrize("make", [OneRowOnly, FirstRowForAll])
def test_a_module_traced_for_one_row_runs_row_by_row(
    forge: Forge, refused: Refused, make: Callable[[], nn.Module]
) -> None:
    module = torch.jit.trace(make().eval(), torch.zeros(1, OBS))
    module.save("policy.pt")
    assert forge("export", "policy.pt") == 0
    np.testing.assert_allclose(exported(rows()), one_by_one(module, rows()), atol=1e-5)
    assert "batch of one" in refused(2, "export", "policy.pt", "--dynamic-batch")


def test_the_described_number_of_actions_is_checked(refused: Refused) -> None:
    torch.jit.script(OneRowOnly()).save("policy.pt")
    Path("actor.yaml").write_text(f"obs_dim: {OBS}\nact_dim: 12\n")
    error = refused(2, "export", "policy.pt", "--config", "actor.yaml")
    assert f"gives {ACT} actions, but --config says 12" in error
