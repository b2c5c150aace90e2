"""Encoders without processes: which frames are encoded, what comes of them, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitd.backends.encoder import EncoderModel
from gaitd.bundle import open_bundle
from gaitd.errors import BackendError, InputError
from gaitd.policy.encoder import EncoderStep, encoded
from gaitd.policy.stream import StreamFrame, StreamReceiver
from gaitforge.common.manifest import checked_manifest
from support.bundles import small_manifest
from support.encoders import CAMERA, ENCODER, encoder_bundle, encoder_onnx, latent
from support.streams import HEIGHT, STREAM_TERMS, stream_bundle

MS = 1_000_000


def frame(stamp_ns: int, value: float = 0.0) -> StreamFrame:
    return StreamFrame(np.full(48, value, np.float32), stamp_ns)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoder_bundle(tmp_path_factory.mktemp("encoder") / "policy.gaitd", rate_hz=10.0)


def step_of(path: Path, **model: Any) -> EncoderStep:
    bundle = open_bundle(path)
    ((stream, encoder),) = encoded(bundle.manifest.streams)
    return EncoderStep(stream, EncoderModel(bundle, stream, encoder))


def test_what_it_makes_is_the_sum_by_hand_with_the_camera_s_stamp(bundle: Path) -> None:
    step, rng = step_of(bundle), np.random.default_rng(1)
    receiver = StreamReceiver(open_bundle(bundle).manifest.streams[0])
    for number in range(1, 20):
        image = rng.normal(size=(6, 8)).clip(-1, 1).astype(np.float32)
        made = step.step(StreamFrame(image.ravel(), number * 100 * MS))
        assert made is not None
        assert receiver.take(made, number * 100 * MS) is None
        assert receiver.frame is not None
        assert receiver.frame.stamp_ns == number * 100 * MS
        np.testing.assert_allclose(receiver.frame.values, latent(image), atol=1e-6)


@pytest.mark.parametrize(("camera_hz", "made"), [(5, 51), (10, 101), (12, 121), (20, 101), (30, 101)])
def test_it_encodes_at_most_at_its_rate(bundle: Path, camera_hz: int, made: int) -> None:
    """10 s of a camera, for a stream of 10 Hz; a camera hardly faster is taken whole."""
    step = step_of(bundle)
    stamps = [1 + round(number * 1e9 / camera_hz) for number in range(10 * camera_hz + 1)]
    assert sum(step.step(frame(stamp)) is not None for stamp in stamps) == made


def test_without_a_frame_there_is_none(bundle: Path) -> None:
    assert step_of(bundle).step(None) is None


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (
            encoder_onnx(output="other"),
            "outputs are other tensor(float) [1, 6]; expected one tensor",
        ),
        (encoder_onnx(shape=(1, 1, 6, 7)), "inputs are image tensor(float) [1, 1, 6, 7]; expected one"),
        (b"nothing", "encoder.onnx"),
    ],
)
def test_a_model_that_does_not_fit_is_named(tmp_path: Path, model: bytes, why: str) -> None:
    with pytest.raises(InputError) as caught:
        step_of(stream_bundle(tmp_path / "policy.gaitd", model, encoder=ENCODER))
    assert why in str(caught.value)


def test_without_onnxruntime_it_is_said(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaitd.backends.encoder.has_onnxruntime", lambda: False)
    with pytest.raises(BackendError, match=r"stream height: its encoder runs on the CPU.*gaitd\[onnx\]"):
        step_of(bundle)


def test_a_bundle_has_its_encoder_and_no_other_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"encoder\.onnx is missing; every bundle of this policy needs it"):
        stream_bundle(tmp_path / "policy.gaitd", encoder=ENCODER)
    with pytest.raises(InputError, match=r"a bundle holds no file named 'encoder\.onnx'"):
        stream_bundle(tmp_path / "policy.gaitd", encoder_onnx())


def changed(**changes: Any) -> dict[str, Any]:
    return {**HEIGHT, "encoder": {**ENCODER, **changes}}


@pytest.mark.parametrize(
    ("streams", "why"),
    [
        ([changed(model="Enc/../x")], "streams[0].encoder.model: 'Enc/../x': expected up to 40 of a-z"),
        ([changed(model="model")], "streams (height).encoder.model: another model is named 'model'"),
        ([changed(takes={**CAMERA, "rate_hz": 10.0})], "expected at most the rate of encoder.takes, 10"),
        (
            [changed(takes={**CAMERA, "min": 0.5})],
            "(height).encoder.takes: expected finite min < max",
        ),
        ([changed(takes={**CAMERA, "name": "height"})], "'height' is made by an encoder"),
        ([changed(takes={**CAMERA, "shape": [641, 480]})], "its values: 307680 is more than the 307200"),
        ([changed(input="")], "streams[0].encoder.input: '' is no name"),
        ([changed(recurrent=[])], "unknown field `recurrent`"),
        ([{**changed(), "dtype": "uint8"}], "streams (height).dtype: an encoder gives float32, not uint8"),
        (
            [changed(), {**HEIGHT, "name": "camera"}],
            "encoder.takes: 'camera' is float32 6x8 here and float32 2x3 elsewhere",
        ),
    ],
)
def test_an_encoder_that_contradicts_itself_is_named(streams: list[Any], why: str) -> None:
    manifest = small_manifest(format=2, streams=streams)
    manifest["observation"]["terms"] += STREAM_TERMS
    with pytest.raises(InputError) as caught:
        checked_manifest(manifest, "manifest")
    assert why in str(caught.value)
