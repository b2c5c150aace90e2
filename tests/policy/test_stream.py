"""What a policy sees of its streams: fresh, stale, wrong; and which manifests are refused."""

from __future__ import annotations

import random
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gaitd.errors import InputError
from gaitd.policy.pipeline import PolicyPipeline
from gaitd.policy.stream import FrameFault, StreamFrame, StreamReceiver, encode_frame, frame_bytes
from gaitd.wire.generated import FUTURE_TOLERANCE_NS, CauseKind
from gaitforge.common.manifest import checked_manifest
from support.bundles import small_manifest
from support.states import random_state
from support.streams import HEIGHT, MAX_AGE_S, STREAM_TERMS, height_stream, stream_manifest

NOW = 10**12
MAX_AGE_NS = round(MAX_AGE_S * 1e9)
VALUES = np.array([[0.1, -0.2, 0.3], [0.4, -0.5, 0.6]], np.float32)
FRAME = StreamFrame(VALUES.ravel(), NOW)


def pipeline(**changes: Any) -> PolicyPipeline:
    return PolicyPipeline(checked_manifest(stream_manifest(**changes), "manifest"), None)


def seen(pipeline: PolicyPipeline, frame: StreamFrame | None, at_ns: int) -> tuple[list[float], float, float]:
    """Values, age and flag."""
    pipeline.observe(random_state(np.random.default_rng(0), 3), [frame], at_ns)
    *_, age, valid = vector = pipeline.raw_observation().tolist()
    return vector[-8:-2], age, valid


def approximately(values: np.ndarray | list[float]) -> Any:
    return pytest.approx(np.ravel(values).tolist(), abs=1e-6)


@pytest.mark.parametrize("age_ns", [0, 1, 10**8, MAX_AGE_NS])
def test_a_fresh_frame_is_seen_with_its_age(age_ns: int) -> None:
    values, age, valid = seen(pipeline(), FRAME, NOW + age_ns)
    assert (values, valid) == (approximately(VALUES), 1.0)
    assert age == pytest.approx(age_ns / 1e9, abs=1e-6)


@pytest.mark.parametrize(("beyond", "kept"), [("hold", 1.0), ("zeros", 0.0), ("damp", 1.0), ("slow", 1.0)])
def test_what_is_seen_of_a_stale_one(beyond: str, kept: float) -> None:
    slow = {"slow_max": [0.1, 0.2, 0.3]} if beyond == "slow" else {}
    policy = pipeline(beyond=beyond, **slow)
    for late_ns in (1, 10**12):
        values, age, valid = seen(policy, FRAME, NOW + MAX_AGE_NS + late_ns)
        assert (values, valid) == (approximately(kept * VALUES), 0.0)
        assert age == pytest.approx(MAX_AGE_S), "no more than in training"


def test_before_the_first_frame_there_are_zeros_and_the_flag_says_so() -> None:
    for beyond in ("hold", "zeros", "damp"):
        values, age, valid = seen(pipeline(beyond=beyond), None, NOW)
        assert (values, age, valid) == ([0.0] * 6, pytest.approx(MAX_AGE_S), 0.0)


def test_only_a_stream_that_must_not_be_stale_refuses_states() -> None:
    late = NOW + MAX_AGE_NS + 10**6
    for beyond in ("hold", "zeros"):
        assert pipeline(beyond=beyond).stream_cause([None], NOW) is None
    policy = pipeline(beyond="damp")
    assert policy.stream_cause([FRAME], NOW + MAX_AGE_NS) is None
    cause = policy.stream_cause([FRAME], late)
    assert cause is not None
    assert (cause.kind, cause.bound) == (CauseKind.STREAM_STALE, MAX_AGE_S * 1e3)
    assert cause.number == pytest.approx(MAX_AGE_S * 1e3 + 1.0)
    assert policy.stream_cause([None], NOW).kind is CauseKind.STREAM_STALE  # type: ignore[union-attr]


