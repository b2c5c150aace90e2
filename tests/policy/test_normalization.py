from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaitd.errors import InputError
from gaitd.policy.pipeline import PolicyPipeline
from support.bundles import contract, small_manifest

TERMS = [{"term": "joint_position"}, {"term": "joint_velocity"}]


def pipeline(
    mean: Any, std: Any, layout: str = "frame_major", length: int = 1, **keys: float
) -> PolicyPipeline:
    observation = {"terms": TERMS, "history": {"length": length, "layout": layout}}
    manifest = contract(small_manifest(observation=observation, normalization=keys))
    return PolicyPipeline(manifest, (np.asarray(mean, np.float32), np.asarray(std, np.float32)))


@given(st.integers(0, 2**32), st.floats(0, 0.5), st.floats(1e-6, 0.1), st.none() | st.floats(0.5, 5))
def test_the_formula(seed: int, std_floor: float, epsilon: float, clip: float | None) -> None:
    rng = np.random.default_rng(seed)
    mean, std, x = rng.normal(size=6), rng.uniform(0, 2, size=6), rng.normal(size=6) * 3
    keys = {"std_floor": std_floor, "epsilon": epsilon, **({} if clip is None else {"clip": clip})}
    got = pipeline(mean, std, **keys).normalize(x.astype(np.float32))
    expected = [(x[i] - mean[i]) / (max(std[i], std_floor) + epsilon) for i in range(6)]
    if clip is not None:
        expected = [max(-clip, min(clip, value)) for value in expected]
    np.testing.assert_allclose(got, expected, rtol=2e-3 if epsilon < 1e-3 else 1e-4, atol=1e-4)


def test_statistics_of_one_frame_serve_every_frame() -> None:
    mean, std = np.arange(6), np.arange(1, 7)
    x = np.arange(18, dtype=np.float32)
    got = pipeline(mean, std, length=3).normalize(x)
    np.testing.assert_allclose(got, (x - np.tile(mean, 3)) / np.tile(std, 3), rtol=1e-6)


@pytest.mark.parametrize(
    ("mean", "std", "layout", "length"),
    [
        (np.zeros(5), np.ones(5), "frame_major", 1),
        (np.zeros(6), np.ones(5), "frame_major", 1),
        (np.zeros(6), np.ones(6), "term_major", 3),
        (np.zeros(12), np.ones(12), "frame_major", 3),
        (np.zeros(0), np.ones(0), "frame_major", 1),
    ],
)
def test_statistics_of_another_size_are_refused(
    mean: np.ndarray, std: np.ndarray, layout: str, length: int
) -> None:
    with pytest.raises(InputError, match=rf"obs_stats\.npz: mean has shape .* has {6 * length} values"):
        pipeline(mean, std, layout, length)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0])
def test_a_std_that_cannot_divide_is_refused_by_its_index(bad: float) -> None:
    with pytest.raises(InputError, match=r"obs_stats\.npz: index 4 .*std_floor"):
        pipeline(np.zeros(6), [1, 1, 1, 1, bad, 1])


def test_a_mean_that_is_not_finite_is_refused() -> None:
    with pytest.raises(InputError, match=r"obs_stats\.npz: index 2 has mean nan"):
        pipeline([0, 0, math.nan, 0, 0, 0], np.ones(6))


def test_a_floor_allows_a_std_of_zero() -> None:
    got = pipeline(np.zeros(6), np.zeros(6), std_floor=0.5).normalize(np.ones(6, np.float32))
    np.testing.assert_allclose(got, 2.0)


@pytest.mark.parametrize("clip", [0.0, -1.0, math.nan])
def test_a_clip_is_above_zero(clip: float) -> None:
    with pytest.raises(InputError, match=r"normalization\.clip: expected above 0"):
        pipeline(np.zeros(6), np.ones(6), clip=clip)


def test_without_normalization_the_observation_stays() -> None:
    plain = PolicyPipeline(contract(small_manifest()), None)
    x = np.arange(18, dtype=np.float32)
    np.testing.assert_array_equal(plain.normalize(x), x)


@pytest.mark.parametrize("normalizing", [True, False])
def test_what_is_next_to_nothing_is_nothing(normalizing: bool) -> None:
    """A model may need ten times its time for subnormal numbers."""
    smallest = np.finfo(np.float32).smallest_normal
    tiny = np.array([1e-40, -1e-40, -0.0, smallest / 2, smallest, -smallest], np.float32)
    if normalizing:
        made = pipeline(np.zeros(6), np.ones(6), std_floor=0.0, epsilon=0.0)
    else:
        manifest = small_manifest(observation={"terms": TERMS, "history": {"length": 1}})
        made = PolicyPipeline(contract(manifest), None)
    got = made.normalize(tiny)
    assert got.dtype == np.float32
    assert got.tobytes() == np.array([0, 0, 0, 0, smallest, -smallest], np.float32).tobytes()
