"""Let go in the middle of a walk, a robot must lie down softly under its bundle's own damping."""

from __future__ import annotations

from pathlib import Path

import msgspec

from gaitd.bundle.read import open_bundle
from gaitforge.simulate.direct import onnx_backend
from gaitforge.verify.landing import Landing, land, landing_failures

EXAMPLE = Path(__file__).parents[3] / "examples/lite3_walk/lite3_walk.gaitd"


def landed(damping: float) -> list[Landing]:
    bundle = open_bundle(EXAMPLE)
    manifest = msgspec.structs.replace(bundle.manifest, fallback_damping_nms_per_rad=damping)
    return land(manifest, onnx_backend(bundle), bundle.obs_stats(), seeds=[0])


def test_the_examples_damping_lays_the_robot_down() -> None:
    (landing,) = landings = landed(2.5)
    assert landing.soft
    assert 0.1 < landing.speed_m_per_s < 1.0
    assert landing.tilt_deg < 45
    assert landing_failures(landings, allowed=0) == []


def test_too_little_damping_drops_it() -> None:
    (landing,) = landings = landed(0.1)
    assert not landing.soft
    (failure,) = landing_failures(landings, allowed=0)
    assert failure.startswith("fallback_damping_nms_per_rad: let go out of a walk, the robot went down at 1.")
    assert "1 of 1 times it was not down softly, within 1.3 m/s and 45 deg; allowed is 0" in failure
    assert failure.endswith("a humanoid: --gate with floor: {hard_landings: 1}")
    assert landing_failures(landings, allowed=1) == []


def test_a_robot_that_stays_up_has_not_landed() -> None:
    (failure,) = landing_failures([Landing(0, False, 0.0, 0.0, False)], allowed=0)
    assert "the robot was not down after 2.5 s" in failure


def test_a_policy_that_fell_before_says_nothing_of_its_damping() -> None:
    bundle = open_bundle(EXAMPLE)
    backend = onnx_backend(bundle)
    backend.infer = lambda observation: observation[:12] * -20.0  # type: ignore[method-assign]
    assert land(bundle.manifest, backend, None, seeds=[0]) == []