@pytest.mark.parametrize(("frame", "sees"), [(FRAME, [0.9, -0.9, 0.9]), (None, [0.1, -0.2, 0.3])])
def test_a_stale_stream_cuts_the_command_of_a_policy_that_asks_for_it(
    frame: StreamFrame | None, sees: list[float]
) -> None:
    policy = pipeline(beyond="slow", slow_max=[0.1, 0.2, 0.3])
    command = np.array([0.9, -0.9, 0.9], np.float32)
    state = replace(random_state(np.random.default_rng(0), 3), velocity_command=command)
    policy.observe(state, [frame], NOW)
    assert policy.raw_observation()[6:9].tolist() == approximately(sees)


def test_states_alone_do_not_say_what_the_policy_sees() -> None:
    with pytest.raises(InputError, match=r"observes streams \(height\), and there are none here"):
        pipeline().observe(random_state(np.random.default_rng(0), 3))


# ---- frames ----


@pytest.fixture
def receiver() -> StreamReceiver:
    made = StreamReceiver(height_stream())
    assert made.take(encode_frame(made.stream, VALUES, NOW), NOW) is None
    return made


@pytest.mark.parametrize(
    ("value", "stamp_ns", "fault"),
    [
        (0.5, NOW + 10 + FUTURE_TOLERANCE_NS + 1, FrameFault.FUTURE),
        (0.5, 2**64 - 1, FrameFault.FUTURE),
        (0.5, NOW, FrameFault.NOT_NEWER),
        (0.5, NOW - 1, FrameFault.NOT_NEWER),
        (0.5, 0, FrameFault.NOT_NEWER),
        (np.nan, NOW + 5, FrameFault.NOT_FINITE),
        (np.inf, NOW + 5, FrameFault.NOT_FINITE),
    ],
)
def test_a_wrong_frame_is_refused_and_the_one_before_stays(
    receiver: StreamReceiver, value: float, stamp_ns: int, fault: FrameFault
) -> None:
    values = VALUES.copy()
    values[1, 2] = value
    assert receiver.take(encode_frame(receiver.stream, values, stamp_ns), NOW + 10) is fault
    assert receiver.frame is not None
    assert (receiver.frame.values.tolist(), receiver.frame.stamp_ns) == (approximately(VALUES), NOW)
    assert receiver.take(encode_frame(receiver.stream, -VALUES, NOW + 6), NOW + 10) is None
    assert receiver.frame.values.tolist() == approximately(-VALUES)


def test_values_outside_the_range_are_clipped(receiver: StreamReceiver) -> None:
    values = np.array([[9.0, -9.0, 1.0], [-1.0, 3e38, 0.0]], np.float32)
    assert receiver.take(encode_frame(receiver.stream, values, NOW + 1), NOW + 1) is None
    assert receiver.frame is not None
    assert receiver.frame.values.tolist() == [1.0, -1.0, 1.0, -1.0, 1.0, 0.0]


def test_whatever_bytes_come_a_frame_is_finite_inside_its_range_and_from_the_past(
    receiver: StreamReceiver,
) -> None:
    rng = random.Random(6)
    good = encode_frame(receiver.stream, VALUES, NOW + 1)
    for _ in range(20_000):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 5)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.2:
            data = data[: rng.randrange(len(data))]
        now_ns = NOW + rng.randrange(2 * 10**6)
        before = receiver.frame
        fault = receiver.take(bytes(data), now_ns)
        frame = receiver.frame
        assert frame is not None
        assert before is not None
        assert (frame is before) is (fault is not None)
        assert frame.values.shape == (6,)
        assert (np.abs(frame.values) <= 1.0).all()
        assert before.stamp_ns <= frame.stamp_ns <= now_ns + FUTURE_TOLERANCE_NS or frame is before


