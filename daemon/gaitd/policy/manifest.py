"""A policy's manifest: everything that must be known to run it as it was trained.

These types are the schema of a bundle's ``manifest.yaml``. Unknown and missing keys are refused by the
decoder (gaitd.bundle.read); what relates several keys is checked here, with errors that name the key.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

FORMAT = 1
"""Version of the manifest's format."""

JointValues: TypeAlias = float | list[float] | dict[str, float]
"""One number for all joints, a list in policy order, or a map by joint name."""

TermName: TypeAlias = Literal[
    "base_angular_velocity",
    "base_linear_velocity",
    "clock_phase",
    "joint_position",
    "joint_position_relative",
    "joint_torque",
    "joint_velocity",
    "last_action",
    "linear_acceleration",
    "projected_gravity",
    "roll_pitch_yaw",
    "velocity_command",
]
"""In the base's frame, x forward, y left, z up; joints in policy order.

base_angular_velocity: rad/s. Gyroscope.
base_linear_velocity: m/s. Where the controller estimates it; without one the policy cannot run.
clock_phase: 1. Sine and cosine of a clock that starts at activate and turns once in `period_s`.
joint_position: rad. As measured.
joint_position_relative: rad. As measured, less `default_joint_position_rad`.
joint_torque: Nm. As measured.
joint_velocity: rad/s. As measured.
last_action: raw action. The last one that was sent, after clip and limits; 0 before the first.
linear_acceleration: m/s². Accelerometer, gravity included.
projected_gravity: 1. The world's unit vector downwards; (0, 0, -1) when level.
roll_pitch_yaw: rad. Turns about x, then y, then z.
velocity_command: `velocity_command.unit`. Forward, left, turn left, inside the policy's range.
"""


