"""Phases of a gait: clocks that the velocity command or an input may hold or drive."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gaitd.errors import InputError
from gaitd.policy.manifest import AXES, Float32Array, Manifest, Phase

_FUNCTIONS = {"sin": math.sin, "cos": math.cos}


class PhaseClock:
    """One clock. The first state of a session shows where it starts; each later one moves it on first."""

    def __init__(self, manifest: Manifest, name: str) -> None:
        """Raises InputError, naming the key, when the phase contradicts itself."""
        phase, where = manifest.phases[name], f"phases.{name}"
        _check(phase, where)
        self._step_s = manifest.control_period_s
        self._frequency = None if phase.period_s is None else 1.0 / phase.period_s
        self._input = 0
        if phase.frequency_input is not None:
            self._input = _scalar_input(manifest, phase.frequency_input, f"{where}.frequency_input")
        self._start = phase.start_turns
        self._offsets = phase.offsets_turns
        self._functions = tuple(_FUNCTIONS[function] for function in phase.functions)
        self._gate = phase.gate
        self._axes = [AXES.index(axis) for axis in phase.gate.axes] if phase.gate is not None else []
        self._zeros = (0.0,) * (len(self._offsets) * len(self._functions))
        self.reset()

    def reset(self) -> None:
        """Start of a session."""
        self._turns = self._start
        self._begun = False

    def resume(self, steps: int) -> None:
        """Go on after so many steps, as if no gate had held it: for a replay."""
        self._turns = self._start
        for _ in range(steps - 1):  # as it came to be, to the last bit
            self._turns += self._step_s * (self._frequency or 0.0)
        self._begun = steps > 0

    def values(self, command: Float32Array, inputs: Sequence[Float32Array]) -> Sequence[float]:
        """Its values at the next state, with that velocity command (3,) and these named inputs."""
        gate = self._gate
        gated = gate is not None and float(np.linalg.norm(command[self._axes])) < gate.below
        if gated and gate is not None and gate.clock == "restarts":
            self._turns = self._start
        elif self._begun and not (gated and gate is not None and gate.clock == "freezes"):
            frequency = self._frequency
            self._turns += self._step_s * (float(inputs[self._input][0]) if frequency is None else frequency)
        self._begun = True
        if gated and gate is not None and gate.values == "zero":
            return self._zeros
        turns = [self._turns + offset for offset in self._offsets]
        if gated and gate is not None and gate.turns is not None:
            turns = [gate.turns] * len(turns)
        angles = [2.0 * math.pi * each for each in turns]
        return [function(angle) for angle in angles for function in self._functions]


def counts_steps(phase: Phase) -> bool:
    """Whether where it stands follows from the number of steps: no gate holds it, no input drives it."""
    return phase.period_s is not None and (phase.gate is None or phase.gate.clock == "runs")


def _check(phase: Phase, where: str) -> None:
    if (phase.period_s is None) == (phase.frequency_input is None):
        raise InputError(f"{where}: expected either period_s or frequency_input")
    if phase.period_s is not None and not 0 < phase.period_s < math.inf:
        raise InputError(f"{where}.period_s: expected above 0, got {phase.period_s}")
    if not phase.offsets_turns or not phase.functions:
        raise InputError(f"{where}: expected at least one of offsets_turns and of functions")
    if not all(map(math.isfinite, (phase.start_turns, *phase.offsets_turns))):
        raise InputError(f"{where}: start_turns and offsets_turns must be finite")
    if phase.gate is not None and not (phase.gate.below > 0 and phase.gate.axes):
        raise InputError(f"{where}.gate: expected below above 0, and at least one axis")
    gate = phase.gate
    contradicts = gate is not None and gate.turns is not None and gate.values == "zero"
    if contradicts or (gate is not None and not math.isfinite(gate.turns or 0.0)):
        raise InputError(f"{where}.gate.turns: expected a finite number, without values: zero")


def _scalar_input(manifest: Manifest, name: str, where: str) -> int:
    for index, declared in enumerate(manifest.inputs):
        if declared.name == name:
            if declared.size != 1:
                raise InputError(f"{where}: input {name!r} has {declared.size} values, expected one")
            return index
    raise InputError(f"{where}: {name!r} is not declared under inputs")
