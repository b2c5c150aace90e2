"""What one value of the trainer's observation is made of, told from its course over the capture.

A value is compared with every captured signal (gaitforge.parity.signals) by least squares:
``value = factor * (signal - subtracted)``. The simplest signal that leaves no residual explains it. Values
that a bound holds are left out of the fit; where nothing fits without residual, the difference may be noise:
white, and not related to the signal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gaitforge.parity.signals import MOVING, Float64Array, Signals, Source

CANDIDATES = 16
"""How many signals are tried in full for one value."""
RECOGNISED = 3
"""The same where nothing is expected of the value."""
SIGMAS = 5.0
"""An estimate further than this many standard errors from what was expected is different."""
RELATED = 0.8
"""With noise, a signal explains a value when it explains this share of its variance."""
WHITE = 0.3
"""Noise has a smaller correlation than this between successive steps."""


@dataclass(frozen=True)
class Expected:
    """How the manifest makes the value."""

    source: Source
    factor: float
    subtracted: float
    """In the unit of the signal."""


@dataclass(frozen=True)
class Explanation:
    """How the trainer made the value."""

    source: Source
    factor: float
    subtracted: float
    clip: tuple[float, float] | None = None
    """A bound that the trainer applied; infinite where it has none at that end."""
    noise: float = 0.0
    """Standard deviation of what was added."""
    reach: tuple[float, float] = (0.0, 0.0)
    """Smallest and largest value without a bound."""


@dataclass(frozen=True)
class _Fit:
    factor: float
    intercept: float
    residual: float
    """Largest."""
    rms: float
    factor_error: float
    """Standard errors of the estimates."""
    intercept_error: float


class Explainer:
    """Explains the values of one capture."""

    def __init__(self, signals: Signals, tolerance: float) -> None:
        self._signals, self._tolerance = signals, tolerance

    def explain(
        self,
        column: Float64Array,
        expected: Expected,
        bounds: tuple[float, float] = (-np.inf, np.inf),
    ) -> Explanation | None:
        """How the column (k,) was made; None when nothing explains it.

        ``bounds``: those that may hold it, besides what its own course shows.
        """
        candidates = self._candidates(column, expected)
        whole = np.ones(len(column), np.bool_)
        exact = self._exact(column, candidates, expected, whole)
        if exact is not None:
            return exact
        for low, high in ((float(column.min()), float(column.max())), bounds):
            margin = 1e-6 * max(1.0, abs(low), abs(high)) if np.isfinite(low + high) else 1e-6
            inside = (column > low + margin) & (column < high - margin)
            if not inside.all() and inside.sum() >= 8:
                clipped = self._exact(column, candidates, expected, inside)
                held = None if clipped is None else self._held(column, clipped, low, high)
                if held is not None:
                    return held
        return self._noisy(column, candidates, expected)

    def recognise(self, column: Float64Array) -> Explanation | None:
        """How a column was made of which nothing is expected."""
        if column.std() <= MOVING:
            return None
        expected = Expected(Source("", 0), 1.0, 0.0)
        found = self._signals.best(column, RECOGNISED)
        whole = np.ones(len(column), np.bool_)
        return self._exact(column, found, expected, whole) or self._noisy(column, found, expected)

    def _candidates(self, column: Float64Array, expected: Expected) -> list[int]:
        own = self._signals.index(expected.source)
        found = self._signals.best(column, CANDIDATES)
        return [own, *(index for index in found if index != own)] if own >= 0 else found

    def _exact(
        self, column: Float64Array, candidates: list[int], expected: Expected, used: np.ndarray
    ) -> Explanation | None:
        found: list[tuple[tuple[float, float], Explanation]] = []
        for index in candidates:
            signal = self._signals.values[used, index]
            fit = _fit(signal, column[used])
            if fit is None:
                continue
            size = max(1.0, float(np.abs(signal).max()))
            allowed = min(self._tolerance * abs(fit.factor) * size, 0.02 * float(column[used].std()))
            if fit.residual > allowed + 1e-6 * max(1.0, float(np.abs(column).max())):
                continue
            source = self._signals.sources[index]
            reach = float(column.min()), float(column.max())
            explanation = Explanation(source, fit.factor, -fit.intercept / fit.factor, reach=reach)
            found.append(((_distance(explanation, expected), fit.residual), explanation))
        return min(found, key=lambda pair: pair[0])[1] if found else None

    def _held(self, column: Float64Array, made: Explanation, low: float, high: float) -> Explanation | None:
        """The explanation with the bounds that the signal goes beyond; None if they explain nothing."""
        size = self._tolerance * max(1.0, float(np.abs(column).max()))
        signal = self._signals.values[:, self._signals.index(made.source)]
        free = made.factor * (signal - made.subtracted)
        if np.abs(np.clip(free, low, high) - column).max() > size:
            return None
        least, most = float(free.min()), float(free.max())
        bounds = (low if least < low - size else -np.inf), (high if most > high + size else np.inf)
        return replace(made, clip=bounds if np.isfinite(bounds).any() else None, reach=(least, most))

    def _noisy(self, column: Float64Array, candidates: list[int], expected: Expected) -> Explanation | None:
        own = self._signals.index(expected.source)
        if own >= 0:
            signal = self._signals.values[:, own]
            rest = column - expected.factor * (signal - expected.subtracted)
            fit = _fit(signal, rest)
            unrelated = fit is None or (
                abs(fit.factor) <= SIGMAS * fit.factor_error
                and abs(rest.mean()) <= SIGMAS * rest.std() / np.sqrt(len(rest))
            )
            if unrelated and _white(rest):
                return Explanation(
                    expected.source, expected.factor, expected.subtracted, noise=float(rest.std())
                )
        best: tuple[float, Explanation] | None = None
        for index in candidates:
            fit = _fit(self._signals.values[:, index], column)
            if fit is None or fit.rms**2 > (1.0 - RELATED) * column.var():
                continue
            source = self._signals.sources[index]
            if source == expected.source:
                close = abs(fit.factor - expected.factor) <= SIGMAS * fit.factor_error
                factor = expected.factor if close else fit.factor
                beside = -factor * expected.subtracted
                close = abs(fit.intercept - beside) <= SIGMAS * fit.intercept_error
                intercept = beside if close else fit.intercept
            else:
                factor, intercept = fit.factor, fit.intercept
            # Two signals that explain it nearly as well: the one that the manifest names.
            made = Explanation(source, factor, -intercept / factor, noise=fit.rms)
            cost = fit.rms * (1.0 + 0.02 * _distance(made, expected))
            if best is None or cost < best[0]:
                best = cost, made
        return None if best is None else best[1]


def _fit(signal: Float64Array, column: Float64Array) -> _Fit | None:
    """Least squares of ``column`` on ``signal`` and 1; None where either stands still."""
    center, rest = signal - signal.mean(), column - column.mean()
    spread = float(center @ center)
    if spread <= 1e-12 * len(signal):
        return None
    factor = float(center @ rest) / spread
    if factor == 0.0:
        return None
    intercept = float(column.mean() - factor * signal.mean())
    residual = column - factor * signal - intercept
    rms = float(np.sqrt(np.mean(residual**2)))
    error = rms * np.sqrt(len(signal) / max(1, len(signal) - 2))
    return _Fit(
        factor,
        intercept,
        float(np.abs(residual).max()),
        rms,
        float(error / np.sqrt(spread)),
        float(error * np.sqrt(1.0 / len(signal) + signal.mean() ** 2 / spread)),
    )


def _distance(made: Explanation, expected: Expected) -> float:
    """How much must be wrong in the manifest for the value to be made like that."""
    source, own = made.source, expected.source
    distance = 6.0 * (source.signal != own.signal) + 2.0 * (source.value != own.value)
    distance += 3.0 * (source.frame != own.frame) + 0.5 * (source.clipped != own.clipped)
    distance += 1.5 * abs(source.delay_steps - own.delay_steps)
    if source.signal == own.signal:
        distance += abs(abs(made.factor) - abs(expected.factor)) > 3e-3 * abs(expected.factor)
        moved = abs(made.subtracted - expected.subtracted) > 3e-3
        # A default pose is easily another; no other signal has a constant taken from it.
        distance += moved * (1.0 if source.signal == "joint_position" else 2.0)
    return distance


def _white(rest: Float64Array) -> bool:
    rest = rest - rest.mean()
    power = float(rest @ rest)
    return power > 0.0 and abs(float(rest[1:] @ rest[:-1])) / power < WHITE
