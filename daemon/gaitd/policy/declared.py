"""Sources that a manifest declares: named inputs, phases, a motion reference. One state after the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from gaitd.errors import InputError
from gaitd.policy.manifest import Float32Array, Manifest
from gaitd.policy.phase import PhaseClock
from gaitd.policy.sources import MOTION_STEP, layout_of, source_name

MotionArrays = Mapping[str, Float32Array]
"""(frames, values) by name."""


class DeclaredSources:
    """Writes the values of what the manifest declares into the vector of sources."""

    def __init__(self, manifest: Manifest, motion: MotionArrays | None) -> None:
        """``motion``: the bundle's reference; None: one frame of zeros, where only sizes matter.

        Raises InputError when what is declared contradicts itself.
        """
        layout = layout_of(manifest)
        check_inputs(manifest)
        self._inputs = [
            (index, layout[source_name("input", each.name)], np.float32(each.min), np.float32(each.max))
            for index, each in enumerate(manifest.inputs)
        ]
        self._phases = [
            (PhaseClock(manifest, name), layout[source_name("phase", name)]) for name in manifest.phases
        ]
        self._motion: list[tuple[Float32Array, slice]] = []
        self._frames, self._step_place, self._repeats = 1, slice(0, 0), False
        if manifest.motion is not None:
            arrays = _checked_motion(manifest, motion)
            self._frames = len(next(iter(arrays.values())))
            self._repeats = manifest.motion.at_end == "repeat"
            self._step_place = layout[MOTION_STEP]
            self._motion = [(array, layout[source_name("motion", name)]) for name, array in arrays.items()]
        self.remembers = bool(self._phases) or manifest.motion is not None
        """The number of states since the start of the session is observed."""

    def __bool__(self) -> bool:
        """Whether anything is declared."""
        return bool(self._inputs or self._phases or self._motion)

    def reset(self) -> None:
        """Start of a session."""
        for clock, _ in self._phases:
            clock.reset()

    def resume(self, steps: int) -> None:
        """Go on after so many steps: for a replay."""
        for clock, _ in self._phases:
            clock.resume(steps)

    def write(
        self,
        sources: Float32Array,
        command: Float32Array,
        inputs: Sequence[Float32Array],
        step: int,
    ) -> None:
        """The values at state number ``step`` of the session, from 0."""
        for index, place, low, high in self._inputs:
            np.minimum(np.maximum(inputs[index], low), high, out=sources[place])
        clipped = [sources[place] for _, place, _, _ in self._inputs]
        for clock, place in self._phases:
            sources[place] = clock.values(command, clipped)
        if self._motion:
            frame = step % self._frames if self._repeats else min(step, self._frames - 1)
            sources[self._step_place] = frame
            for array, place in self._motion:
                sources[place] = array[frame]


def check_inputs(manifest: Manifest) -> None:
    """Raise InputError where two inputs have one name, or a range is none."""
    names = [each.name for each in manifest.inputs]
    for index, each in enumerate(manifest.inputs):
        if names.count(each.name) > 1:
            raise InputError(f"inputs: {each.name!r} is there twice")
        if not -math.inf < each.min < each.max < math.inf:
            raise InputError(
                f"inputs[{index}] ({each.name}): expected finite min < max, got {each.min}, {each.max}"
            )


def _checked_motion(manifest: Manifest, motion: MotionArrays | None) -> dict[str, Float32Array]:
    assert manifest.motion is not None
    sizes = manifest.motion.arrays
    if not sizes:
        raise InputError("motion.arrays: expected at least one array")
    if motion is None:
        return {name: np.zeros((1, size), np.float32) for name, size in sizes.items()}
    frames = {len(array) for array in motion.values()}
    for name, size in sizes.items():
        array = motion[name]
        if array.ndim != 2 or array.shape[1] != size or not len(array) or len(frames) != 1:
            raise InputError(
                f"motion.npz: {name} has shape {array.shape}, expected (frames, {size}), with as many frames "
                "in every array"
            )
        if not np.isfinite(array).all():
            raise InputError(f"motion.npz: {name} holds values that are not finite")
    return {name: np.ascontiguousarray(motion[name]) for name in sizes}
