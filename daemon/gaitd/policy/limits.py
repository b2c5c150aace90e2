"""The guard's limits on what goes to the motors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gaitd.errors import InputError
from gaitd.policy.action import ActionMapper
from gaitd.policy.fade import Fade, Gains
from gaitd.policy.joints import joint_array, positive_joint_array
from gaitd.policy.manifest import Float32Array, Manifest, Response
from gaitd.wire.causes import Cause
from gaitd.wire.generated import CauseKind

LIMIT_NAMES = ("position", "slew", "torque")


@dataclass(slots=True)
class Decision:
    """What becomes of one raw action; target and action mean something only when it is accepted."""

    cause: Cause | None
    """Why it is rejected; None when accepted. The joint is an index into the policy's joints."""
    target: Float32Array
    """(n,) rad, the joint position target."""
    action: Float32Array
    """(n,) the raw action after the policy's own clip; where a limit holds a joint back, what it came to."""
    model_action: Float32Array
    """(n,) what the model gave."""
    clamped: dict[str, int]
    """Number of joints held back by each limit that was met."""

    @property
    def accepted(self) -> bool:
        """Whether the command may go to the motors."""
        return self.cause is None


@dataclass(frozen=True, slots=True)
class TargetBounds:
    """How far the manifest's limits let joint position targets go, whatever the response; (n,) each."""

    low: Float32Array
    high: Float32Array
    """rad"""
    slew: Float32Array
    """rad a step from the last target; infinite without a limit."""
    torque_reach: Float32Array
    """rad around where the motors would apply no torque; infinite without a limit."""
    velocity_share: Float32Array
    """s: of the joint velocity in that place."""

    @classmethod
    def of(cls, manifest: Manifest, mapper: ActionMapper) -> TargetBounds:
        """Raises InputError when the manifest's limits contradict themselves."""
        joints, limits = manifest.joints, manifest.limits
        low, high = position_range(manifest)
        slew = torque_reach = np.full(len(joints), np.inf, np.float32)
        velocity_share = np.zeros(len(joints), np.float32)
        if limits.slew is not None:
            slew = positive_joint_array(limits.slew.max_rad_per_step, joints, "limits.slew.max_rad_per_step")
        if limits.torque is not None:
            if (mapper.stiffness <= 0).any():
                raise InputError("limits.torque: a torque limit needs action.stiffness_nm_per_rad above 0")
            torque = positive_joint_array(limits.torque.max_nm, joints, "limits.torque.max_nm")
            # |stiffness * (target - q) - damping * dq| <= torque, solved for the target
            torque_reach = torque / mapper.stiffness
            velocity_share = mapper.damping / mapper.stiffness
        return cls(low, high, slew, torque_reach, velocity_share)


