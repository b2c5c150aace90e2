"""Which policies may be loaded at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gaitd.bundle.read import Bundle, open_bundle
from gaitd.bundle.together import check_together
from gaitd.errors import InputError
from gaitd.system.config import Config, Guard
from support.bundles import small_manifest, write_small_bundle
from support.encoders import CAMERA, ENCODER, encoder_bundle
from support.streams import stream_bundle, stream_manifest

Make = Callable[..., Bundle]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A bundle with some things otherwise than the first one's."""

    def made(name: str, **changes: Any) -> Bundle:
        return open_bundle(
            write_small_bundle(tmp_path / f"{name}.gaitd", small_manifest(name=name, **changes))
        )

    return made


def test_policies_that_agree(make: Make) -> None:
    other = make(
        "b",
        default_joint_position_rad=[0.1, -0.6, 1.2],
        action={"scale": 0.1, "stiffness_nm_per_rad": 20.0, "damping_nms_per_rad": 0.5},
        observation={"terms": [*small_manifest()["observation"]["terms"], {"term": "last_action"}]},
    )
    check_together([make("a"), other], Config())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"control_period_s": 0.02}, "its control_period_s is 0.02, that of"),
        ({"robot": "other"}, "robot"),
        ({"joints": ["thigh", "hip", "knee"]}, "joints"),
        ({"fallback_damping_nms_per_rad": 3.0}, "fallback damping"),
        (
            {"velocity_command": {"unit": "si", "min": [-1.0] * 3, "max": [1.0] * 3}},
            "velocity_command",
        ),
        (
            {"observation": {"terms": [*small_manifest()["observation"]["terms"], {"term": "joint_torque"}]}},
            "list of state fields",
        ),
    ],
)
def test_what_they_must_agree_in(make: Make, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match="must agree in it") as caught:
        check_together([make("a"), make("b", **changes)], Config())
    assert named in str(caught.value)


def test_with_a_stance_they_must_agree_in_that_too(make: Make) -> None:
    pair = [make("a"), make("b", default_joint_position_rad=[0.1, -0.6, 1.2])]
    check_together(pair, Config())
    with pytest.raises(InputError, match="its stance"):
        check_together(pair, Config(guard=Guard(stance_s=0.2)))


def test_three_at_most_and_none_twice(make: Make) -> None:
    three = [make(name) for name in "abc"]
    check_together(three, Config())
    with pytest.raises(InputError, match="4 policies at once; 3 are possible"):
        check_together([*three, make("d")], Config())
    with pytest.raises(InputError, match="given twice"):
        check_together([three[0], three[1], three[1]], Config())


def test_a_stream_has_one_shape_for_all(make: Make) -> None:
    def seeing(name: str, **changes: Any) -> Bundle:
        seen = stream_manifest(**changes)
        return make(name, format=2, streams=seen["streams"], observation=seen["observation"])

    check_together([make("a"), seeing("b"), seeing("c", beyond="hold", max_age_s=1.0)], Config())
    with pytest.raises(InputError, match=r"its stream height is float32 3x2, that of .*b\.gaitd float32 2x3"):
        check_together([make("a"), seeing("b"), seeing("c", shape=[3, 2])], Config())


def test_a_stream_has_one_encoder_for_all(tmp_path: Path) -> None:
    def seeing(name: str, **changes: Any) -> Bundle:
        return open_bundle(encoder_bundle(tmp_path / f"{name}.gaitd", **changes))

    first, kept = seeing("a"), seeing("b", beyond="hold")
    check_together([first, kept], Config())
    other = seeing("c", encoder={**ENCODER, "takes": {**CAMERA, "name": "rear"}})
    with pytest.raises(InputError, match=r"its stream height is .* for image of rear .* one of them needs"):
        check_together([first, other], Config())
    plain = open_bundle(stream_bundle(tmp_path / "d.gaitd"))
    with pytest.raises(InputError, match=r"height is float32 2x3, that of .*a\.gaitd .*encoder\.onnx"):
        check_together([first, plain], Config())
