"""A training's settings as YAML. Unknown and missing keys are refused, by name."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from gaitd.errors import InputError
from gaitd.policy.manifest import JointValues
from gaitd.system.known_names import known_names
from gaitforge.common import files
from gaitforge.simulate.terrain import Kind

Range = tuple[float, float]
"""Smallest and largest, drawn from uniformly."""

Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _Strict(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    pass


class Noise(_Strict, frozen=True, kw_only=True):
    """Half width of the uniform noise on each sensor."""

    angular_velocity_rad_per_s: float = 0.2
    """On each axis of the gyroscope."""
    gravity: float = 0.05
    """On each component of the unit vector."""
    joint_position_rad: float = 0.01
    """On each joint."""
    joint_velocity_rad_per_s: float = 1.5
    """On each joint."""


class Randomization(_Strict, frozen=True, kw_only=True):
    """What differs between the robots; each is drawn once for every robot."""

    friction: Range = (0.4, 1.25)
    """Of the floor, sliding."""
    payload_kg: Range = (-1.0, 2.0)
    """Added to the base's mass."""
    centre_m: float = 0.03
    """How far the base's centre of mass may lie from where it was, along each axis."""
    strength: Range = (0.9, 1.1)
    """Factor on what every motor gives."""
    damping: Range = (0.8, 1.2)
    """Factor on every motor's damping."""
    delay_s: Range = (0.0, 0.005)
    """From the policy's answer to the motors; rounded to steps of the physics."""
    noise: Noise = msgspec.field(default_factory=Noise)


class RobotParameters(_Strict, frozen=True, kw_only=True):
    """A robot for training: which parts of its model mean what, and how far its parameters are known."""

    feet: list[str]
    """Geoms that may touch the floor. A trot moves the first with the last."""
    terminal: list[str]
    """Geoms whose contact with the floor ends an episode."""
    torque_limit_nm: JointValues
    """Where the motors stop."""
    timestep_s: Positive = 0.005
    """Of the physics; a whole number of them is a control period."""
    randomization: Randomization = msgspec.field(default_factory=Randomization)


class Gait(_Strict, frozen=True, kw_only=True):
    """When each foot stands, on the clock of the manifest's ``clock_phase``."""

    offsets: list[Share]
    """For each foot, in the order of the robot's: where in the period its stance begins."""
    duty: Share = 0.55
    """Part of the period that a foot stands."""
    swing_height_m: Positive = 0.07
    """How high a foot is lifted in the middle of its swing."""


class Commands(_Strict, frozen=True, kw_only=True):
    """What is asked of the robots: m/s forward and to the left, rad/s to the left."""

    forward: Range
    """m/s, smallest and largest."""
    left: Range
    """m/s."""
    turn: Range
    """rad/s, to the left."""
    every_s: Range = (3.0, 7.0)
    """A command is renewed after a time drawn from here."""
    zero: Share = 0.1
    """Part of the commands that ask to stand."""
    straight: Share = 0.0
    """Part of the others that ask for one of the three alone, as a person does. Drawn independently, few
    do, and a policy stands still where it should walk slowly backward."""
    start: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    """Part of the ranges that the curriculum begins with."""


class Pushes(_Strict, frozen=True, kw_only=True):
    """Kicks: a velocity added to the base at once."""

    speed_m_per_s: float = 0.5
    """The most along x and along y."""
    every_s: Range = (3.0, 7.0)
    """Between two of them, drawn from here."""


class Curriculum(_Strict, frozen=True, kw_only=True):
    """What becomes harder, from the first iteration on."""

    iterations: Count = 200
    """After these the pushes, the noise, and the range of the commands are whole."""
    tracking_width: Range = (0.2, 0.06)
    """(m/s)^2: the reward ``velocity`` is exp(-error^2 / width); from and to, over the whole training."""
    entropy: Range = (0.005, 0.001)
    """Weight of the exploration, over the whole training."""


class Seen(_Strict, frozen=True, kw_only=True):
    """A stream of the manifest that shows the ground around the robot, as ``--height-map`` does."""

    stream: str
    """NAME:LENGTHxWIDTH [m]."""
    noise_m: float = 0.02
    """Half width of the uniform noise on each of its values."""
    lost: Share = 0.15
    """Part of the time without frames: the robot learns to go on blind."""
    lost_s: Range = (0.5, 5.0)
    """How long there are none."""


