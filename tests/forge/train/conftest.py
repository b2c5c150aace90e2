"""The example's own settings, made small."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from gaitforge.common.manifest import load_manifest
from gaitforge.train.config import Config, read_config, read_robot

if TYPE_CHECKING:
    from gaitforge.train.environment import Environment

EXAMPLE = Path(__file__).parents[3] / "examples" / "lite3_trained"


@pytest.fixture
def config() -> Config:
    return read_config(EXAMPLE / "train.yaml")


def environment(config: Config, count: int = 8, seed: tuple[int, ...] = (0, 0), **more: Any) -> Environment:
    from gaitforge.train.environment import Environment  # MuJoCo's batch is not everywhere

    manifest, robot = load_manifest(EXAMPLE / config.manifest), read_robot(EXAMPLE / config.robot)
    return Environment(config, robot, manifest, None, count=count, seed=seed, **more)


def changed(config: Config, **changes: Any) -> Config:
    return msgspec.structs.replace(config, **changes)
