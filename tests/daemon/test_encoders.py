"""A real gaitd whose policy sees what an encoder makes of a camera's frames; both fail in every way."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitd.errors import InputError
from gaitd.policy.schema_stream import Feed
from gaitforge.client.stream import StreamProducer
from support.daemon import PATIENT, Gaitd, wait_until
from support.encoders import CAMERA, encoder_bundle, latent
from support.streams import Producer, height_stream, seen, stream_of


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoder_bundle(tmp_path_factory.mktemp("encoders") / "zeros.gaitd")


@pytest.fixture(scope="module")
def gaitd(bundle: Path) -> Iterator[Gaitd]:
    with Gaitd(bundle, config=PATIENT) as daemon:
        yield daemon.wait_ready()


def encoder_of(gaitd: Gaitd) -> dict[str, Any]:
    (encoder,) = gaitd.status()["encoders"]
    return dict(encoder)


@pytest.fixture
def camera(gaitd: Gaitd, bundle: Path) -> Iterator[Producer]:
    wait_until(lambda: not encoder_of(gaitd)["producer"], what="the end of the one before")
    before = encoder_of(gaitd)["encoded"]
    made = Producer(gaitd.runtime_dir, bundle)
    wait_until(lambda: encoder_of(gaitd)["encoded"] > before, 30.0, "a first latent")
    yield made
    made.close()


def becomes(gaitd: Gaitd, *, stale: bool) -> None:
    wait_until(lambda: stream_of(gaitd)["stale"] is stale, 30.0, "a stale stream" if stale else "a fresh one")


def test_the_policy_sees_what_the_encoder_makes_of_the_camera(gaitd: Gaitd, bundle: Path) -> None:
    wait_until(lambda: not encoder_of(gaitd)["producer"], what="the end of the one before")
    producer, controller = StreamProducer(gaitd.runtime_dir, Feed(**CAMERA)), gaitd.controller()
    controller.activate()
    rng = np.random.default_rng(2)
    try:
        for _ in range(5):
            image = rng.uniform(-1.0, 1.0, (6, 8)).astype(np.float32)

            def arrives(image: np.ndarray = image) -> bool:
                producer.publish(image)
                return seen(controller) == (pytest.approx(latent(image)[0], abs=1e-5), True)

            wait_until(arrives, 20.0, "the latent")
    finally:
        producer.close()
        controller.control.ask("release", session=controller.session)
        controller.close()
    metrics = gaitd.metrics()
    assert metrics['gaitd_encoder_encoded_total{stream="height"}'] >= 5
    assert 0.0 < metrics['gaitd_encoder_seconds{stream="height"}'] < 1.0


@pytest.mark.parametrize("fault", ["killed", "hung", "frozen", "future", "scrambled", "silent"])
def test_a_camera_that_fails_is_a_stale_latent(gaitd: Gaitd, camera: Producer, fault: str) -> None:
    becomes(gaitd, stale=False)
    if fault == "killed":
        camera.process.kill()
    elif fault == "hung":
        camera.process.send_signal(signal.SIGSTOP)
    else:
        camera.do(fault)
    becomes(gaitd, stale=True)
    if fault == "hung":
        camera.process.send_signal(signal.SIGCONT)
    if fault != "killed":
        camera.do("good")
        becomes(gaitd, stale=False)


@pytest.mark.parametrize("fault", ["killed", "hung"])
def test_an_encoder_that_fails_is_a_stale_stream_and_is_replaced_alone(
    gaitd: Gaitd, camera: Producer, fault: str
) -> None:
    becomes(gaitd, stale=False)
    before, worker = encoder_of(gaitd), gaitd.worker_pid()
    # Its successor may be there before the stream is seen to be stale: it dies when that has been seen.
    os.kill(before["pid"], signal.SIGSTOP)
    becomes(gaitd, stale=True)
    if fault == "killed":
        os.kill(before["pid"], signal.SIGKILL)
    becomes(gaitd, stale=False)
    after, status = encoder_of(gaitd), gaitd.status()
    assert (after["pid"] != before["pid"], after["starts"]) == (True, before["starts"] + 1)
    assert (gaitd.worker_pid(), status["mode"], status["session"]) == (worker, "idle", 0)
    assert f"encoder-height {'died' if fault == 'killed' else 'hangs'}" in gaitd.log


def test_a_slow_encoder_is_stale_in_between(gaitd: Gaitd, camera: Producer) -> None:
    pid = encoder_of(gaitd)["pid"]
    for _ in range(3):
        becomes(gaitd, stale=False)
        os.kill(pid, signal.SIGSTOP)
        becomes(gaitd, stale=True)
        os.kill(pid, signal.SIGCONT)
    becomes(gaitd, stale=False)


def test_what_an_encoder_makes_has_no_other_producer(gaitd: Gaitd) -> None:
    with pytest.raises(
        InputError, match="stream height: its encoder makes it, here; publish what that takes"
    ):
        StreamProducer(gaitd.runtime_dir, height_stream())


def test_an_encoder_ends_with_its_gaitd(gaitd: Gaitd) -> None:
    """The last one here: the others' gaitd is gone after it."""
    pid = encoder_of(gaitd)["pid"]
    gaitd.process.kill()
    gaitd.process.wait()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), what="its end")