class Learning(_Strict, frozen=True, kw_only=True):
    """PPO, as rsl_rl names it."""

    actor: list[Count] = msgspec.field(default_factory=lambda: [128, 64])
    """Widths of the actor's hidden layers."""
    critic: list[Count] = msgspec.field(default_factory=lambda: [128, 128])
    """Widths of the critic's hidden layers."""
    horizon: Count = 24
    """Control steps of each robot in an iteration."""
    epochs: Count = 5
    """How often each step is learnt from."""
    minibatches: Count = 4
    """Parts that an epoch is learnt in."""
    gamma: float = 0.99
    """Discount for each control step."""
    lam: float = 0.95
    """Of the generalized advantage estimate."""
    clip: float = 0.2
    """How far the ratio of new to old probability may be from 1."""
    rate: Positive = 1e-3
    """Initial step size of the optimizer."""
    desired_kl: Positive = 0.01
    """The step size is adapted to this divergence between old and new policy."""
    initial_std: Positive = 1.0
    """Of the exploration, in units of the raw action."""
    last_layer_gain: Positive = 0.1
    """Factor on the actor's initial last layer: it begins near the default pose."""
    mirror: float = 0.5
    """Weight of the loss that makes the policy the same to the left as to the right; 0: none."""


class Config(_Strict, frozen=True, kw_only=True):
    """A whole training."""

    manifest: str
    """The contract, beside this file."""
    robot: str
    """The robot parameter file, beside this file."""
    mjcf: str | None = None
    """The robot's model, beside this file; None: the Lite3 of ``gaitforge simulate``."""
    terrain: Kind = "flat"
    """What it walks on, made from the seed; each episode starts at another place of it."""
    seed: int = 0
    """Of everything that is drawn; the same seed and number of processes give the same policy."""
    environments: Count = 1024
    """Robots at a time."""
    iterations: Count
    """Each is ``learning.horizon`` control steps of every robot, and what is learnt from them."""
    checkpoint_every: Count = 50
    """Iterations."""
    height_map: Seen | None = None
    """What it sees of the ground."""
    episode_s: Positive = 20.0
    """Then a robot starts anew."""
    height_m: Positive | None = None
    """Of the base above the floor; None: as in the default pose."""
    fall_penalty: float = 0.2
    """What a fall costs, once."""
    max_tilt_rad: Positive = 1.0
    """Between the base's and the world's vertical; more is a fall."""
    rewards: dict[str, float]
    """Weights, by the name of gaitforge.train.rewards."""
    gait: Gait | None = None
    """For rewards that follow the clock."""
    commands: Commands
    pushes: Pushes = msgspec.field(default_factory=Pushes)
    curriculum: Curriculum = msgspec.field(default_factory=Curriculum)
    learning: Learning = msgspec.field(default_factory=Learning)


Structure = TypeVar("Structure", bound=msgspec.Struct)


def read_config(path: Path) -> Config:
    """Read a training's YAML. Raises InputError."""
    config = _read(path, "the training's settings", Config)
    _check_ranges(msgspec.to_builtins(config), str(path))
    return config


def read_robot(path: Path) -> RobotParameters:
    """Read a robot parameter file. Raises InputError."""
    robot = _read(path, "the robot's parameters", RobotParameters)
    _check_ranges(msgspec.to_builtins(robot.randomization), f"{path}: randomization")
    if not robot.feet:
        raise InputError(f"{path}: feet: expected at least one geom, got none")
    return robot


def _read(path: Path, what: str, kind: type[Structure]) -> Structure:
    try:
        return msgspec.convert(files.read_yaml(path, what), kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: {error}{known_names(str(error), kind)}") from None


_FALLING = {"tracking_width", "entropy"}
"""Pairs that go from one value to another, in either direction."""


def _check_ranges(values: Any, where: str) -> None:
    for key, value in values.items():
        place = f"{where}: {key}"
        if isinstance(value, dict):
            _check_ranges(value, place)
        numbers = value if isinstance(value, tuple | list) else [value]
        for number in numbers:
            if isinstance(number, float) and not math.isfinite(number):
                raise InputError(f"{place}: expected finite numbers, got {value}")
        if isinstance(value, tuple) and key not in _FALLING and not value[0] <= value[1]:
            raise InputError(f"{place}: expected smallest and largest, got {list(value)}")
