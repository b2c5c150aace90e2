"""Everything between an admitted state and a joint position target, apart from the model itself.

The worker and the offline closed loops run this one object, so what was verified is what runs.
"""

from __future__ import annotations

import numpy as np

from gaitd.errors import InputError
from gaitd.policy.action import ActionMapper
from gaitd.policy.declared import MotionArrays
from gaitd.policy.fade import Fade, Gains
from gaitd.policy.limits import RATES, CommandGuard, Decision
from gaitd.policy.manifest import Float32Array, Manifest, Normalization
from gaitd.policy.observation import Normalizer, ObservationBuilder
from gaitd.policy.stream import Frames
from gaitd.wire.causes import Cause
from gaitd.wire.messages import RawObservation, RobotState

_SMALLEST_NORMAL = np.float32(2.0**-126)
_ZERO = np.float32(0.0)


class PolicyPipeline:
    """One policy's observation, normalization, action mapping and guard, in the policy's joint order."""

    def __init__(
        self,
        manifest: Manifest,
        obs_stats: tuple[Float32Array, Float32Array] | None,
        motion: MotionArrays | None = None,
    ) -> None:
        """``motion``: the bundle's reference, where it has one.

        Raises InputError when the manifest, the statistics or the reference contradict themselves.
        """
        self.builder = ObservationBuilder(manifest, motion)
        self.mapper = ActionMapper(manifest)
        self._guard = CommandGuard(manifest, self.mapper)
        self._normalize: Normalizer | None = None
        if manifest.normalization is not None and obs_stats is not None:
            self._normalize = make_normalizer(manifest, manifest.normalization, obs_stats, self.builder)
        self._streams = [each.name for each in manifest.streams]
        self._command_min = np.array(manifest.velocity_command.min, np.float32)
        self._command_max = np.array(manifest.velocity_command.max, np.float32)
        self._last_action = np.zeros(len(manifest.joints), np.float32)
        self._joint_position = np.zeros(len(manifest.joints), np.float32)
        self._joint_velocity = np.zeros(len(manifest.joints), np.float32)
        self._raw: Float32Array | None = None
        self._gains = Gains(self.mapper.stiffness, self.mapper.damping)
        self._other: Gains | None = None
        self._fade_steps = 1
        self._fade: Fade | None = None

    @property
    def fade_gains(self) -> Gains | None:
        """The gains of the next command where it is part of a change of policies; None: the policy's own."""
        return None if self._fade is None else self._fade.gains_with(self._gains)

    @property
    def last_action(self) -> Float32Array:
        """(n,) the last raw action whose command went out; zero at the start of a session."""
        return self._last_action

    def reset(self) -> None:
        """Start of a session: history, last action and the slew reference."""
        self.builder.reset()
        self._guard.reset()
        self._last_action = np.zeros_like(self._last_action)
        self._raw = None
        self._other = self._fade = None

    def stream_cause(self, frames: Frames, at_ns: int) -> Cause | None:
        """Why no state that came then may be answered: a stream that must not be stale is."""
        return self.builder.streams.cause(frames, at_ns) if frames else None

    def observe(self, state: RobotState, frames: Frames = (), at_ns: int = 0) -> None:
        """Take one admitted state; its joints are in the policy's order. One call is one control step.

        ``frames``: the newest of each of the policy's streams, as they are seen at ``at_ns``, when the state
        came. Raises InputError without them, where the policy has streams.
        """
        command = np.minimum(np.maximum(state.velocity_command, self._command_min), self._command_max)
        if self._streams:
            if not frames:
                raise InputError(
                    f"the policy observes streams ({', '.join(self._streams)}), and there are none here: "
                    "states alone do not say what it sees"
                )
            command = self.builder.streams.cap(command, frames, at_ns)
        self.builder.observe(state, command, self._last_action, frames, at_ns)
        self._joint_position, self._joint_velocity = state.joint_position, state.joint_velocity
        self._raw = None

    def observe_raw(self, raw: RawObservation) -> None:
        """Take an admitted ready-made observation."""
        self._raw = raw.observation
        self._joint_position, self._joint_velocity = raw.joint_position, raw.joint_velocity

    def raw_observation(self) -> Float32Array:
        """The observation (observation_dim,) before normalization; overwritten by the next call."""
        return self.builder.vector() if self._raw is None else self._raw

    def observation(self) -> Float32Array:
        """The model's input (observation_dim,): normalized; overwritten by the next call."""
        return self.normalize(self.raw_observation())

    def normalize(self, raw_observation: Float32Array) -> Float32Array:
        """Normalize an observation (observation_dim,) as the policy was trained.

        Subnormal values and -0.0 become 0.0: a model may need ten times its time for the former.
        """
        vector = raw_observation if self._normalize is None else self._normalize(raw_observation)
        return np.where(np.abs(vector) < _SMALLEST_NORMAL, _ZERO, vector)

    def assume(self, action: Float32Array) -> None:
        """Replay: a recorded action (n,), accepted when it was recorded, becomes ``last_action``."""
        self._last_action = action

    def watch(self, gains: Gains | None, fade_steps: int) -> None:
        """From now on commands that are followed are another policy's, with those gains; None: this one's.

        This policy's first command after another's begins a change over ``fade_steps``.
        """
        self._other, self._fade_steps = gains, fade_steps

    def follow(self, action: Float32Array, target: Float32Array) -> None:
        """Another worker's command is in force, with its target (n,) rad.

        ``action`` (n,): what this policy asks for that target with.
        """
        self._last_action = action
        self._guard.refer_to(target)
        self._step_fade(target, held=False)

    def commit_other(self, decision: Decision, action: Float32Array, target: Float32Array) -> None:
        """The same of a state that this policy has answered, too: the decision is not in force."""
        decision.action, decision.target = action, target
        self.commit(decision)

    def refer_also_to(self, target: Float32Array) -> None:
        """This target (n,) rad may be in force instead; see CommandGuard."""
        self._guard.refer_also_to(target)

    def decide(self, action: Float32Array) -> Decision:
        """Judge the model's action (action_dim,) for the newest state. No trace is left until ``commit``."""
        decision = self._guard.check(action, self._joint_position, self._joint_velocity, self._fade)
        if self._other is not None:
            decision.clamped = {}  # nobody was about to do it
            decision.cause = decision.cause or self.reference_fault()
        return decision

    def reference_fault(self) -> Cause | None:
        """Why the target in force, another worker's, is none that this policy may have."""
        return self._guard.reference_fault()

    def commit(self, decision: Decision) -> None:
        """The decision's command went out: its action is ``last_action``, its target the slew reference."""
        self._last_action = decision.action
        self._guard.commit(decision, self._joint_position)
        held = bool(decision.clamped) and not decision.clamped.keys().isdisjoint(RATES.values())
        self._step_fade(decision.target, held=held)

    def _step_fade(self, target: Float32Array, *, held: bool) -> None:
        """A command with that target went out, whoever's."""
        if self._other is not None:
            steps = self._fade_steps
            self._fade = Fade(target, self._other, steps, steps + self._guard.travel_steps)
        elif self._fade is not None:
            self._fade = self._fade.after_one(held=held)


def make_normalizer(
    manifest: Manifest,
    normalization: Normalization,
    obs_stats: tuple[Float32Array, Float32Array],
    builder: ObservationBuilder,
) -> Normalizer:
    """Build the normalizer from the bundle's statistics (mean, std). Raises InputError."""
    mean, std = obs_stats
    return Normalizer(normalization, mean, std, builder, manifest.observation.history.layout)
