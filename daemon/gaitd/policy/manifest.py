"""A policy's manifest: everything that must be known to run it as it was trained.

These types are the schema of a bundle's ``manifest.yaml``. Unknown and missing keys are refused by the
decoder (gaitd.bundle.read); what relates several keys is checked here, with errors that name the key.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, get_args

import msgspec

from gaitd.policy.schema import SINCE_2, Float32Array, JointValues, Strict
from gaitd.policy.schema_action import (
    Action,
    ActionGroup,
    Brake,
    HeldJoints,
    PositionAction,
    TorqueAction,
    VelocityAction,
)
from gaitd.policy.schema_limits import Limits, PositionLimit, Response
from gaitd.policy.schema_model import GraphModel, Model, RecurrentState
from gaitd.policy.schema_stream import Stream

__all__ = [
    "FORMATS",
    "Action",
    "ActionGroup",
    "Float32Array",
    "Golden",
    "GraphModel",
    "History",
    "Input",
    "JointValues",
    "Limits",
    "Manifest",
    "Model",
    "Motion",
    "Normalization",
    "Observation",
    "Part",
    "Phase",
    "PositionAction",
    "PositionLimit",
    "RecurrentState",
    "Response",
    "Stream",
    "Term",
    "TermName",
    "TorqueAction",
    "VelocityAction",
    "VelocityCommand",
]

FORMATS = (1, 2)
"""Versions of the manifest's format."""

TermName: TypeAlias = Literal[
    "base_angular_velocity",
    "base_linear_velocity",
    "clock_phase",
    "input",
    "joint_position",
    "joint_position_relative",
    "joint_torque",
    "joint_velocity",
    "last_action",
    "linear_acceleration",
    "motion",
    "motion_step",
    "phase",
    "projected_gravity",
    "roll_pitch_yaw",
    "stream",
    "stream_age",
    "stream_valid",
    "velocity_command",
]
"""In the base's frame, x forward, y left, z up; joints in policy order.

base_angular_velocity: rad/s. Gyroscope.
base_linear_velocity: m/s. Where the controller estimates it; without one the policy cannot run.
clock_phase: 1. Sine and cosine of a clock that starts at activate and turns once in `period_s`.
input: its own unit. The named input `name`, inside its range.
joint_position: rad. As measured.
joint_position_relative: rad. As measured, less `default_joint_position_rad`.
joint_torque: Nm. As measured.
joint_velocity: rad/s. As measured.
last_action: raw action. The last one that was sent, after clip and limits; 0 before the first.
linear_acceleration: m/s². Accelerometer, gravity included.
motion: its own unit. The array `name` of the motion reference, at its present frame.
motion_step: 1. Number of that frame, from 0.
phase: 1. The values of the phase `name`.
projected_gravity: 1. The world's unit vector downwards; (0, 0, -1) when level.
roll_pitch_yaw: rad. Turns about x, then y, then z.
stream: its own unit. The stream `name`, its newest frame inside its range.
stream_age: s. Since that frame was captured; `max_age_s` at most, and before the first one.
stream_valid: 1. 1 while that frame is not stale, else 0.
velocity_command: `velocity_command.unit`. Forward, left, turn left, inside the policy's range.
"""


Axis: TypeAlias = Literal["forward", "left", "turn"]
AXES = get_args(Axis)
"""Of the velocity command, in its order."""


class Term(Strict, frozen=True, kw_only=True):
    """One observation term: value * scale, then clip."""

    term: TermName
    """Which values, by name."""
    name: Annotated[str | None, SINCE_2] = None
    """Of the input, the stream, the phase or the motion's array that it shows."""
    joints: Annotated[list[str] | None, SINCE_2] = None
    """Of a term with a value for each joint, which ones, in this order; null: those that the policy moves."""
    axes: Annotated[tuple[Axis, ...] | None, SINCE_2] = None
    """Of the velocity command, which of its values, in this order; null: all three."""
    part: Annotated[str | None, SINCE_2] = None
    """The part of the observation that it belongs to, where there are several."""
    scale: float | list[float] = 1.0
    """Factor; a list has one for each of the term's values."""
    clip: tuple[float, float] | None = None
    """Smallest and largest, after scaling."""
    delay_steps: int = 0
    """0 is the current control step, 1 the one before it."""
    history_length: int | None = None
    """Overrides the observation's length; only with the term_major layout."""
    period_s: float | None = None
    """Period of clock_phase, which counts from activate: (sin, cos) of the phase."""


