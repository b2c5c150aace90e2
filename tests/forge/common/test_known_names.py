"""A name that no file of gaitd has is refused together with the names that there are."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gaitd.errors import InputError
from gaitforge.checkpoint.config import read_config as read_actor
from gaitforge.common.manifest import load_manifest
from gaitforge.train.config import read_config, read_robot
from gaitforge.verify.gate import read_gate
from support.bundles import small_manifest

EXAMPLE = Path(__file__).parents[3] / "examples/lite3_trained"


def example(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((EXAMPLE / name).read_text())
    return content


SMALL = small_manifest()
FIRST = SMALL["observation"]["terms"][0]
CASES: dict[str, tuple[Callable[[Path], object], dict[str, Any], str]] = {
    "manifest": (load_manifest, {**SMALL, "colour": 1}, "`colour`; known: format, name, version"),
    "section of the manifest": (
        load_manifest,
        {**SMALL, "limits": {**SMALL["limits"], "posture": {"lean": 1}}},
        "`lean` - at `$.limits.posture`; known: max_tilt_rad, max_start_error_rad",
    ),
    "key of a term": (
        load_manifest,
        {**SMALL, "observation": {"terms": [FIRST, {**FIRST, "size": 3}]}},
        "`size` - at `$.observation.terms[1]`; known: term, name, joints, axes, part, scale, clip",
    ),
    "term": (
        load_manifest,
        {**SMALL, "observation": {"terms": [FIRST, {"term": "smell"}]}},
        "'smell' - at `$.observation.terms[1].term`; known: base_angular_velocity, ",
    ),
    "training": (read_config, {**example("train.yaml"), "speed": 1}, "`speed`; known: manifest, robot, mjcf"),
    "section of a training": (
        read_config,
        {**example("train.yaml"), "gait": {"offsets": [0.0], "pace": 1}},
        "`pace` - at `$.gait`; known: offsets, duty, swing_height_m",
    ),
    "robot": (read_robot, {**example("robot.yaml"), "hands": []}, "`hands`; known: feet, terminal"),
    "gate": (read_gate, {"int8": {"mean": 1.0}}, "`mean` - at `$.int8`; known: action_mean, action_max"),
    "actor": (read_actor, {"width": 3}, "`width`; known: activation, obs_dim, act_dim"),
}


@pytest.mark.parametrize("case", CASES)
def test_an_unknown_name_is_refused_with_those_that_are_known(tmp_path: Path, case: str) -> None:
    read, content, message = CASES[case]
    file = tmp_path / "file.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read(file)
    assert str(caught.value).startswith(f"{file}: ")
