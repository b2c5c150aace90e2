"""The CPU backend against onnxruntime used directly, and what it refuses."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from gaitd.backends import open_backend
from gaitd.backends.onnx import OnnxBackend
from gaitd.bundle.read import Bundle, open_bundle
from gaitd.errors import InputError
from gaitd.policy.manifest import Model, RecurrentState
from support.bundles import mlp, mlp_onnx, mlp_weights, recurrent_onnx, small_manifest, write_small_bundle

OBSERVATION, ACTION, HIDDEN = 18, 3, 5
WEIGHTS = mlp_weights(OBSERVATION, ACTION)


def observations(count: int = 20) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, OBSERVATION)).astype(np.float32)


@pytest.mark.parametrize("batch", [1, "batch"])
def test_answers_as_onnxruntime_and_as_the_network_does(batch: int | str) -> None:
    model = mlp_onnx(WEIGHTS, batch=batch)
    backend = OnnxBackend(model, Model(), OBSERVATION, ACTION)
    direct = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    for observation in observations():
        action = backend.infer(observation)
        assert action.shape == (ACTION,)
        assert action.dtype == np.float32
        np.testing.assert_array_equal(action, direct.run(None, {"obs": observation[None]})[0][0])
        np.testing.assert_allclose(action, mlp(WEIGHTS, observation), atol=1e-5)


def test_the_same_question_gets_the_same_answer() -> None:
    backend = OnnxBackend(mlp_onnx(WEIGHTS), Model(), OBSERVATION, ACTION)
    first = backend.infer(observations()[0]).copy()
    backend.infer(observations()[1])
    np.testing.assert_array_equal(backend.infer(observations()[0]), first)


def test_it_says_its_version() -> None:
    backend = OnnxBackend(mlp_onnx(WEIGHTS), Model(), OBSERVATION, ACTION)
    assert backend.versions() == {"onnxruntime": onnxruntime.__version__}
    backend.close()


def recurrent(**changes: object) -> Model:
    state = {"input": "hidden_in", "output": "hidden_out", "shape": [1, HIDDEN], **changes}
    return Model(recurrent=[RecurrentState(**state)])  # type: ignore[arg-type]


class Direct:
    """The recurrent model on onnxruntime, with the hidden state in the test's hands."""

    def __init__(self) -> None:
        self.session = onnxruntime.InferenceSession(recurrent_onnx(OBSERVATION, ACTION, HIDDEN))
        self.hidden = np.zeros((1, HIDDEN), np.float32)

    def infer(self, observation: np.ndarray, *, commit: bool) -> np.ndarray:
        feeds = {"obs": observation[None], "hidden_in": self.hidden}
        action, hidden = self.session.run(["action", "hidden_out"], feeds)
        if commit:
            self.hidden = hidden
        return np.asarray(action[0])


def test_the_hidden_state_moves_only_when_committed_and_is_zeroed_by_reset() -> None:
    backend = OnnxBackend(recurrent_onnx(OBSERVATION, ACTION, HIDDEN), recurrent(), OBSERVATION, ACTION)
    rng = np.random.default_rng(1)
    for _ in range(3):
        direct = Direct()
        backend.reset()
        for observation in observations():
            accepted = bool(rng.integers(2))
            expected = direct.infer(observation, commit=accepted)
            np.testing.assert_allclose(backend.infer(observation), expected, atol=1e-6)
            if accepted:
                backend.commit()


def test_a_hidden_state_matters() -> None:
    backend = OnnxBackend(recurrent_onnx(OBSERVATION, ACTION, HIDDEN), recurrent(), OBSERVATION, ACTION)
    first = backend.infer(observations()[0]).copy()
    backend.commit()
    assert not np.allclose(backend.infer(observations()[0]), first, atol=1e-3)


