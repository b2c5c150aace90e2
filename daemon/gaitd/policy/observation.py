"""Robot state to observation: terms by name, scale, clip, history, normalization."""

from __future__ import annotations

import math
from operator import attrgetter

import numpy as np

from gaitd.errors import InputError
from gaitd.policy.declared import DeclaredSources, MotionArrays
from gaitd.policy.manifest import Float32Array, Manifest, Normalization
from gaitd.policy.sources import MEASURED, SOURCES, layout_of, term_field
from gaitd.policy.stream import Frames, StreamSources
from gaitd.policy.terms import compile_terms
from gaitd.wire.messages import RobotState

_measured = attrgetter(*MEASURED)


class ObservationBuilder:
    """Builds the observation vector of a policy from robot states in the policy's joint order.

    The manifest's terms are compiled into index arrays. A frame is
    ``(sources[gather] - offset) * scale``, clipped; the vector is ``frames[stack]``, where row 0 of
    ``frames`` is the newest.
    """

    def __init__(self, manifest: Manifest, motion: MotionArrays | None = None) -> None:
        """Raises InputError when the manifest's observation, or ``motion`` with it, contradicts itself."""
        observation = manifest.observation
        self._declared = DeclaredSources(manifest, motion)
        self._declares = bool(self._declared)
        self.streams = StreamSources(manifest)
        compiled = compile_terms(manifest)
        self.parts = compiled.parts
        """Where each part of the observation lies in the vector, by name."""
        self._fill_first = compiled.fill_first
        self._fills_all, self._fills_any = bool(compiled.fill_first.all()), bool(compiled.fill_first.any())
        self._phase_per_step = 2.0 * math.pi * manifest.control_period_s / compiled.clock_period_s
        layout = layout_of(manifest)
        self._sources = np.zeros(max(place.stop for place in layout.values()), np.float32)
        self._taken = self._sources[: layout["last_action"].stop]
        used = {term.source for term in compiled.terms}
        self._derived = [
            (source.derive, layout[name])
            for name, source in SOURCES.items()
            if name in used and source.derive is not None
        ]
        self._gather, self._offset, self._scale = compiled.gather, compiled.offset, compiled.scale
        self._low, self._high = compiled.low, compiled.high
        self._clips_terms = bool(np.isfinite((self._low, self._high)).any())
        self._frames = np.zeros((compiled.depth, len(self._gather)), np.float32)
        self._stack = compiled.stack
        self._clip = symmetric_clip(observation.clip, "observation.clip")
        self._clips = math.isfinite(self._clip)
        self.frame_dim = len(self._gather)
        """Length of one frame: one value of each term."""
        self.dim = len(self._stack) if observation.raw_size is None else observation.raw_size
        """Length of the observation vector."""
        self.depth = compiled.depth
        """States that are remembered."""
        self.has_clock = math.isfinite(compiled.clock_period_s) or self._declared.remembers
        """The number of states since the start of the session is observed."""
        self._vector = np.zeros(self.dim, np.float32)
        self._not_filled = np.zeros(3, np.float32)
        self._step = 0

    def reset(self) -> None:
        """Forget all frames: the next state is the first of a session."""
        self._step = 0
        self._declared.reset()
        self._frames.fill(0.0)

    def resume(self, steps: int) -> None:
        """Go on after so many steps whose frames are not known: for a replay."""
        self._step = steps
        self._declared.resume(steps)

    def observe(
        self,
        state: RobotState,
        velocity_command: Float32Array,
        last_action: Float32Array,
        streams: Frames = (),
        at_ns: int = 0,
    ) -> None:
        """Push one control step: the state, the clipped command (3,), the last accepted action (n,).

        ``streams``: the newest frame of each, as they are seen at ``at_ns``.
        """
        sources, frames = self._sources, self._frames
        # A controller that does not estimate a velocity that a term needs is refused at its hello.
        measured = [self._not_filled if part is None else part for part in _measured(state)]
        np.concatenate((*measured, velocity_command, last_action), out=self._taken)
        for derive, place in self._derived:
            sources[place] = derive(state, self._phase_per_step * self._step)
        if self._declares:
            self._declared.write(sources, velocity_command, state.inputs, self._step)
        if streams:
            self.streams.write(sources, streams, at_ns)
        if self.depth > 1:
            frames[1:] = frames[:-1]
        frame = frames[0]
        sources.take(self._gather, out=frame, mode="clip")
        np.subtract(frame, self._offset, out=frame)
        np.multiply(frame, self._scale, out=frame)
        if self._clips_terms:
            np.minimum(np.maximum(frame, self._low, out=frame), self._high, out=frame)
        if self._step == 0 and self._fills_any:
            if self._fills_all:
                frames[1:] = frame
            else:
                frames[1:, self._fill_first] = frame[self._fill_first]
        self._step += 1

    def vector(self) -> Float32Array:
        """The observation (dim,) before normalization; overwritten by the next call."""
        vector = self._vector
        self._frames.take(self._stack, out=vector, mode="clip")
        if self._clips:
            np.minimum(np.maximum(vector, -self._clip, out=vector), self._clip, out=vector)
        return vector


class Normalizer:
    """(x - mean) / (max(std, std_floor) + epsilon), then a symmetric clip."""

    def __init__(
        self,
        normalization: Normalization,
        mean: Float32Array,
        std: Float32Array,
        builder: ObservationBuilder,
        layout: str,
    ) -> None:
        """Raises InputError when the statistics do not fit the observation or divide by zero."""
        repeats = 1
        if mean.shape == (builder.frame_dim,) and len(builder.parts) == 1 and layout == "frame_major":
            repeats = builder.dim // builder.frame_dim
        if mean.shape != std.shape or mean.size * repeats != builder.dim or mean.ndim != 1:
            raise InputError(
                f"obs_stats.npz: mean has shape {mean.shape} and std {std.shape}, "
                f"but the observation has {builder.dim} values"
            )
        divisor = np.maximum(std.astype(np.float64), normalization.std_floor) + normalization.epsilon
        if not (np.isfinite(mean).all() and np.isfinite(divisor).all() and (divisor > 0).all()):
            bad = int(np.argmin(np.isfinite(mean) & np.isfinite(divisor) & (divisor > 0)))
            raise InputError(
                f"obs_stats.npz: index {bad} has mean {mean[bad]} and std {std[bad]}; expected finite values "
                "and a std above zero (or normalization.std_floor in the manifest)"
            )
        self.mean = np.tile(mean, repeats).astype(np.float32)
        """(dim,)"""
        self.divisor = np.tile(divisor, repeats).astype(np.float32)
        """(dim,)"""
        self._clip = symmetric_clip(normalization.clip, "normalization.clip")
        self._out = np.zeros(builder.dim, np.float32)

    def __call__(self, observation: Float32Array) -> Float32Array:
        """Return the normalized observation (dim,); overwritten by the next call."""
        out = self._out
        np.subtract(observation, self.mean, out=out)
        np.divide(out, self.divisor, out=out)
        np.minimum(np.maximum(out, -self._clip, out=out), self._clip, out=out)
        return out


def symmetric_clip(clip: float | None, key: str) -> float:
    """The bound of a symmetric clip; infinite without one. Raises InputError."""
    if clip is not None and not clip > 0:
        raise InputError(f"{key}: expected above 0, got {clip}")
    return float("inf") if clip is None else clip


def required_fields(manifest: Manifest) -> list[str]:
    """Names of the state message's fields that the policy's terms are made from, sorted."""
    fields = (term_field(term.term) for term in manifest.observation.terms)
    return sorted({field for field in fields if field is not None})