class _Strict(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    pass


class Term(_Strict, frozen=True, kw_only=True):
    """One observation term: value * scale, then clip."""

    term: TermName
    """Which values, by name."""
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


class History(_Strict, frozen=True, kw_only=True):
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


class Observation(_Strict, frozen=True, kw_only=True):
    """The observation vector before normalization."""

    terms: list[Term]
    """In the order of the vector."""
    history: History = msgspec.field(default_factory=History)
    clip: float | None = None
    """Symmetric clip of the whole vector."""


class Normalization(_Strict, frozen=True, kw_only=True):
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


class VelocityCommand(_Strict, frozen=True, kw_only=True):
    """The range of the velocity command; what lies outside is clipped."""

    unit: Literal["normalized", "si"]
    """normalized: a stick, -1..1. si: m/s, m/s, rad/s."""
    min: tuple[float, float, float]
    """Forward, left, turn left."""
    max: tuple[float, float, float]
    """Likewise."""


class TargetClip(_Strict, frozen=True, kw_only=True):
    """The trainer's own range of the joint position target. The raw action stays the feedback."""

    min_rad: JointValues
    """Lower end."""
    max_rad: JointValues
    """Upper end."""


class Action(_Strict, frozen=True, kw_only=True):
    """joint position target = clip(raw action) * scale + offset, then target_clip, as PD motors follow it."""

    scale: JointValues
    """rad for each unit of the raw action."""
    offset: JointValues | Literal["default_joint_position"] = "default_joint_position"
    """rad; the target of an action of 0."""
    clip: tuple[float, float] | None = None
    """Of the raw action, before scaling. The clipped action is the feedback."""
    target_clip: TargetClip | None = None
    stiffness_nm_per_rad: JointValues
    """Of the motors while the policy moves them."""
    damping_nms_per_rad: JointValues
    """Likewise."""
    allow_zero_stiffness: list[str] = []
    """Joints whose stiffness is 0 on purpose; of any other joint it must be above 0."""
    allow_zero_damping: list[str] = []
    """The same of the damping."""


Response: TypeAlias = Literal["clamp", "damp"]


class PositionLimit(_Strict, frozen=True, kw_only=True):
    """Range of the joint position target."""

    min_rad: JointValues
    """Lower end."""
    max_rad: JointValues
    """Upper end."""
    response: Response = "clamp"
    """clamp: hold the target at the limit. damp: reject the action, and go to damping."""


class SlewLimit(_Strict, frozen=True, kw_only=True):
    """Largest change of the joint position target in one control step."""

    max_rad_per_step: JointValues
    """From the last target."""
    response: Response = "clamp"
    """As of the position."""


class TorqueLimit(_Strict, frozen=True, kw_only=True):
    """Bound of the torque that the motor would apply at the measured position and velocity."""

    max_nm: JointValues
    """Either way."""
    response: Response = "clamp"
    """As of the position."""


class StateLimit(_Strict, frozen=True, kw_only=True):
    """What a measured state may hold; beyond it the state is refused."""

    position_margin_rad: float = 0.2
    """Allowed beyond the joint position limit."""
    max_velocity_rad_per_s: JointValues
    """Of a joint, either way."""


class PostureLimit(_Strict, frozen=True, kw_only=True):
    """How the robot may be held while the policy moves it; a state beyond it is refused."""

    max_tilt_rad: float
    """Between the base's and the world's vertical: more, and it has fallen. Not seen in a raw observation."""
    max_start_error_rad: JointValues
    """Of each joint from its default position, in the first state of a session: more, and it would jerk."""


class RepetitionLimit(_Strict, frozen=True, kw_only=True):
    """The same action again, bit for bit, although a joint has moved: the model no longer looks at its input.

    Such an action is refused. Leave it out for a policy that is meant to be constant.
    """

    max_joint_motion_rad: float = 0.1
    """How far a joint may move under one and the same action."""


class Limits(_Strict, frozen=True, kw_only=True):
    """The guard's limits on commands and states. A limit that is absent is not checked."""

    position: PositionLimit
    """Of the targets."""
    slew: SlewLimit | None = None
    """Of the targets."""
    torque: TorqueLimit | None = None
    """Of the targets."""
    state: StateLimit | None = None
    """Of the states."""
    posture: PostureLimit | None = None
    """Of the states."""
    repetition: RepetitionLimit | None = None
    """Of the actions."""


class RecurrentState(_Strict, frozen=True, kw_only=True):
    """A hidden state that the model takes and gives back; zero at activate."""

    input: str
    """Name of the tensor that the model takes."""
    output: str
    """Name of the tensor that it gives back, for the next step."""
    shape: list[int]
    """Of both."""


class Model(_Strict, frozen=True, kw_only=True):
    """The tensors of the model."""

    input: str = "obs"
    """Name of the tensor that takes the observation."""
    output: str = "action"
    """Name of the tensor that holds the action."""
    recurrent: list[RecurrentState] = []
    """Hidden states, of a recurrent policy."""
    npu_memory_kib: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """The most that model.rknn may take of the NPU's memory, weights and internal; more is refused. None: no
    bound."""


class Golden(_Strict, frozen=True, kw_only=True):
    """How far the policy on the robot may be from what was recorded: actions in raw action units."""

    onnx_tolerance: float = 1e-4
    """On the CPU."""
    rknn_tolerance: float = 0.05
    """On the NPU, of a model in int8 too."""
    observation_tolerance: float = 5e-4
    """Between the observations of a capture and gaitd's own of the same states: a fraction of each value's
    largest, and at least of 1 in the state's unit."""


class Manifest(_Strict, frozen=True, kw_only=True):
    """A policy bundle's manifest.yaml."""

    format: int
    """Version of the manifest's format: 1."""
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
    """In the policy's order."""
    default_joint_position_rad: JointValues
    """The pose that a session begins in."""
    observation: Observation
    """What the policy sees."""
    normalization: Normalization | None = None
    """Between observation and model; null: none."""
    velocity_command: VelocityCommand
    """What it is told."""
    action: Action
    """What it does."""
    fallback_damping_nms_per_rad: JointValues
    """Damping of each motor in DAMPING; where it is 0, DAMPING drops the joint."""
    allow_zero_fallback_damping: list[str] = []
    """Joints whose fallback damping is 0 on purpose."""
    limits: Limits
    """What it may do."""
    model: Model = msgspec.field(default_factory=Model)
    """The names of its tensors."""
    golden: Golden = msgspec.field(default_factory=Golden)
    """How near to the recorded actions it must come before gaitd is ready."""
    provenance: dict[str, str] = {}
    """What it was made from, for people; gaitforge pack writes it."""
    files: dict[str, str]
    """sha256 of every other file of the bundle."""

    @property
    def period_ns(self) -> int:
        """The control period in the unit of the clocks."""
        return round(self.control_period_s * 1e9)
