"""Several models as one, against the same networks computed here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitd.backends import open_backend
from gaitd.backends.selftest import run_selftest
from gaitd.bundle import open_bundle
from gaitd.errors import InputError
from gaitforge.bundle.write import write_bundle
from gaitforge.common.manifest import checked_manifest
from support.bundles import (
    contract,
    mlp,
    mlp_onnx,
    mlp_weights,
    npz,
    recurrent_onnx,
    small_manifest,
    two_inputs_onnx,
)

NOW, PAST, LATENT = 6, 12, 4
OBSERVATION = {
    "parts": [{"name": "now"}, {"name": "past", "history": {"length": 4}}],
    "terms": [
        {"term": "joint_velocity", "part": "now"},
        {"term": "joint_position", "part": "past"},
        {"term": "last_action", "part": "now"},
    ],
}
ENCODER = mlp_weights(PAST, LATENT, seed=1)
POLICY = mlp_weights(NOW + LATENT, 3, seed=2)


def models(**encoder: Any) -> list[dict[str, Any]]:
    return [
        {"name": "encoder", "inputs": {"obs": ["past"]}, "size": LATENT, **encoder},
        {"name": "walker", "inputs": {"obs": ["encoder", "now"]}},
    ]


def write(
    path: Path, files: dict[str, bytes], graph: list[dict[str, Any]], answers: np.ndarray, seen: np.ndarray
) -> Path:
    manifest = small_manifest(format=2, observation=OBSERVATION, models=graph)
    return write_bundle(path, manifest, {**files, "golden.npz": npz(observation=seen, action=answers)})


def test_a_latent_is_refreshed_every_third_step(tmp_path: Path) -> None:
    seen = np.random.default_rng(0).normal(size=(8, NOW + PAST)).astype(np.float32)
    answers, latent = [], np.zeros(LATENT)
    for step, row in enumerate(seen):
        if step % 3 == 0:
            latent = mlp(ENCODER, row[NOW:])
        answers.append(mlp(POLICY, np.concatenate([latent, row[:NOW]])))
    files = {"encoder.onnx": mlp_onnx(ENCODER), "walker.onnx": mlp_onnx(POLICY)}
    bundle = open_bundle(
        write(tmp_path / "graph.gaitd", files, models(every_steps=3), np.array(answers, np.float32), seen)
    )
    assert bundle.manifest.remembers
    backend = open_backend("onnx", bundle)
    assert run_selftest(backend, bundle, 1e-5).count == 8
    # Without a commit nothing moves: neither the latent nor the count of steps.
    np.testing.assert_allclose(backend.infer(seen[0]), answers[0], atol=1e-5)
    np.testing.assert_allclose(backend.infer(seen[3]), answers[3], atol=1e-5)
    backend.close()


def test_hidden_states_of_all_models_are_their_own(tmp_path: Path) -> None:
    hidden = [{"input": "hidden_in", "output": "hidden_out", "shape": [1, 5]}]
    graph = models(recurrent=hidden)
    files = {"encoder.onnx": recurrent_onnx(PAST, LATENT, 5), "walker.onnx": mlp_onnx(POLICY)}
    rng = np.random.default_rng(3)  # the weights of recurrent_onnx
    w, v = (
        (rng.normal(size=(PAST, 5)) * 0.3).astype(np.float32),
        rng.normal(size=(5, LATENT)).astype(np.float32),
    )
    seen = np.random.default_rng(0).normal(size=(6, NOW + PAST)).astype(np.float32)
    answers, state = [], np.zeros(5)
    for row in seen:
        state = np.tanh(row[NOW:] @ w + state)
        answers.append(mlp(POLICY, np.concatenate([state @ v, row[:NOW]])))
    bundle = open_bundle(write(tmp_path / "graph.gaitd", files, graph, np.array(answers, np.float32), seen))
    run_selftest(open_backend("onnx", bundle), bundle, 1e-4)


def test_one_model_with_two_inputs_and_an_output_that_nobody_takes(tmp_path: Path) -> None:
    first, second = np.random.default_rng(4).normal(size=(2, 12, 3)).astype(np.float32)
    graph = [
        {"name": "walker", "inputs": {"history": ["past"], "frame": ["now"]}, "unused_outputs": ["value"]},
    ]
    files = {"walker.onnx": two_inputs_onnx({"history": first, "frame": second[:NOW]}, "value")}
    seen = np.random.default_rng(0).normal(size=(4, NOW + PAST)).astype(np.float32)
    answers = seen[:, NOW:] @ first + seen[:, :NOW] @ second[:NOW]
    bundle = open_bundle(write(tmp_path / "two.gaitd", files, graph, answers, seen))
    run_selftest(open_backend("onnx", bundle), bundle, 1e-4)


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        ([*models()[:1]], "models[0] (encoder): the last model gives the action"),
        ([{**models()[0], "size": None}, models()[1]], "models[0] (encoder).size: missing"),
        ([{**models()[1], "size": 3}, {**models()[0], "size": None}], "'encoder' is no part of"),
        ([models()[0], {**models()[1], "inputs": {"obs": ["now"]}}], "models[0] (encoder): nobody takes"),
        ([models()[0], {**models()[1], "every_steps": 2}], "models[1] (walker): the last model"),
        ([{**models()[0], "name": "now"}, models()[1]], "models[0] (now).name: a part of the observation"),
        ([{**models()[0], "name": "../x"}, models()[1]], "models[0].name: '../x'"),
        ([{**models()[0], "backend": "onnx", "npu_core": "1"}, models()[1]], "models[0] (encoder).npu_core"),
    ],
)  # fmt: skip
def test_a_graph_that_does_not_fit_together_is_refused(graph: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(InputError) as caught:
        checked_manifest(small_manifest(format=2, observation=OBSERVATION, models=graph), "manifest")
    assert words in str(caught.value)


def test_a_model_whose_file_is_missing_or_not_named_is_refused(tmp_path: Path) -> None:
    seen, answers = np.zeros((2, NOW + PAST), np.float32), np.zeros((2, 3), np.float32)
    files = {"walker.onnx": mlp_onnx(POLICY)}
    with pytest.raises(InputError, match=r"holds neither encoder\.onnx nor encoder\.rknn"):
        write(tmp_path / "missing.gaitd", files, models(), answers, seen)
    files |= {"encoder.onnx": mlp_onnx(ENCODER), "other.onnx": mlp_onnx(ENCODER)}
    with pytest.raises(InputError, match=r"no file named 'other\.onnx'"):
        write(tmp_path / "more.gaitd", files, models(), answers, seen)


def test_a_format_1_contract_has_no_graph() -> None:
    assert not contract(small_manifest()).models