class CommandGuard:
    """Finite, shape, joint range, slew per step, and a bound on the torque that the motors would apply."""

    def __init__(self, manifest: Manifest, mapper: ActionMapper) -> None:
        """Raises InputError when the manifest's limits contradict themselves."""
        joints, limits = manifest.joints, manifest.limits
        self._mapper = mapper
        self._joint_count = len(joints)
        self._default = joint_array(manifest.default_joint_position_rad, joints, "default_joint_position_rad")
        bounds = TargetBounds.of(manifest, mapper)
        self.position_min, self.position_max = bounds.low, bounds.high
        self._slew, self._torque_reach = bounds.slew, bounds.torque_reach
        self._velocity_share = bounds.velocity_share
        self._gains = Gains(mapper.stiffness, mapper.damping)
        self._responses: dict[str, Response] = {"position": limits.position.response}
        if limits.slew is not None:
            self._responses["slew"] = limits.slew.response
        if limits.torque is not None:
            self._responses["torque"] = limits.torque.response
        self.travel_steps = int(np.max(np.ceil((self.position_max - self.position_min) / self._slew)))
        """In so many steps the slew limit lets every joint go from anywhere to anywhere."""
        self._limits_torque = limits.torque is not None
        self._max_motion_rad = np.inf
        if limits.repetition is not None:
            self._max_motion_rad = limits.repetition.max_joint_motion_rad
            if not self._max_motion_rad > 0:
                raise InputError(
                    "limits.repetition.max_joint_motion_rad: expected more than 0, "
                    f"got {self._max_motion_rad}"
                )
        self.reset()

    def reset(self) -> None:
        """Start of a session: the robot stands at the default joint position."""
        self.refer_to(self._default.copy())
        self._answer = b""
        self._answered_at = self._default

    def check(
        self,
        action: Float32Array,
        joint_position: Float32Array,
        joint_velocity: Float32Array,
        fade: Fade | None = None,
    ) -> Decision:
        """Judge a raw action (n,) at the measured joint position (n,) rad and velocity (n,) rad/s.

        Limits that clamp hold the target back, in the order slew, torque, position: the range of the
        joint has the last word. Leaves no trace: ``commit`` does, when the command went out. In a ``fade``
        the blend is judged, and every limit clamps: what it meets is the change, not the policy.
        """
        cause = self._model_fault(action, joint_position)
        if cause is not None:
            return Decision(cause, self._lowest, action, action, {})
        clipped = self._mapper.clip(action)
        decision = Decision(None, self._mapper.target(clipped), clipped, action.copy(), {})
        reach, velocity_share = self._torque_reach, self._velocity_share
        if fade is not None:
            decision.target = fade.blend(fade.target, decision.target)
            decision.action = self._mapper.action(decision.target)
            reach, velocity_share = self._torque_bounds(fade.gains_with(self._gains))
        centre = joint_position + velocity_share * joint_velocity
        torque_low, torque_high = centre - reach, centre + reach
        low, high = np.maximum(self._low, torque_low), np.minimum(self._high, torque_high)
        inside = (decision.target >= low) & (decision.target <= high)
        if np.count_nonzero(inside) != self._joint_count:
            damps = fade is None
            self._hold("slew", decision, self._slew_low, self._slew_high, centre, damps=damps)
            self._hold("torque", decision, torque_low, torque_high, centre, damps=damps)
            self._hold("position", decision, self.position_min, self.position_max, centre, damps=damps)
        return decision

    def reference_fault(self) -> Cause | None:
        """Why the target in force, another policy's, is none from which this one may go on."""
        low, high = self.position_min - self._lowest, self._highest - self.position_max
        joint = int(np.argmax(np.maximum(low, high)))
        if max(low[joint], high[joint]) <= 0:
            return None
        below = low[joint] > 0
        target = self._lowest[joint] if below else self._highest[joint]
        bound = self.position_min[joint] if below else self.position_max[joint]
        return Cause(CauseKind.POSITION_LIMIT, joint, float(target), float(bound))

    def commit(self, decision: Decision, joint_position: Float32Array) -> None:
        """The command went out: its target is the next step's reference for slew.

        ``joint_position`` (n,) rad: where the joints were measured when the action was judged.
        """
        self.refer_to(decision.target)
        answer = decision.model_action.tobytes()
        if answer != self._answer:
            self._answer, self._answered_at = answer, joint_position

    def refer_to(self, target: Float32Array) -> None:
        """This target (n,) rad is the reference for slew: it is in force."""
        self._refer_between(target, target)

    def refer_also_to(self, target: Float32Array) -> None:
        """This target (n,) rad may be in force instead: it is a reference, too, until the next commit."""
        self._refer_between(np.minimum(self._lowest, target), np.maximum(self._highest, target))

    def _refer_between(self, lowest: Float32Array, highest: Float32Array) -> None:
        """What slew and position leave to the next target is known before its state comes."""
        self._lowest, self._highest = lowest, highest
        self._slew_low, self._slew_high = highest - self._slew, lowest + self._slew
        self._low = np.maximum(self._slew_low, self.position_min)
        self._high = np.minimum(self._slew_high, self.position_max)

    def _torque_bounds(self, gains: Gains) -> tuple[Float32Array, Float32Array]:
        """As TargetBounds has them, for other gains than the policy's."""
        if not self._limits_torque:
            return self._torque_reach, self._velocity_share
        reach = self._torque_reach * self._gains.stiffness / gains.stiffness
        return reach, gains.damping / gains.stiffness

    def _model_fault(self, action: Float32Array, joint_position: Float32Array) -> Cause | None:
        if action.shape != (self._joint_count,):
            return Cause(CauseKind.ACTION_SHAPE, number=float(action.size), bound=float(self._joint_count))
        if np.count_nonzero(np.isfinite(action)) != self._joint_count:
            joint = int(np.argmin(np.isfinite(action)))
            return Cause(CauseKind.ACTION_NOT_FINITE, joint, float(action[joint]))
        if action.tobytes() == self._answer:
            # The same answer as when the joints were somewhere else: the model is stuck.
            motion = np.abs(joint_position - self._answered_at)
            if motion.max() > self._max_motion_rad:
                joint = int(np.argmax(motion))
                return Cause(
                    CauseKind.ACTION_REPEATED, joint, float(motion[joint]), float(self._max_motion_rad)
                )
        return None

    def _hold(
        self,
        name: str,
        decision: Decision,
        low: Float32Array,
        high: Float32Array,
        centre: Float32Array,
        *,
        damps: bool,
    ) -> None:
        held = np.clip(decision.target, low, high)
        excess = np.abs(held - decision.target)
        count = int(np.count_nonzero(excess))
        if not count:
            return
        decision.clamped[name] = count
        if damps and self._responses[name] == "damp" and decision.cause is None:
            joint = int(np.argmax(excess))
            decision.cause = self._cause(name, joint, decision.target[joint], held[joint], centre[joint])
        decision.action = np.where(held != decision.target, self._mapper.action(held), decision.action)
        decision.target = held

    def _cause(
        self, name: str, joint: int, target: np.float32, held: np.float32, centre: np.float32
    ) -> Cause:
        if name == "slew":
            motion = max(target - self._lowest[joint], self._highest[joint] - target)
            return Cause(CauseKind.SLEW_LIMIT, joint, float(motion), float(self._slew[joint]))
        if name == "torque":
            stiffness = self._mapper.stiffness[joint]
            torque, bound = abs(target - centre) * stiffness, self._torque_reach[joint] * stiffness
            return Cause(CauseKind.TORQUE_LIMIT, joint, float(torque), float(bound))
        return Cause(CauseKind.POSITION_LIMIT, joint, float(target), float(held))


def position_range(manifest: Manifest) -> tuple[Float32Array, Float32Array]:
    """The allowed range of the joint position targets, (n,) rad each. Raises InputError."""
    limit, joints = manifest.limits.position, manifest.joints
    low = joint_array(limit.min_rad, joints, "limits.position.min_rad")
    high = joint_array(limit.max_rad, joints, "limits.position.max_rad")
    default = joint_array(manifest.default_joint_position_rad, joints, "default_joint_position_rad")
    for joint, least, most, rest in zip(joints, low, high, default, strict=True):
        if not least < most:
            raise InputError(f"limits.position: joint {joint!r} has min {least} and max {most} rad")
        if not least <= rest <= most:
            raise InputError(
                f"default_joint_position_rad: joint {joint!r} is {rest} rad, outside limits.position "
                f"{least}..{most}"
            )
    return low, high
