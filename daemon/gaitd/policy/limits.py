"""The guard's limits on what goes to the motors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gaitd.errors import InputError
from gaitd.policy.action import ActionMapper, Kind
from gaitd.policy.bounds import TargetBounds, bounded_mask, torque_limit, torque_lines
from gaitd.policy.fade import Fade, Gains
from gaitd.policy.joints import default_position
from gaitd.policy.manifest import Float32Array, Manifest, Response
from gaitd.wire.causes import Cause
from gaitd.wire.generated import CauseKind

LIMIT_NAMES = ("position", "slew", "torque", "velocity", "acceleration", "torque_rate")
"""In the manifest's section ``limits``, and of counters."""
RATES: dict[Kind, str] = {"position": "slew", "velocity": "acceleration", "torque": "torque_rate"}
"""The limit on how fast a target may change, by what the joint follows."""
_CAUSES = {
    "position": CauseKind.POSITION_LIMIT,
    "slew": CauseKind.SLEW_LIMIT,
    "torque": CauseKind.TORQUE_LIMIT,
    "velocity": CauseKind.VELOCITY_LIMIT,
    "acceleration": CauseKind.ACCELERATION_LIMIT,
    "torque_rate": CauseKind.TORQUE_RATE_LIMIT,
}
_TORQUE: dict[Kind, str] = dict.fromkeys(RATES, "torque")
_RANGES: dict[Kind, str] = {kind: kind for kind in RATES}


@dataclass(slots=True)
class Decision:
    """What becomes of one raw action; target and action mean something only when it is accepted."""

    cause: Cause | None
    """Why it is rejected; None when accepted. The joint is an index into the policy's joints."""
    target: Float32Array
    """(n,) what the joints follow: rad, rad/s or Nm."""
    action: Float32Array
    """(n,) the raw action after the policy's own clip; where a limit holds a joint back, what it came to."""
    model_action: Float32Array
    """(n,) what the model gave; 0 for a joint that is held. Another shape when it gave another."""
    clamped: dict[str, int]
    """Number of joints held back by each limit that was met."""

    @property
    def accepted(self) -> bool:
        """Whether the command may go to the motors."""
        return self.cause is None