@pytest.mark.parametrize("dtype", ["float32", "int16", "uint16", "uint8"])
def test_the_bytes_of_a_frame(dtype: str) -> None:
    stream = height_stream(dtype=dtype, max=1000.0, shape=[3])
    data = encode_frame(stream, np.array([1, 2, 200], dtype), 77)
    letter = {"float32": "f", "int16": "h", "uint16": "H", "uint8": "B"}[dtype]
    assert data == struct.pack(f"<Q3{letter}", 77, 1, 2, 200)
    assert len(data) == frame_bytes(stream)
    receiver = StreamReceiver(stream)
    assert receiver.take(data, 100) is None
    assert receiver.frame is not None
    assert receiver.frame.values.dtype == np.float32
    assert receiver.frame.values.tolist() == [1.0, 2.0, 200.0]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.zeros((3, 2), np.float32), "expected float32 2x3, got float32 3x2"),
        (np.zeros((2, 3), np.complex64), "expected float32 2x3, got complex64 2x3"),
    ],
)
def test_a_producer_cannot_publish_something_else(values: np.ndarray, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        encode_frame(height_stream(), values, 1)


# ---- manifests ----


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"beyond": "panic"}, "Invalid enum value 'panic'"),
        ({"dtype": "float64"}, "Invalid enum value 'float64'"),
        ({"encoders": "depth"}, "unknown field `encoders`"),
        ({"shape": []}, "Expected `array` of length >= 1"),
        ({"shape": [2, 0]}, "Expected `int` >= 1"),
        ({"shape": [65, 64]}, "streams[0].shape: its values: 4160 is more than the 4096"),
        ({"min": 0.1}, "streams[0] (height): expected finite min < max with 0 inside"),
        ({"max": float("inf")}, "streams[0] (height): expected finite min < max with 0 inside"),
        ({"rate_hz": 0.0}, "streams[0] (height).rate_hz: expected above 0"),
        ({"max_age_s": 0.02}, "streams[0] (height).max_age_s: expected 0.03 (1.5 times the time between"),
        ({"max_age_s": 61.0}, "streams[0] (height).max_age_s: expected"),
        ({"beyond": "slow"}, "streams[0] (height).slow_max: `beyond: slow` needs it"),
        ({"slow_max": [0.1, 0.1, 0.1]}, "streams[0] (height).slow_max: `beyond: slow` needs it, and no"),
        ({"beyond": "slow", "slow_max": [-0.1, 0.1, 0.1]}, "streams[0] (height).slow_max: expected at"),
    ],
)  # fmt: skip
def test_a_stream_that_contradicts_itself_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        pipeline(**changes)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("terms", "streams", "words"),
    [
        (STREAM_TERMS, [], "(stream): 'height' is not declared under streams"),
        (STREAM_TERMS, [HEIGHT, HEIGHT], "streams: 'height' is there twice"),
        (STREAM_TERMS[:2], [HEIGHT], "zeros without a term that says so are a wrong value"),
        ([{"term": "stream"}], [HEIGHT], "need it, and no other term has it"),
        (STREAM_TERMS, [{**HEIGHT, "name": f"m{number}"} for number in range(9)], "streams: 9 is more than"),
    ],
)
def test_terms_and_streams_that_do_not_fit_are_named(
    terms: list[Any], streams: list[Any], words: str
) -> None:
    manifest = small_manifest(format=2, streams=streams)
    manifest["observation"]["terms"] += terms
    with pytest.raises(InputError) as caught:
        PolicyPipeline(checked_manifest(manifest, "manifest"), None)
    assert words in str(caught.value)


def test_a_controller_that_makes_the_observation_has_its_streams_too() -> None:
    manifest = small_manifest(format=2, streams=[{**HEIGHT, "beyond": "hold"}], observation={"raw_size": 12})
    with pytest.raises(InputError, match="streams: the controller makes this policy's observation"):
        PolicyPipeline(checked_manifest(manifest, "manifest"), None)


def test_streams_are_of_format_2() -> None:
    with pytest.raises(InputError, match="is of format 2: write"):
        checked_manifest({**stream_manifest(), "format": 1}, "manifest")
