"""The robots of a training: what they do, and that they do the same again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mujoco.batch", reason="MuJoCo's batch is absent: it needs Python 3.11 or newer")

from forge.train.conftest import EXAMPLE, changed, environment
from gaitd.errors import GateError, InputError
from gaitforge.common.manifest import load_manifest
from gaitforge.simulate.direct import Step, run_direct
from gaitforge.simulate.script import CommandScript
from gaitforge.simulate.terrain import Kind, make_for_many
from gaitforge.train.config import Commands, Config, Pushes, read_config, read_robot
from gaitforge.train.environment import Environment
from gaitforge.train.mirror import mirror

JOINTS = 12


def actions(rng: np.random.Generator, count: int) -> np.ndarray:
    return (0.3 * rng.standard_normal((count, JOINTS))).astype(np.float32)


def walk(robots: Environment, steps: int, seed: int = 1) -> list[np.ndarray]:
    """Everything that a learner sees."""
    rng, seen = np.random.default_rng(seed), []
    for _ in range(steps):
        actor, critic = robots.observe()
        step = robots.step(actions(rng, robots.count))
        seen.append(np.column_stack((actor, critic, step.reward, step.fell, step.timeout)))
    return seen


def test_the_same_seed_gives_the_same_robots_and_another_gives_others(config: Config) -> None:
    first, again, other = (walk(environment(config, seed=(seed, 0)), 30) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_restored_environment_goes_on_as_the_one_that_it_was_taken_from(config: Config) -> None:
    robots = environment(changed(config, episode_s=0.4), threads=2)
    walk(robots, 25)
    kept, random = robots.snapshot(), robots.rng.bit_generator.state
    expected = walk(robots, 25, seed=2)
    fresh = environment(changed(config, episode_s=0.4))
    fresh.restore(kept)
    fresh.rng.bit_generator.state = random
    np.testing.assert_array_equal(walk(fresh, 25, seed=2), expected)


def test_the_robot_is_the_one_of_the_simulator(config: Config) -> None:
    """The same actions move it alike, through motors in the physics here, by torques there."""
    manifest = load_manifest(EXAMPLE / config.manifest)
    rng, joints, given = np.random.default_rng(0), [], []

    def infer(_: np.ndarray) -> np.ndarray:
        given.append(actions(rng, 1)[0])
        return given[-1]

    def keep(step: Step) -> None:
        joints.append(step.reading.joint_position)

    run_direct(manifest, infer, script=CommandScript.constant(0.0), seconds=0.5, on_step=keep)
    robots = environment(config, count=1, timestep_s=0.001)
    robots.level = 0.0
    for expected, action in zip(joints, given, strict=True):
        robots.observe()
        moved = robots.memory.position[0]
        if expected is not joints[0]:  # the first pose is the start's, which is random
            assert np.abs(moved - expected).max() < 0.25
        robots.step(action[None])
    assert np.abs(moved - joints[-1]).max() < 0.12


def test_a_robot_that_falls_starts_anew(config: Config) -> None:
    robots = environment(config)
    robots.observe()
    robots.kick(np.full((robots.count, 2), [0.0, 8.0]))
    fell = np.zeros(robots.count, np.bool_)
    for _ in range(60):
        robots.observe()
        step = robots.step(np.zeros((robots.count, JOINTS), np.float32))
        fell |= step.fell
        assert (robots.observer.steps[step.fell] == 0).all()
        assert (robots.memory.action[step.fell] == 0).all()
    assert fell.all()


def test_commands_and_pushes_come_when_they_are_due(config: Config) -> None:
    asked = Commands(forward=(0.1, 0.5), left=(0, 0), turn=(0, 0), every_s=(0.1, 0.1), zero=0.0, start=0.5)
    robots = environment(
        changed(config, commands=asked, pushes=Pushes(speed_m_per_s=0.5, every_s=(0.1, 0.1)))
    )
    robots.progress(0)
    commands = []
    for _ in range(20):
        robots.observe()
        robots.step(np.zeros((robots.count, JOINTS), np.float32))
        commands.append(robots.memory.command[:, 0].copy())
    assert len(np.unique(np.array(commands)[6:], axis=0)) >= 3
    assert np.max(commands[6:]) <= 0.25  # the curriculum begins with half
    robots.progress(config.curriculum.iterations)
    for _ in range(10):
        robots.observe()
        robots.step(np.zeros((robots.count, JOINTS), np.float32))
    assert np.max(robots.memory.command) > 0.25


def test_a_straight_command_asks_for_one_of_the_three(config: Config) -> None:
    asked = Commands(forward=(0.1, 0.5), left=(0.1, 0.5), turn=(0.1, 0.5), zero=0.0, straight=1.0)
    robots = environment(changed(config, commands=asked), 40)
    asked_for = np.count_nonzero(robots.memory.command, axis=1)
    assert set(asked_for) == {1}
    assert np.all(np.any(robots.memory.command != 0.0, axis=0))


def test_what_is_not_finite_ends_in_a_clear_line(config: Config, workplace: Path) -> None:
    robots = environment(config)
    robots.observe()
    with pytest.raises(GateError, match="actions are not finite"):
        robots.step(np.full((robots.count, JOINTS), np.nan, np.float32))
    robots.kick(np.full((robots.count, 2), np.nan))
    with pytest.raises(GateError, match="physics of 8 of 8 robots is not finite"):
        robots.step(np.zeros((robots.count, JOINTS), np.float32))


def test_the_mirror_image_of_the_mirror_image_is_the_thing_itself(config: Config) -> None:
    robots = environment(config)
    image = mirror(robots.robot, robots.manifest, robots.observer)
    actor, _ = robots.observe()
    source, sign = image.observation
    mirrored = actor[:, source] * sign
    assert not np.allclose(mirrored, actor)
    np.testing.assert_allclose(mirrored[:, source] * sign, actor)
    names = robots.manifest.joints
    source, sign = image.action
    assert [names[index] for index in source[:3]] == ["FR_HipX_joint", "FR_HipY_joint", "FR_Knee_joint"]
    np.testing.assert_array_equal(sign[:3], [-1, 1, 1])


@pytest.mark.parametrize("kind", ["rough", "steps", "slope"])
def test_on_a_terrain_heights_are_above_the_ground(config: Config, kind: Kind) -> None:
    robots = environment(changed(config, terrain=kind), count=32)
    assert np.ptp(robots.position) > 4.0, "they start all over it"
    terrain = make_for_many(kind, config.seed, config.height_m or robots.robot.height_m)
    assert terrain is not None
    below = terrain.height_m(robots.position)
    assert np.ptp(below) > 0.02
    for _ in range(15):  # they drop onto it
        actor, critic = robots.observe()
        step = robots.step(np.zeros((robots.count, JOINTS), np.float32))
    assert step.fell.mean() < 0.2
    height_error = critic[:, actor.shape[1] + 3] / 10.0
    assert np.abs(np.median(height_error)) < 0.05
    assert np.abs(height_error).max() < 0.2


def test_a_terrain_is_restored_with_the_rest(config: Config) -> None:
    robots = environment(changed(config, terrain="rough"))
    kept, random = robots.snapshot(), robots.rng.bit_generator.state
    expected = walk(robots, 10)
    fresh = environment(changed(config, terrain="rough"))
    walk(fresh, 3, seed=5)
    fresh.restore(kept)
    fresh.rng.bit_generator.state = random
    np.testing.assert_array_equal(walk(fresh, 10), expected)


def test_a_gait_without_a_clock_is_refused(config: Config) -> None:
    with pytest.raises(InputError, match="contact needs a gait"):
        environment(changed(config, gait=None))


def example(name: str, count: int = 8) -> Environment:
    folder = EXAMPLE.parent / name
    config = read_config(folder / "train.yaml")
    manifest, robot = load_manifest(folder / config.manifest), read_robot(folder / config.robot)
    mjcf = None if config.mjcf is None else folder / config.mjcf
    return Environment(config, robot, manifest, mjcf, count=count, seed=(0, 0))


def test_wheels_follow_a_velocity_and_how_far_they_turned_is_no_error_of_the_pose() -> None:
    robots = example("wheels")
    robots.level = 0.0
    robots.memory.push_left_s[:] = 1e9
    action = np.zeros((robots.count, JOINTS), np.float32)
    action[:, 8:] = 0.8 / 0.08 / 10.0  # m/s, over the wheel's radius, in units of the action
    for _ in range(60):
        robots.observe()
        step = robots.step(action)
    assert not step.fell.any()
    np.testing.assert_allclose(step.velocity[:, 0], 0.8, atol=0.1)
    assert np.abs(robots.memory.position[:, 8:]).min() > 5.0
    assert step.terms["pose"] > -0.1
    assert step.contact.all()


@pytest.mark.parametrize("name", ["wheels", "lite3_steps"])
def test_what_format_2_shows_has_a_mirror_image(name: str) -> None:
    robots = example(name)
    source, sign = mirror(robots.robot, robots.manifest, robots.observer).observation
    actor, _ = robots.observe()
    mirrored = actor[:, source] * sign
    assert not np.allclose(mirrored, actor)
    np.testing.assert_allclose(mirrored[:, source] * sign, actor)


def test_a_map_seen_is_restored_with_the_rest() -> None:
    robots = example("lite3_steps")
    walk(robots, 3)
    kept, random = robots.snapshot(), robots.rng.bit_generator.state
    expected = walk(robots, 10)
    robots.restore(kept)
    robots.rng.bit_generator.state = random
    np.testing.assert_array_equal(walk(robots, 10), expected)