class CommandGuard:
    """Finite, shape, range, change in a step, and a bound on the torque that the motors would apply.

    Each joint's target is held in the unit of what it follows, all by the same arithmetic.
    """

    def __init__(self, manifest: Manifest, mapper: ActionMapper) -> None:
        """Raises InputError when the manifest's limits contradict themselves."""
        limits = manifest.limits
        self._mapper = mapper
        self._joint_count, self._action_shape = len(manifest.joints), (mapper.action_dim,)
        self._period_s = manifest.control_period_s
        self._start = np.where(mapper.follow("position"), default_position(manifest), np.float32(0))
        bounds = TargetBounds.of(manifest, mapper)
        self.low, self.high = bounds.low, bounds.high
        """(n,) of the targets."""
        self._slew, self._torque = bounds.slew, bounds.torque
        self._torque_nm = torque_limit(manifest)
        self._gains = Gains(mapper.stiffness, mapper.damping)
        self._responses: dict[str, Response] = {
            name: limit.response for name in LIMIT_NAMES if (limit := getattr(limits, name)) is not None
        }
        span = np.where(np.isfinite(self._slew), self.high - self.low, np.float32(0))
        self.travel_steps = int(np.max(np.ceil(span / self._slew)))
        """In so many steps the limits let every target go from anywhere to anywhere."""
        self._max_motion_rad = _max_motion_rad(manifest)
        self.reset()

    def reset(self) -> None:
        """Start of a session: the robot stands at the default joint position."""
        self.refer_to(self._start.copy())
        self._answer = b""
        self._answered_at = self._start

    def check(
        self,
        action: Float32Array,
        joint_position: Float32Array,
        joint_velocity: Float32Array,
        fade: Fade | None = None,
    ) -> Decision:
        """Judge a raw action (action_dim,) at the measured joint position (n,) rad and velocity (n,) rad/s.

        Limits that clamp hold the target back, in the order rate, torque, range: the range of the
        joint has the last word. Leaves no trace: ``commit`` does, when the command went out. In a ``fade``
        the blend is judged, and every limit clamps: what it meets is the change, not the policy.
        """
        mapper = self._mapper
        if action.shape != self._action_shape:
            number, bound = float(action.size), float(self._action_shape[0])
            cause = Cause(CauseKind.ACTION_SHAPE, number=number, bound=bound)
            return Decision(cause, self._lowest, action, action, {})
        answer = mapper.spread(action)
        fault = self._model_fault(answer, joint_position)
        if fault is not None:
            return Decision(fault, self._lowest, answer, answer, {})
        clipped = mapper.clip(answer)
        decision = Decision(None, mapper.target(clipped), clipped, answer.copy(), {})
        if mapper.has_low_pass:
            decision.target = self._last + mapper.share * (decision.target - self._last)
        torque = self._torque
        if fade is not None:
            decision.target = fade.blend(fade.target, decision.target)
            decision.action = mapper.action(decision.target)
            torque = torque_lines(mapper, self._torque_nm, fade.gains_with(self._gains))
        centre = torque.centre(joint_position, joint_velocity)
        torque_low, torque_high = centre - torque.reach, centre + torque.reach
        low, high = np.maximum(self._low, torque_low), np.minimum(self._high, torque_high)
        inside = (decision.target >= low) & (decision.target <= high)
        if np.count_nonzero(inside) != self._joint_count:
            damps = fade is None
            self._hold(RATES, decision, self._slew_low, self._slew_high, centre, damps=damps)
            self._hold(_TORQUE, decision, torque_low, torque_high, centre, damps=damps)
            self._hold(_RANGES, decision, self.low, self.high, centre, damps=damps)
        return decision

    def reference_fault(self) -> Cause | None:
        """Why the target in force, another policy's, is none from which this one may go on."""
        low, high = self.low - self._lowest, self._highest - self.high
        joint = int(np.argmax(np.maximum(low, high)))
        if max(low[joint], high[joint]) <= 0:
            return None
        below = low[joint] > 0
        target = self._lowest[joint] if below else self._highest[joint]
        bound = self.low[joint] if below else self.high[joint]
        return Cause(_CAUSES[self._mapper.kinds[joint]], joint, float(target), float(bound))

    def commit(self, decision: Decision, joint_position: Float32Array) -> None:
        """The command went out: its target is the next step's reference for slew.

        ``joint_position`` (n,) rad: where the joints were measured when the action was judged.
        """
        self.refer_to(decision.target)
        answer = decision.model_action.tobytes()
        if answer != self._answer:
            self._answer, self._answered_at = answer, joint_position

    def refer_to(self, target: Float32Array) -> None:
        """This target (n,) is the reference for slew: it is in force."""
        self._last = target
        self._refer_between(target, target)

    def refer_also_to(self, target: Float32Array) -> None:
        """This target (n,) may be in force instead: it is a reference, too, until the next commit."""
        self._refer_between(np.minimum(self._lowest, target), np.maximum(self._highest, target))

    def _refer_between(self, lowest: Float32Array, highest: Float32Array) -> None:
        """What rates and ranges leave to the next target is known before its state comes."""
        self._lowest, self._highest = lowest, highest
        self._slew_low, self._slew_high = highest - self._slew, lowest + self._slew
        self._low = np.maximum(self._slew_low, self.low)
        self._high = np.minimum(self._slew_high, self.high)

    def _model_fault(self, action: Float32Array, joint_position: Float32Array) -> Cause | None:
        if np.count_nonzero(np.isfinite(action)) != self._joint_count:
            joint = int(np.argmin(np.isfinite(action)))
            return Cause(CauseKind.ACTION_NOT_FINITE, joint, float(action[joint]))
        if action.tobytes() == self._answer:
            # The same answer as when the joints were somewhere else: the model is stuck.
            motion = np.abs(joint_position - self._answered_at)
            if (motion > self._max_motion_rad).any():
                joint = int(np.argmax(motion / self._max_motion_rad))
                bound = float(self._max_motion_rad[joint])
                return Cause(CauseKind.ACTION_REPEATED, joint, float(motion[joint]), bound)
        return None

    def _hold(
        self,
        names: dict[Kind, str],
        decision: Decision,
        low: Float32Array,
        high: Float32Array,
        centre: Float32Array,
        *,
        damps: bool,
    ) -> None:
        """Hold the target back; ``names``: the limit by what a joint follows."""
        held = np.clip(decision.target, low, high)
        excess = np.abs(held - decision.target)
        joints = np.flatnonzero(excess).tolist()
        if not joints:
            return
        for joint in joints:
            name = names[self._mapper.kinds[joint]]
            decision.clamped[name] = decision.clamped.get(name, 0) + 1
        tripping = [joint for joint in joints if self._responses[names[self._mapper.kinds[joint]]] == "damp"]
        if damps and tripping and decision.cause is None:
            joint = max(tripping, key=excess.__getitem__)
            name = names[self._mapper.kinds[joint]]
            decision.cause = self._cause(name, joint, decision.target[joint], held[joint], centre[joint])
        decision.action = np.where(held != decision.target, self._mapper.action(held), decision.action)
        decision.target = held

    def _cause(
        self, name: str, joint: int, target: np.float32, held: np.float32, centre: np.float32
    ) -> Cause:
        kind = self._mapper.kinds[joint]
        number, bound = float(target), float(held)
        if name == RATES[kind]:
            period_s = 1.0 if kind == "position" else self._period_s
            motion = max(target - self._lowest[joint], self._highest[joint] - target)
            number, bound = float(motion) / period_s, float(self._slew[joint]) / period_s
        elif name == "torque" and self._torque_nm is not None:
            most = self._torque_nm[joint]
            number, bound = float(abs(target - centre) * most / self._torque.reach[joint]), float(most)
        return Cause(_CAUSES[name], joint, number, bound)


def _max_motion_rad(manifest: Manifest) -> Float32Array:
    """(n,) How far each joint may move under one and the same action; infinite where nothing bounds it."""
    most = np.full(len(manifest.joints), np.inf, np.float32)
    limit = manifest.limits.repetition
    if limit is None:
        return most
    bounded = bounded_mask(manifest)
    if limit.max_turn_rad is not None and bounded.all():
        raise InputError("limits.repetition.max_turn_rad: this policy has no continuous_joints; leave it out")
    for key, joints in (("max_joint_motion_rad", bounded), ("max_turn_rad", ~bounded)):
        bound = getattr(limit, key)
        if bound is None:
            continue
        if not bound > 0:
            raise InputError(f"limits.repetition.{key}: expected more than 0, got {bound}")
        most[joints] = bound
    return most
