"""What gaitd says in its reply to hello, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from gaitd.errors import GaitdError
from gaitd.policy.brake import Brakes
from gaitd.wire.generated import POSITION_TARGET, TORQUE_TARGET, VELOCITY_TARGET
from gaitd.wire.messages import Float32Array

TARGETS = (POSITION_TARGET, VELOCITY_TARGET, TORQUE_TARGET)


class Policy(msgspec.Struct, frozen=True):
    """One policy of gaitd's."""

    id: str
    """16 hex digits of the bundle's digest."""
    name: str
    version: str


class Times(msgspec.Struct, frozen=True):
    """Nanoseconds."""

    deadline_ns: int
    """No command whose state is older is applied."""
    first_command_ns: int
    """How long a session may go without its first ACTIVE command."""
    stance_ns: int
    """How long DAMPING begins with a stance."""


class VelocityCommand(msgspec.Struct, frozen=True):
    """What a velocity command may be: forward, left, turn left."""

    unit: str
    """``normalized`` or ``si``."""
    min: list[float]
    max: list[float]


class Input(msgspec.Struct, frozen=True):
    """A named input that the client sends with each state."""

    name: str
    length: int
    """Number of values."""
    unit: str
    min: float
    max: float


class _Reply(msgspec.Struct, frozen=True):
    gaitd: str
    policies: list[Policy]
    policy: int
    period_ns: int
    times: Times
    joints: list[str]
    joint_targets: list[str]
    fields: list[str]
    inputs: list[Input]
    action_dim: int
    velocity_command: VelocityCommand
    default_joint_position: bytes
    stiffness: bytes
    damping: bytes
    fallback_damping: bytes
    brake_stiffness: bytes = b""
    brake_torque: bytes = b""


@dataclass(frozen=True, eq=False)
class Contract:
    """What client and gaitd have agreed on; joint arrays (n,) are in the client's order."""

    gaitd: str
    """Its version."""
    policy: Policy
    """That a session begins with."""
    period_s: float
    """The control period: a state is due once in it."""
    times: Times
    joints: tuple[str, ...]
    """In the policy's order, which is that of ``action`` in a command."""
    fields: tuple[str, ...]
    """That the policy needs of a state."""
    joint_targets: tuple[str, ...]
    """(n,) what each joint follows: position, velocity or torque."""
    inputs: tuple[Input, ...]
    """In the order of a state's ``inputs``."""
    action_dim: int
    velocity_command: VelocityCommand
    default_joint_position: Float32Array
    """(n,) rad: where the robot stands when a session begins."""
    stiffness: Float32Array
    """(n,) Nm/rad, the policy's."""
    damping: Float32Array
    """(n,) Nm s/rad, the policy's."""
    fallback_damping: Float32Array
    """(n,) Nm s/rad, of DAMPING."""
    brakes: Brakes
    """(n,) each, of DAMPING too."""


def read_contract(body: Mapping[str, Any], joints: Sequence[str]) -> Contract:
    """The reply to the hello of a client with these joints. Raises GaitdError naming what does not fit."""
    try:
        reply = msgspec.convert(body, _Reply)
    except msgspec.ValidationError as error:
        raise GaitdError(f"gaitd's reply to hello: {error}") from None
    for name, target in zip(joints, reply.joint_targets, strict=False):
        if target not in TARGETS:
            raise GaitdError(
                f"joint {name!r} is to follow its {target}; this client knows {', '.join(TARGETS)}"
            )
    if not 0 <= reply.policy < len(reply.policies):
        raise GaitdError(f"gaitd's reply to hello: policy {reply.policy} of {len(reply.policies)}")
    no_brake = bytes(4 * len(joints))
    return Contract(
        gaitd=reply.gaitd,
        policy=reply.policies[reply.policy],
        period_s=reply.period_ns / 1e9,
        times=reply.times,
        joints=tuple(reply.joints),
        fields=tuple(reply.fields),
        joint_targets=tuple(reply.joint_targets),
        inputs=tuple(reply.inputs),
        action_dim=reply.action_dim,
        velocity_command=reply.velocity_command,
        default_joint_position=_values(reply.default_joint_position, "default_joint_position", joints),
        stiffness=_values(reply.stiffness, "stiffness", joints),
        damping=_values(reply.damping, "damping", joints),
        fallback_damping=_values(reply.fallback_damping, "fallback_damping", joints),
        brakes=Brakes(
            _values(reply.brake_stiffness or no_brake, "brake_stiffness", joints),
            _values(reply.brake_torque or no_brake, "brake_torque", joints),
        ),
    )


def _values(data: bytes, name: str, joints: Sequence[str]) -> Float32Array:
    if len(data) != 4 * len(joints):
        raise GaitdError(f"gaitd's reply to hello: {name} is not {len(joints)} float32")
    values = np.frombuffer(data, np.float32)
    if not np.isfinite(values).all():
        raise GaitdError(f"gaitd's reply to hello: {name} is not finite")
    return values
