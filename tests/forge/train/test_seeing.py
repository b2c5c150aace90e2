"""What many robots see of the ground is what gaitd gives each of them, stale or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from gaitd.policy.manifest import Manifest
from gaitd.policy.pipeline import PolicyPipeline
from gaitd.policy.stream import StreamFrame
from gaitd.wire.messages import RobotState
from gaitforge.common.manifest import load_manifest
from gaitforge.simulate.height_map import HeightMap
from gaitforge.simulate.terrain import CELL_M, SIDE_M, make_for_many
from gaitforge.train.config import Seen
from gaitforge.train.memory import Memory
from gaitforge.train.observe import Observer
from gaitforge.train.seeing import Seeing

EXAMPLE = Path(__file__).parents[3] / "examples" / "lite3_steps"
SPEC = "height:1.0x0.6"
ROBOTS = 6
T_NS = 20_000_000


def contract(beyond: str) -> Manifest:
    manifest = load_manifest(EXAMPLE / "manifest.yaml")
    stream = msgspec.structs.replace(
        manifest.streams[0],
        beyond=beyond,  # type: ignore[arg-type]
        slow_max=(0.3, 0.2, 0.4) if beyond == "slow" else None,
    )
    return msgspec.structs.replace(manifest, streams=[stream])


def places(rng: np.random.Generator) -> np.ndarray:
    at = np.zeros((ROBOTS, 7))
    at[:, :2], at[:, 2] = rng.uniform(-9, 9, (ROBOTS, 2)), 0.4
    at[:, 3:] = rng.normal(size=(ROBOTS, 4))
    at[:, 3:] /= np.linalg.norm(at[:, 3:], axis=1, keepdims=True)
    return at


def started(seeing: Seeing, rng: np.random.Generator) -> Memory:
    memory = Memory.empty(ROBOTS, 12, 4, seeing.stream.size)
    seeing.start(memory, np.ones(ROBOTS, np.bool_), rng)
    return memory


@pytest.mark.parametrize("beyond", ["slow", "zeros", "hold"])
def test_terms_and_commands_are_those_of_the_pipeline(beyond: Any) -> None:
    manifest, rng = contract(beyond), np.random.default_rng(0)
    seeing = Seeing(Seen(stream=SPEC, lost=0.5, lost_s=(0.05, 0.6)), manifest)
    memory, observer = started(seeing, rng), Observer(manifest, ROBOTS)
    pipelines = [PolicyPipeline(manifest, None) for _ in range(ROBOTS)]
    terrain = make_for_many("steps", 0, 0.33)
    was_stale = np.zeros(ROBOTS, np.bool_)
    command, upright = np.array([0.7, -0.4, 0.6], np.float32), np.array([1, 0, 0, 0], np.float32)
    none, joints = np.zeros(3, np.float32), np.zeros(12, np.float32)
    for step in range(1, 60):
        seen = seeing.look(memory, terrain, places(rng), rng, 1.0)
        asked = seeing.cap(np.tile(command.astype(np.float64), (ROBOTS, 1)), memory)
        many = np.zeros((ROBOTS, 12), np.float32)
        got = observer.observe(
            {
                "angular_velocity": many[:, :3],
                "orientation": np.tile(upright, (ROBOTS, 1)),
                "joint_position": many,
                "joint_velocity": many,
                "last_action": many,
                "velocity_command": asked,
                **seen,
            }
        )
        for index, pipeline in enumerate(pipelines):
            age_s = memory.frame_age_s[index]
            frame = None
            if np.isfinite(age_s):
                frame = StreamFrame(memory.frame[index], step * T_NS - round(age_s * 1e9))
            state = RobotState(
                session=1, seq=step, stamp_ns=step * T_NS, angular_velocity=none, orientation=upright,
                linear_acceleration=none, linear_velocity=none, velocity_command=command,
                joint_position=joints, joint_velocity=joints, joint_torque=joints,
            )  # fmt: skip
            pipeline.observe(state, [frame], step * T_NS)
            np.testing.assert_allclose(got[index], pipeline.raw_observation(), atol=1e-5)
            was_stale[index] |= pipeline.raw_observation()[-2] == 0.0
    assert was_stale.any()
    assert (asked == command).all() == (beyond != "slow")


def test_frames_are_of_the_ground_below_and_come_at_the_rate_of_the_stream() -> None:
    manifest, rng = contract("slow"), np.random.default_rng(1)
    seeing = Seeing(Seen(stream=SPEC, noise_m=0.0, lost=0.0), manifest)
    memory, terrain = started(seeing, rng), make_for_many("steps", 0, 0.33)
    height_map = HeightMap.of(SPEC, manifest)
    ages = []
    for _ in range(6):
        before, at = memory.frame.copy(), places(rng)
        seeing.look(memory, terrain, at, rng, 1.0)
        ages.append(float(memory.frame_age_s[0]))
        fresh = np.stack([height_map.sample(terrain, place).ravel() for place in at])
        np.testing.assert_allclose(memory.frame, fresh if ages[-1] == 0.0 else before, atol=1e-6)
    np.testing.assert_allclose(ages, [0.0, 0.02, 0.0, 0.02, 0.0, 0.02], atol=1e-9)
    assert not memory.blind.any()


def test_a_part_of_the_time_is_without_frames() -> None:
    manifest, rng = contract("slow"), np.random.default_rng(2)
    seeing = Seeing(Seen(stream=SPEC, lost=0.25, lost_s=(0.1, 0.3)), manifest)
    memory, at = started(seeing, rng), places(rng)
    blind = []
    for _ in range(1500):
        seeing.look(memory, None, at, rng, 1.0)
        blind.append(memory.blind.mean())
    assert np.mean(blind) == pytest.approx(0.25, abs=0.05)


def test_stairs_for_many_robots_are_low_and_high_ones_with_flat_ways_between() -> None:
    terrain = make_for_many("steps", 3, 0.33)
    assert terrain is not None
    tile = round(8.0 / CELL_M)
    assert (terrain.heights[::tile] == 0.0).all()
    assert (terrain.heights[:, ::tile] == 0.0).all()
    tops = np.abs(np.diff(terrain.heights, axis=1))
    rises = [tops[index * tile + tile // 2].max() for index in range(round(SIDE_M / 8.0))]
    assert min(rises) > 0.02
    assert max(rises) < 0.25 * 0.33 + 1e-9
    assert np.ptp(rises) > 0.01
