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


class _Strict(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    pass


class Term(_Strict, frozen=True, kw_only=True):
    """One observation term: value * scale, then clip."""

    term: TermName
    scale: float | list[float] = 1.0
    clip: tuple[float, float] | None = None
    delay_steps: int = 0
    """0 is the current control step, 1 the one before it."""
    history_length: int | None = None
    """Overrides the observation's length; only with the term_major layout."""
    period_s: float | None = None
    """Period of clock_phase, which counts from activate: (sin, cos) of the phase."""


class History(_Strict, frozen=True, kw_only=True):
    """How past frames are stacked into the observation."""

    length: int = 1
    layout: Literal["frame_major", "term_major"] = "frame_major"
    order: Literal["oldest_first", "newest_first"] = "oldest_first"
    fill: Literal["first_frame", "zeros"] = "first_frame"
    """What stands in the places of frames from before the session."""


class Observation(_Strict, frozen=True, kw_only=True):
    """The observation vector before normalization."""

    terms: list[Term]
    history: History = msgspec.field(default_factory=History)
    clip: float | None = None
    """Symmetric clip of the whole vector."""


class Normalization(_Strict, frozen=True, kw_only=True):
    """(x - mean) / (max(std, std_floor) + epsilon), then a symmetric clip.

    mean and std come from the bundle's file ``obs_stats.npz``, over the whole observation or, with the
    frame_major layout, over one frame.
    """

    std_floor: float = 0.0
    epsilon: float = 0.0
    clip: float | None = None


class VelocityCommand(_Strict, frozen=True, kw_only=True):
    """The range of the velocity command; what lies outside is clipped."""

    unit: Literal["normalized", "si"]
    """normalized: a stick, -1..1. si: m/s, m/s, rad/s."""
    min: tuple[float, float, float]
    max: tuple[float, float, float]


class TargetClip(_Strict, frozen=True, kw_only=True):
    """The trainer's own range of the joint position target. The raw action stays the feedback."""

    min_rad: JointValues
    max_rad: JointValues


class Action(_Strict, frozen=True, kw_only=True):
    """joint position target = clip(raw action) * scale + offset, then target_clip, as PD motors follow it."""

    scale: JointValues
    offset: JointValues | Literal["default_joint_position"] = "default_joint_position"
    clip: tuple[float, float] | None = None
    """Of the raw action, before scaling. The clipped action is the feedback."""
    target_clip: TargetClip | None = None
    stiffness_nm_per_rad: JointValues
    damping_nms_per_rad: JointValues
    allow_zero_stiffness: list[str] = []
    """Joints whose stiffness is 0 on purpose; of any other joint it must be above 0."""
    allow_zero_damping: list[str] = []
    """The same of the damping."""


Response: TypeAlias = Literal["clamp", "damp"]


class PositionLimit(_Strict, frozen=True, kw_only=True):
    """Range of the joint position target."""

    min_rad: JointValues
    max_rad: JointValues
    response: Response = "clamp"


class SlewLimit(_Strict, frozen=True, kw_only=True):
    """Largest change of the joint position target in one control step."""

    max_rad_per_step: JointValues
    response: Response = "clamp"


class TorqueLimit(_Strict, frozen=True, kw_only=True):
    """Bound of the torque that the motor would apply at the measured position and velocity."""

    max_nm: JointValues
    response: Response = "clamp"


class StateLimit(_Strict, frozen=True, kw_only=True):
    """What a measured state may hold; beyond it the state is refused."""

    position_margin_rad: float = 0.2
    """Allowed beyond the joint position limit."""
    max_velocity_rad_per_s: JointValues


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


class Limits(_Strict, frozen=True, kw_only=True):
    """The guard's limits on commands and states. A limit that is absent is not checked."""

    position: PositionLimit
    slew: SlewLimit | None = None
    torque: TorqueLimit | None = None
    state: StateLimit | None = None
    posture: PostureLimit | None = None
    repetition: RepetitionLimit | None = None


class RecurrentState(_Strict, frozen=True, kw_only=True):
    """A hidden state that the model takes and gives back; zero at activate."""

    input: str
    output: str
    shape: list[int]


class Model(_Strict, frozen=True, kw_only=True):
    """The tensors of the model."""

    input: str = "obs"
    output: str = "action"
    recurrent: list[RecurrentState] = []
    npu_memory_kib: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """The most that model.rknn may take of the NPU's memory, weights and internal; more is refused. None: no
    bound."""


class Golden(_Strict, frozen=True, kw_only=True):
    """How far the policy on the robot may be from what was recorded: actions in raw action units."""

    onnx_tolerance: float = 1e-4
    rknn_tolerance: float = 0.05
    observation_tolerance: float = 5e-4
    """Between the observations of a capture and gaitd's own of the same states: a fraction of each value's
    largest, and at least of 1 in the state's unit."""


class Manifest(_Strict, frozen=True, kw_only=True):
    """A policy bundle's manifest.yaml."""

    format: int
    name: str
    version: str
    description: str = ""
    robot: str
    control_period_s: float
    joints: list[str]
    """In the policy's order."""
    default_joint_position_rad: JointValues
    observation: Observation
    normalization: Normalization | None = None
    velocity_command: VelocityCommand
    action: Action
    fallback_damping_nms_per_rad: JointValues
    """Damping of each motor in DAMPING; where it is 0, DAMPING drops the joint."""
    allow_zero_fallback_damping: list[str] = []
    """Joints whose fallback damping is 0 on purpose."""
    limits: Limits
    model: Model = msgspec.field(default_factory=Model)
    golden: Golden = msgspec.field(default_factory=Golden)
    provenance: dict[str, str] = {}
    files: dict[str, str]
    """sha256 of every other file of the bundle."""

    @property
    def period_ns(self) -> int:
        """The control period in the unit of the clocks."""
        return round(self.control_period_s * 1e9)
