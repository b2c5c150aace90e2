"""Captured states replayed through a policy's own pipeline.

Each step is judged alone: the last action that it observes is the one that was captured before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gaitd.errors import InputError
from gaitd.policy.manifest import Float32Array, Manifest
from gaitd.policy.observation import required_fields
from gaitd.policy.pipeline import PolicyPipeline
from gaitd.policy.places import Places, describe_value, find_places
from gaitd.policy.terms import compile_term
from gaitd.wire.generated import STATE_VALUES
from gaitd.wire.messages import RobotState

CLOCKED = ("clock_phase", "phase", "motion", "motion_step")
"""Terms that depend on how long the session lasts."""
MAX_STEPS = 5000
"""Of golden states: they are replayed at each start, in some 30 microseconds a step."""


@dataclass(frozen=True)
class StateTrace:
    """States of successive control steps, joints in the policy's order."""

    fields: Mapping[str, Float32Array]
    """(steps, values) by name of the wire's ``STATE_VALUES``; what was not captured is absent."""
    reset: npt.NDArray[np.bool_]
    """(steps,) whether an episode begins with this step."""
    inputs: tuple[Float32Array, ...] = ()
    """(steps, size) each: the named inputs, in the manifest's order."""

    def __len__(self) -> int:
        return len(self.reset)

    def states(self, joints: int) -> Iterator[RobotState]:
        """The states; fields that were not captured are zero (orientation: level)."""
        steps = len(self)
        values = {
            name: np.zeros((steps, joints if size is None else size), np.float32)
            for name, size in STATE_VALUES.items()
        }
        values["orientation"][:, 0] = 1.0
        values |= self.fields
        for index in range(steps):
            row = {name: array[index] for name, array in values.items()}
            inputs = tuple(array[index] for array in self.inputs)
            yield RobotState(session=1, seq=index + 1, stamp_ns=0, **row, inputs=inputs)


def check_trace(manifest: Manifest, trace: StateTrace, steps: int) -> None:
    """Raise InputError where the trace is not ``steps`` finite states with what the policy's terms need."""
    joints = len(manifest.joints)
    if trace.reset.shape != (steps,) or steps > MAX_STEPS:
        raise InputError(
            f"state_reset has shape {trace.reset.shape}, expected {(steps,)}, at most {MAX_STEPS}"
        )
    for name, array in trace.fields.items():
        size = STATE_VALUES[name]
        size = joints if size is None else size
        if array.shape != (steps, size) or not np.isfinite(array).all():
            raise InputError(f"state_{name} has shape {array.shape}, expected {(steps, size)} finite values")
    if manifest.observation.raw_size is not None:
        raise InputError("there are captured states, but the controller makes this policy's observation")
    if len(trace.inputs) != len(manifest.inputs):
        names = ", ".join(f"state_input_{declared.name}" for declared in manifest.inputs)
        raise InputError(f"expected captured values of all named inputs: {names}")
    for declared, array in zip(manifest.inputs, trace.inputs, strict=True):
        if array.shape != (steps, declared.size) or not np.isfinite(array).all():
            raise InputError(
                f"state_input_{declared.name} has shape {array.shape}, expected {(steps, declared.size)} "
                "finite values"
            )
    for name in required_fields(manifest):
        if name not in trace.fields:
            raise InputError(f"state_{name} is missing; the policy's terms are made from it")


def replay(pipeline: PolicyPipeline, trace: StateTrace, actions: Float32Array) -> Float32Array:
    """Observations (steps, observation_dim) before normalization that the pipeline makes of the states.

    ``actions`` (steps, n): the raw actions that were captured, before the policy's own clip.
    """
    rows = np.empty((len(trace), pipeline.builder.dim), np.float32)
    pipeline.reset()
    for index, state in enumerate(trace.states(actions.shape[1])):
        if trace.reset[index]:
            pipeline.reset()
        pipeline.observe(state)
        rows[index] = pipeline.raw_observation()
        pipeline.assume(pipeline.mapper.clip(pipeline.mapper.spread(actions[index])))
    pipeline.reset()
    return rows


def known_steps(
    manifest: Manifest, reset: npt.NDArray[np.bool_], with_clock: bool = True
) -> npt.NDArray[np.bool_]:
    """Tell for which steps (steps,) the whole observation is known.

    A capture that begins in the middle of an episode lacks the history and the last action before it; and,
    up to the first reset, the phase of a clock, unless that is left out of account.
    """
    known = np.ones(len(reset), np.bool_)
    if len(reset) and not reset[0]:
        begins = int(np.argmax(reset)) if reset.any() else len(reset)
        observation = manifest.observation
        compiled = [compile_term(manifest, index, term) for index, term in enumerate(observation.terms)]
        unknown = max(term.depth for term in compiled)
        if with_clock and any(term.term in CLOCKED for term in observation.terms):
            unknown = begins
        known[: min(unknown, begins)] = False
    return known


def allowed_error(places: Places, observations: Float32Array, tolerance: float) -> Float32Array:
    """Allowed difference (observation_dim,) of two observations: a fraction of the largest value seen.

    At least that fraction of the term's scale, that is of 1 in the unit of the state.
    """
    scale = np.minimum(np.abs(places.scale), 1.0)
    size = np.abs(observations).max(axis=0, initial=0.0)
    allowed: Float32Array = np.maximum(tolerance * np.maximum(scale, size), 1e-6).astype(np.float32)
    return allowed


def check_terms(
    manifest: Manifest,
    pipeline: PolicyPipeline,
    trace: StateTrace,
    recorded: Float32Array,
    actions: Float32Array,
) -> float:
    """Replay and compare with the ``recorded`` observations (steps, observation_dim) before normalization.

    Returns the largest difference. Raises InputError that names the worst term, its value, and the step.
    """
    made = replay(pipeline, trace, actions)
    known = known_steps(manifest, trace.reset)
    if not known.any():
        raise InputError("no step of the capture is known whole: its history or clock begins before it")
    errors = np.abs(made - recorded)
    errors[~known] = 0.0
    places = find_places(manifest)
    allowed = allowed_error(places, recorded[known], manifest.golden.observation_tolerance)
    step, place = np.unravel_index(int((errors / allowed).argmax()), errors.shape)
    if errors[step, place] > allowed[place]:
        where = describe_value(manifest, int(places.term[place]), int(places.value[place]))
        raise InputError(
            f"{where}, step {step}: gaitd makes {made[step, place]:.6g} of the "
            f"captured state, the trainer's was {recorded[step, place]:.6g} (allowed difference "
            f"{allowed[place]:.2g}); gaitforge parity says what differs and how"
        )
    return float(errors.max())