class History(Strict, frozen=True, kw_only=True):
    """How past frames are stacked into the observation."""

    length: int = 1
    """Frames, the current one included."""
    layout: Literal["frame_major", "term_major"] = "frame_major"
    """frame_major: all terms of one frame, then of the next. term_major: all frames of one term, then of the
    next."""
    order: Literal["oldest_first", "newest_first"] = "oldest_first"
    """Of the frames."""
    fill: Literal["first_frame", "zeros"] = "first_frame"
    """What stands in the places of frames from before the session."""


class Part(Strict, frozen=True, kw_only=True):
    """A stretch of the observation vector with a history of its own, and a name that models take it by."""

    name: str
    """As terms and models say it."""
    history: History = msgspec.field(default_factory=History)


class Observation(Strict, frozen=True, kw_only=True):
    """The observation vector before normalization."""

    terms: list[Term] = []
    """In the order of the vector."""
    history: History = msgspec.field(default_factory=History)
    clip: float | None = None
    """Symmetric clip of the whole vector."""
    parts: Annotated[list[Part], SINCE_2] = []
    """In the order of the vector; each of their terms says which one is its own. Without any, the whole
    vector is the part `observation`."""
    raw_size: Annotated[Annotated[int, msgspec.Meta(ge=1)] | None, SINCE_2] = None
    """Instead of terms: the controller makes the whole vector, of so many values (RAW_OBSERVATION)."""


class Normalization(Strict, frozen=True, kw_only=True):
    """(x - mean) / (max(std, std_floor) + epsilon), then a symmetric clip.

    mean and std come from the bundle's file ``obs_stats.npz``, over the whole observation or, with the
    frame_major layout, over one frame.
    """

    std_floor: float = 0.0
    """The least standard deviation that is divided by."""
    epsilon: float = 0.0
    """Added to the deviation."""
    clip: float | None = None
    """Largest magnitude of what comes out; null: any."""


class VelocityCommand(Strict, frozen=True, kw_only=True):
    """The range of the velocity command; what lies outside is clipped."""

    unit: Literal["normalized", "si"]
    """normalized: a stick, -1..1. si: m/s, m/s, rad/s."""
    min: tuple[float, float, float]
    """Forward, left, turn left."""
    max: tuple[float, float, float]
    """Likewise."""


class Input(Strict, frozen=True, kw_only=True):
    """Values that the controller sends with each state, beside the velocity command; finite, or refused."""

    name: str
    """As hello says it."""
    size: Annotated[int, msgspec.Meta(ge=1)] = 1
    """Number of values."""
    unit: str = "1"
    """For people."""
    min: float
    """Smallest; what lies outside is clipped."""
    max: float
    """Largest."""


class PhaseGate(Strict, frozen=True, kw_only=True):
    """What a phase does while the velocity command is small."""

    below: float
    """While the command's length, over the values that `axes` names, is below this."""
    axes: tuple[Axis, ...] = ("forward", "left", "turn")
    """Which values of the command."""
    clock: Literal["runs", "freezes", "restarts"] = "runs"
    """runs: on. freezes: stands still. restarts: goes back to `start_turns`."""
    values: Literal["shown", "zero"] = "shown"
    """zero: the term's values are 0 meanwhile."""
    turns: float | None = None
    """Meanwhile every offset shows this place of the clock: 0.5 for feet that stand side by side."""


class Phase(Strict, frozen=True, kw_only=True):
    """A clock that starts at activate; offset by offset, the functions of its angle in their order."""

    period_s: float | None = None
    """Of one turn."""
    frequency_input: str | None = None
    """Instead: the named input of one value [turns/s] that drives it."""
    start_turns: float = 0.0
    """Where it stands at the first state of a session."""
    offsets_turns: tuple[float, ...] = (0.0,)
    """Ahead of the clock, one for each leg or foot."""
    functions: tuple[Literal["sin", "cos"], ...] = ("sin", "cos")
    """Which values of each."""
    gate: PhaseGate | None = None


class Motion(Strict, frozen=True, kw_only=True):
    """A reference of the bundle's file `motion.npz`: one frame for each control step, from activate on."""

    arrays: dict[str, int]
    """By name, the number of values in a frame; each is an array (frames, values) of the file."""
    at_end: Literal["hold", "repeat"]
    """hold: the last frame stays. repeat: it begins anew."""