@pytest.mark.parametrize(
    ("model", "dims", "message"),
    [
        (
            Model(),
            (17, 3),
            r"model\.onnx: tensor 'obs' is tensor\(float\) \[1, 18\], expected .*\[1, 17\] .*terms",
        ),
        (Model(), (18, 4), r"model\.onnx: tensor 'action' is .* \[1, 3\], expected .*\[1, 4\] .*joints"),
        (Model(input="observation"), (18, 3), r"inputs are obs, but the manifest's .* says observation"),
        (Model(output="actions"), (18, 3), r"outputs are action, but the manifest's .* says actions"),
        (recurrent(), (18, 3), r"inputs are obs, but the manifest's .* says obs, hidden_in"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_by_tensor(
    model: Model, dims: tuple[int, int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        OnnxBackend(mlp_onnx(WEIGHTS), model, *dims)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"shape": [1, 4]},
            r"hidden state 'hidden_in' is tensor\(float\) \[1, 5\], .*recurrent says \[1, 4\]",
        ),
        ({"shape": [5]}, r"hidden state 'hidden_in' is .*says \[5\]"),
        ({"shape": [1, 1, 5]}, r"hidden state 'hidden_in' is .*says \[1, 1, 5\]"),
        ({"shape": [1, -5]}, r"hidden state 'hidden_in' is .*says \[1, -5\]"),
        ({"input": "h"}, r"inputs are obs, hidden_in, but the manifest's .* says obs, h"),
        ({"output": "h"}, r"outputs are action, hidden_out, but the manifest's .* says action, h"),
    ],
)
def test_a_hidden_state_that_does_not_fit_is_refused_by_name(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=rf"model\.onnx: {message}"):
        OnnxBackend(recurrent_onnx(OBSERVATION, ACTION, HIDDEN), recurrent(**changes), OBSERVATION, ACTION)


def test_a_batch_of_two_is_refused() -> None:
    with pytest.raises(InputError, match=r"tensor 'obs' is tensor\(float\) \[2, 18\]"):
        OnnxBackend(mlp_onnx(WEIGHTS, batch=2), Model(), OBSERVATION, ACTION)


@pytest.mark.parametrize("data", [b"", b"junk", b"\0" * 1000, mlp_onnx(WEIGHTS)[:500]])
def test_a_file_that_is_no_model_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(
        InputError, match=r"^model\.onnx: (onnxruntime cannot load it|no ONNX model)"
    ) as caught:
        OnnxBackend(data, Model(), OBSERVATION, ACTION)
    assert "\n" not in str(caught.value)


def test_a_backend_is_opened_by_name(small_bundle: Bundle) -> None:
    backend = open_backend("onnx", small_bundle)
    observation, action = small_bundle.golden()
    np.testing.assert_allclose(backend.infer(observation[0]), action[0], atol=1e-5)
    with pytest.raises(InputError, match=r"holds no model\.rknn"):
        open_backend("rknn", small_bundle)


def test_the_manifest_names_the_tensors(tmp_path_factory: pytest.TempPathFactory) -> None:
    manifest = small_manifest(model={"output": "actions"})
    path = tmp_path_factory.mktemp("named") / "named"
    bundle = open_bundle(write_small_bundle(path, manifest, model=mlp_onnx(WEIGHTS, output="actions")))
    observation, action = bundle.golden()
    np.testing.assert_allclose(open_backend("onnx", bundle).infer(observation[0]), action[0], atol=1e-5)


def test_onnxruntime_keeps_no_usage_database(tmp_path: Path) -> None:
    """Newer builds write one into the home directory and send it off, unless told not to."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    environment["HOME"] = str(tmp_path)
    subprocess.run([sys.executable, "-c", "import gaitd.backends.onnx"], env=environment, check=True)
    assert list(tmp_path.rglob("*onnxruntime*")) == []


FLUSHES = """
import numpy as np
from gaitd.backends.onnx import OnnxBackend
from gaitd.policy.manifest import Model
from support.bundles import mlp_onnx, mlp_weights
backend = OnnxBackend(mlp_onnx(mlp_weights(18, 3)), Model(), 18, 3)
print(np.float32(3e-39) * np.array([0.5], np.float32)[0])
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="onnxruntime flushes on x86 only")
def test_the_thread_that_runs_the_model_flushes_subnormal_numbers() -> None:
    """In a process of its own: the first session decides."""
    done = subprocess.run([sys.executable, "-c", FLUSHES], capture_output=True, text=True, check=True)
    assert float(done.stdout) == 0.0
