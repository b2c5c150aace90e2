"""The ground around the simulated robot as a stream of the policy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gaitd.backends.encoder import EncoderModel
from gaitd.bundle.read import Bundle, open_bundle
from gaitd.errors import InputError
from gaitd.policy.encoder import EncoderStep
from gaitforge.cli import main
from gaitforge.simulate import body
from gaitforge.simulate.direct import onnx_backend, run_bundle, run_direct
from gaitforge.simulate.failing_over import FailoverPipeline
from gaitforge.simulate.height_map import HeightMap, HeightMapFrames
from gaitforge.simulate.robot import Robot
from gaitforge.simulate.script import CommandScript
from support.encoders import CAMERA, ENCODER, encoder_onnx, latent
from support.reference import EXAMPLE_BUNDLE
from support.streams import HEIGHT, seeing_lite3, stream_manifest

SPEC = "height:1.2x0.8"


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return open_bundle(seeing_lite3(tmp_path_factory.mktemp("seeing") / "lite3.gaitd", beyond="damp"))


@pytest.mark.parametrize("turned_rad", [0.0, 0.5, np.pi / 2, -2.5])
def test_the_points_turn_with_the_robot_and_tell_its_height_above_the_ground(
    seeing: Bundle, turned_rad: float
) -> None:
    robot = Robot(3, body.lite3("steps"))
    terrain, place = robot.terrain, np.zeros(7)
    assert terrain is not None
    place[:3] = 2.0, -1.5, 0.7
    place[3], place[6] = np.cos(turned_rad / 2), np.sin(turned_rad / 2)
    values = HeightMap.of(SPEC, seeing.manifest).sample(terrain, place)
    assert values.shape == (2, 3)
    for row, forward in enumerate((-0.6, 0.6)):
        for column, left in enumerate((-0.4, 0.0, 0.4)):
            x = 2.0 + forward * np.cos(turned_rad) - left * np.sin(turned_rad)
            y = -1.5 + forward * np.sin(turned_rad) + left * np.cos(turned_rad)
            expected = 0.7 - terrain.height_m([x, y])
            assert values[row, column] == pytest.approx(expected, abs=1e-4)
    assert len(np.unique(np.round(values, 4))) > 1, "not all of it is flat"


def test_a_policy_called_directly_sees_fresh_frames_and_walks_as_the_blind_one(seeing: Bundle) -> None:
    robot = Robot(0, body.find(seeing.manifest, None, height_map=SPEC))
    seen = []
    script = CommandScript.constant(1.0)
    run = run_bundle(seeing, script=script, seconds=2.0, robot=robot, on_step=lambda step: seen.append(step))
    blind = run_bundle(open_bundle(EXAMPLE_BUNDLE), script=script, seconds=2.0)
    assert run.distance_m == pytest.approx(blind.distance_m, rel=1e-3)
    rows = np.array([step.observation[-8:] for step in seen])
    assert (rows[:, -1] == 1.0).all()
    assert rows[:, -2].max() <= 1.0 / HEIGHT["rate_hz"] + 1e-6
    heights = [step.reading.time_s for step in seen]
    assert len(heights) == len(rows)
    assert ((rows[:, :6] > 0.2) & (rows[:, :6] < 0.4)).all(), "the Lite3's height on a flat floor"


def test_a_standby_sees_it_too(seeing: Bundle) -> None:
    worker, standby = onnx_backend(seeing), onnx_backend(seeing)
    fails = FailoverPipeline(seeing.manifest, seeing.obs_stats(), worker, standby, fail_at=30, lost=2)
    run = run_direct(
        seeing.manifest,
        fails.infer,
        script=CommandScript.constant(1.0),
        seconds=1.0,
        pipeline=fails,
        body=body.find(seeing.manifest, None, height_map=SPEC),
    )
    assert (run.rejected, run.falls) == (2, 0)
    assert run.distance_m > 0.3


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("height", "expected NAME:LENGTHxWIDTH in m, as in height:1.6x1.0"),
        ("depth:1x1", "the policy has no such stream; it has height"),
    ],
)
def test_what_is_no_height_map_is_named(seeing: Bundle, spec: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        HeightMap.of(spec, seeing.manifest)


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = seeing_lite3(tmp_path / "lite3.gaitd")
    walk = ["simulate", "--bundle", str(path), "--seconds", "1", "--terrain", "steps"]
    assert main(walk) == 2
    assert "the policy observes streams (height), and there are none here" in capsys.readouterr().err
    assert main([*walk, "--height-map", SPEC]) == 0
    assert main(["simulate", "--height-map", SPEC]) == 2
    assert "--height-map without --bundle needs --manifest" in capsys.readouterr().err
    assert stream_manifest()["streams"][0]["name"] in SPEC


def test_a_policy_called_directly_sees_what_its_encoder_makes_of_the_map(tmp_path: Path) -> None:
    encoder = {**ENCODER, "takes": {**CAMERA, "name": "ground"}}
    bundle = open_bundle(seeing_lite3(tmp_path / "lite3.gaitd", encoder_onnx(), encoder=encoder))
    stream, robot = bundle.manifest.streams[0], Robot(3, body.lite3("steps"))
    ground = HeightMap.of("ground:1.2x0.8", bundle.manifest)
    assert stream.encoder is not None
    step = EncoderStep(stream, EncoderModel(bundle, stream, stream.encoder))
    (frame,) = HeightMapFrames("ground:1.2x0.8", bundle.manifest, step)(robot, 1_000)
    assert frame is not None
    assert frame.stamp_ns == 1_000
    expected = latent(ground.sample(robot.terrain, robot.data.qpos[:7]))
    np.testing.assert_allclose(frame.values, expected, atol=1e-6)
    walk = ["simulate", "--bundle", str(bundle.path), "--seconds", "1", "--height-map", "ground:1.2x0.8"]
    assert main(walk) == 0