class Golden(Strict, frozen=True, kw_only=True):
    """How far the policy on the robot may be from what was recorded: actions in raw action units."""

    onnx_tolerance: float = 1e-4
    """On the CPU."""
    rknn_tolerance: float = 0.05
    """On the NPU, of a model in int8 too."""
    observation_tolerance: float = 5e-4
    """Between the observations of a capture and gaitd's own of the same states: a fraction of each value's
    largest, and at least of 1 in the state's unit."""


class Manifest(Strict, frozen=True, kw_only=True):
    """A policy bundle's manifest.yaml."""

    format: int
    """Version of the manifest's format: 1, or 2 for one with a key of format 2."""
    name: str
    """Of the policy."""
    version: str
    """Of the policy."""
    description: str = ""
    """For people."""
    robot: str
    """Of which robot, for people."""
    control_period_s: float
    """Between two commands: 0.001 to 1."""
    joints: list[str]
    """All that gaitd gives commands for, in the policy's order."""
    held_joints: Annotated[HeldJoints | None, SINCE_2] = None
    """Those of them that the policy does not move."""
    continuous_joints: Annotated[list[str], SINCE_2] = []
    """Those that turn without end, wheels: no default position, no position limit, no position target."""
    default_joint_position_rad: JointValues
    """The pose that a session begins in."""
    observation: Observation
    """What the policy sees."""
    normalization: Normalization | None = None
    """Between observation and model; null: none."""
    velocity_command: VelocityCommand
    """What it is told."""
    inputs: Annotated[list[Input], SINCE_2] = []
    """What else it is told."""
    streams: Annotated[list[Stream], SINCE_2] = []
    """What it sees through other processes than the controller."""
    phases: Annotated[dict[str, Phase], SINCE_2] = {}
    """Clocks, by name."""
    motion: Annotated[Motion | None, SINCE_2] = None
    """A reference that it follows."""
    action: Action | list[ActionGroup]
    """What it does: the section is for position targets of all joints, a list of groups is of format 2."""
    fallback_damping_nms_per_rad: JointValues
    """Damping of each motor in DAMPING; where it is 0, DAMPING drops the joint."""
    allow_zero_fallback_damping: list[str] = []
    """Joints whose fallback damping is 0 on purpose."""
    brake: Annotated[Brake | None, SINCE_2] = None
    """Of the continuous joints in DAMPING; every policy that has such joints has it."""
    limits: Limits
    """What it may do."""
    model: Model = msgspec.field(default_factory=Model)
    """The names of its tensors."""
    models: Annotated[list[GraphModel], SINCE_2] = []
    """Instead of `model`: several, or one with more than one input."""
    golden: Golden = msgspec.field(default_factory=Golden)
    """How near to the recorded actions it must come before gaitd is ready."""
    provenance: dict[str, str] = {}
    """What it was made from, for people; gaitforge pack writes it."""
    files: dict[str, str]
    """sha256 of every other file of the bundle."""

    @property
    def moved_joints(self) -> list[str]:
        """Those that the policy moves, in its order: that of the raw action."""
        held = set() if self.held_joints is None else set(self.held_joints.joints)
        return [joint for joint in self.joints if joint not in held] if held else self.joints

    @property
    def bounded_joints(self) -> list[str]:
        """Those that are not continuous, in the policy's order."""
        endless = set(self.continuous_joints)
        return [joint for joint in self.joints if joint not in endless] if endless else self.joints

    @property
    def input_sizes(self) -> tuple[int, ...]:
        """Number of values of each named input."""
        return tuple(declared.size for declared in self.inputs)

    @property
    def npu_memory_kib(self) -> float | None:
        """The most that all models together may take of the NPU's memory; None: there is no bound."""
        bounds = [each.npu_memory_kib for each in self.models if each.backend != "onnx"]
        bounds = bounds if self.models else [self.model.npu_memory_kib]
        known = [bound for bound in bounds if bound is not None]
        return sum(known) if known and len(known) == len(bounds) else None

    @property
    def remembers(self) -> bool:
        """What the models answer depends on the steps before."""
        return bool(self.model.recurrent) or any(
            model.recurrent or model.every_steps > 1 for model in self.models
        )

    @property
    def period_ns(self) -> int:
        """The control period in the unit of the clocks."""
        return round(self.control_period_s * 1e9)
