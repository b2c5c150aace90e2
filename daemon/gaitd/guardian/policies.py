"""The policies of one gaitd as the guardian sees them: what a controller is told of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gaitd.bundle.read import Bundle, fallback_damping
from gaitd.policy.brake import brakes
from gaitd.policy.joints import default_position, order_from
from gaitd.policy.observation import required_fields
from gaitd.shared.guard_memory import SessionSetup
from gaitd.wire.messages import Float32Array


@dataclass(frozen=True, slots=True)
class JointGoal:
    """What the guardian asks of the joints; each (n,), controller order."""

    position: Float32Array
    """rad"""
    stiffness: Float32Array
    """Nm/rad"""
    damping: Float32Array
    """Nm s/rad"""


@dataclass(frozen=True, slots=True)
class JointOrder:
    """A controller's joint order against the policy's, and the guardian's commands in it."""

    setup: SessionSetup
    controller_from_policy: tuple[int, ...]
    """Index in the controller's order of each joint of the policy's."""
    limp: JointGoal
    """Nothing but the robot's damping."""
    stance: JointGoal
    """The policy's default stance, with its own gains."""


def title_of(bundle: Bundle) -> dict[str, str]:
    """``id``, ``name`` and ``version``."""
    manifest = bundle.manifest
    return {"id": bundle.policy_id, "name": manifest.name, "version": manifest.version}


class Policy:
    """One of the policies that a session may be with."""

    def __init__(self, bundle: Bundle) -> None:
        """Raises InputError when its manifest contradicts itself."""
        self.manifest = manifest = bundle.manifest
        self.title = title_of(bundle)
        """As hello's reply has it."""
        self.fields = required_fields(manifest)
        """Of a state, that its observation is made from."""
        self.inputs = [
            {"name": each.name, "length": each.size, "unit": each.unit, "min": each.min, "max": each.max}
            for each in manifest.inputs
        ]
        """As hello's reply has them."""
        self.needs_raw = manifest.observation.raw_size is not None
        """Only ready-made observations can be answered."""
        self._brakes = brakes(manifest)
        self._pipeline = bundle.pipeline()

    def joint_order(self, joints: list[str], session: int, epoch: int, slot: int, *, raw: bool) -> JointOrder:
        """Of a controller with these joints, in a session that begins with the worker in ``slot``."""
        manifest, mapper = self.manifest, self._pipeline.mapper
        policy = manifest.joints
        to_controller = order_from(policy, joints)
        default = default_position(manifest)
        damping = fallback_damping(manifest)
        zeros = np.zeros_like(damping)
        return JointOrder(
            SessionSetup(session, epoch, slot, raw, order_from(joints, policy)),
            tuple(joints.index(joint) for joint in policy),
            JointGoal(zeros, zeros, damping[to_controller]),
            JointGoal(default[to_controller], mapper.stiffness[to_controller], mapper.damping[to_controller]),
        )

    def contract(self, joints: list[str], *, raw: bool) -> dict[str, Any]:
        """What hello's reply says of it to a controller with these joints."""
        manifest, command = self.manifest, self.manifest.velocity_command
        order = self.joint_order(joints, 0, 0, 0, raw=raw)
        to_controller = order_from(manifest.joints, joints)
        return {
            "joints": manifest.joints,
            "joint_targets": [self._pipeline.mapper.kinds[index] for index in to_controller],
            "fields": [] if raw else self.fields,
            "inputs": [] if raw else self.inputs,
            "observation_dim": self._pipeline.builder.dim,
            "action_dim": len(manifest.joints),
            "velocity_command": {
                "unit": command.unit,
                "min": list(command.min),
                "max": list(command.max),
            },
            "default_joint_position": order.stance.position.tobytes(),
            "stiffness": order.stance.stiffness.tobytes(),
            "damping": order.stance.damping.tobytes(),
            "fallback_damping": order.limp.damping.tobytes(),
            "brake_stiffness": self._brakes.stiffness[to_controller].tobytes(),
            "brake_torque": self._brakes.max_torque[to_controller].tobytes(),
        }
