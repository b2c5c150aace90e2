"""No backend says ready before it has answered the golden vectors as recorded."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from gaitd.backends import open_backend
from gaitd.backends.base import Backend
from gaitd.backends.selftest import run_selftest
from gaitd.bundle.read import Bundle, open_bundle
from gaitd.errors import BackendError, InputError
from support.bundles import greedy_onnx, npz, recurrent_onnx, small_manifest, write_small_bundle
from support.fakes import FAKES, Honest


def test_an_honest_backend_passes(small_bundle: Bundle) -> None:
    result = run_selftest(Honest(open_backend("onnx", small_bundle)), small_bundle, 1e-4)
    assert result.count == 16
    assert result.max_error < 1e-5
    assert result.tolerance == 1e-4
    assert result.median_us > 0


@pytest.mark.parametrize(
    ("fake", "kind", "message"),
    [
        ("nan", InputError, r"the model answers nan for joint 'hip' on golden vector 0"),
        (
            "constant",
            InputError,
            r"golden vector \d+, joint '.*answers 0\.25.*the same answer for every input",
        ),
        ("huge", InputError, r"the model answers 1000, recorded was .*above the tolerance 0\.0001"),
        ("wrong", InputError, r"golden vector \d+, joint 'thigh': .*the largest error 0\.01 is above"),
        ("short", InputError, r"the model answered shape \(2,\) for vector 0, expected \(3,\)"),
        ("failing", BackendError, r"the NPU said no"),
    ],
)
def test_a_lying_backend_is_caught_with_the_worst_of_it(
    small_bundle: Bundle, fake: str, kind: type[Exception], message: str
) -> None:
    backend = FAKES[fake](open_backend("onnx", small_bundle))
    with pytest.raises(kind, match=message):
        run_selftest(backend, small_bundle, 1e-4)


def test_a_wider_tolerance_takes_more(small_bundle: Bundle) -> None:
    backend = FAKES["wrong"](open_backend("onnx", small_bundle))
    assert run_selftest(backend, small_bundle, 0.02).max_error == pytest.approx(0.01, rel=1e-3)


class Watched(Honest):
    """Remembers what it was asked."""

    def __init__(self, real: Backend) -> None:
        super().__init__(real)
        self.asked: list[np.ndarray] = []

    def infer(self, observation: np.ndarray) -> np.ndarray:
        self.asked.append(observation.copy())
        return super().infer(observation)


def test_the_golden_observations_are_normalized_as_the_policy_was_trained(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    mean, std = np.arange(18.0), np.full(18, 2.0)
    path = tmp_path_factory.mktemp("normal") / "normal"
    stats = npz(mean=mean, std=std)
    bundle = open_bundle(write_small_bundle(path, small_manifest(normalization={}), obs_stats=stats))
    backend = Watched(open_backend("onnx", bundle))
    with pytest.raises(InputError):  # the recorded actions are those of raw observations
        run_selftest(backend, bundle, 1e-4)
    np.testing.assert_allclose(backend.asked, (bundle.golden()[0] - mean) / std, rtol=1e-5, atol=1e-5)


def test_a_recurrent_model_is_tested_as_one_sequence_and_left_reset(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    manifest = small_manifest(
        model={"recurrent": [{"input": "hidden_in", "output": "hidden_out", "shape": [1, 5]}]}
    )
    model = recurrent_onnx(18, 3, 5)
    path = tmp_path_factory.mktemp("recurrent") / "recurrent"
    unproven = open_bundle(write_small_bundle(path, manifest, model=model))
    backend = open_backend("onnx", unproven)
    observation, _ = unproven.golden()
    action = np.zeros((len(observation), 3), np.float32)
    backend.reset()
    for index, row in enumerate(observation):
        action[index] = backend.infer(row)
        backend.commit()
    golden = npz(observation=observation, action=action)
    bundle = open_bundle(write_small_bundle(path, manifest, model=model, golden=golden))
    assert run_selftest(backend, bundle, 1e-5).max_error < 1e-6  # though the backend is in mid-sequence
    np.testing.assert_allclose(backend.infer(observation[0]), action[0], atol=1e-6)
    swapped = npz(observation=observation[::-1], action=action[::-1])
    shuffled = open_bundle(write_small_bundle(path, manifest, model=model, golden=swapped))
    with pytest.raises(InputError, match="above the tolerance"):
        run_selftest(backend, shuffled, 1e-5)


def test_a_model_that_takes_more_memory_than_a_robot_has_room_for(tmp_path: Path) -> None:
    """A few hundred bytes of a graph may ask for any amount; gaitd must not meet the kernel's OOM killer."""
    for values, fits in ((10**6, True), (10**8, False)):
        path = write_small_bundle(tmp_path / str(values), model=greedy_onnx(18, 3, values))
        bundle = open_bundle(path)
        backend = open_backend("onnx", bundle)
        with contextlib.nullcontext() if fits else pytest.raises(BackendError, match="onnxruntime failed"):
            assert run_selftest(backend, bundle, 1e9).count == 16
