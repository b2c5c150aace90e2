"""A walking robot whose camera's process fails in every way, in simulated time: GAITD_STREAM_WALKS of each.

The policy's network leaves the map aside, so what is seen of a fault is what gaitd does: the terms, and the
slower command.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from gaitd.bundle.read import Bundle, open_bundle
from gaitd.policy.stream import Frames, StreamReceiver, encode_frame
from gaitforge.simulate.direct import run_bundle
from gaitforge.simulate.height_map import HeightMap
from gaitforge.simulate.robot import Robot
from gaitforge.simulate.script import CommandScript
from support.streams import MAX_AGE_S, RATE_HZ, seeing_lite3

pytestmark = pytest.mark.thorough
WALKS = int(os.environ.get("GAITD_STREAM_WALKS", "2"))
SECONDS = 6.0
FAILS_S = (2.0, 4.5)
"""Since the hand-over: a fault begins and ends; one that kills ends with a new producer."""
UNSEEN = 0.9
"""Values of frames that must never be taken; the ground is 0.2 to 0.4 m below."""
FAULTS = ("killed", "2 Hz", "frozen", "future", "back", "not finite", "short")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("faults") / "lite3.gaitd"
    return open_bundle(seeing_lite3(path, beyond="slow", slow_max=[0.4, 0.4, 0.4]))


class FailingCamera:
    """Frames of the ground at the stream's rate, but for the time in which it fails."""

    def __init__(self, bundle: Bundle, fault: str) -> None:
        (self._stream,) = bundle.manifest.streams
        self._map = HeightMap.of("height:1.2x0.8", bundle.manifest)
        self._receiver = StreamReceiver(self._stream)
        self._fault = fault
        self._next_ns = self._bad = 0
        self._began_ns: int | None = None
        self._good_ns = 0
        self.ages_ns: list[int] = []
        """Since the last good capture, by step."""

    def __call__(self, robot: Robot, now_ns: int) -> Frames:
        if self._began_ns is None:
            self._began_ns = now_ns
        if now_ns >= self._next_ns:
            self._next_ns = now_ns + round(1e9 / RATE_HZ)
            failing = FAILS_S[0] <= (now_ns - self._began_ns) / 1e9 < FAILS_S[1]
            if not failing or (self._fault == "2 Hz" and now_ns - self._good_ns >= 500_000_000):
                values = self._map.sample(robot.terrain, robot.data.qpos[:7])
                assert self._receiver.take(encode_frame(self._stream, values, now_ns), now_ns) is None
                self._good_ns = now_ns
            elif self._fault not in ("killed", "2 Hz"):
                assert self._receiver.take(self._wrong(now_ns), now_ns) is not None
        self.ages_ns.append(now_ns - self._good_ns)
        return [self._receiver.frame]

    def _wrong(self, now_ns: int) -> bytes:
        self._bad += 1
        earlier_ns = self._good_ns - self._bad * 10**6
        stamps = {"frozen": self._good_ns, "future": now_ns + 10**9, "back": earlier_ns}
        value = np.nan if self._fault == "not finite" else UNSEEN
        frame = encode_frame(
            self._stream, np.full(self._stream.shape, value, np.float32), stamps.get(self._fault, now_ns)
        )
        return frame[:-1] if self._fault == "short" else frame


@pytest.mark.parametrize("fault", FAULTS)
def test_it_walks_on_slower_and_does_not_fall(bundle: Bundle, fault: str) -> None:
    period_ns = bundle.manifest.period_ns
    for seed in range(WALKS):
        camera, seen = FailingCamera(bundle, fault), list[np.ndarray]()
        run = run_bundle(
            bundle,
            script=CommandScript.constant(1.0),
            seconds=SECONDS,
            seed=seed,
            frames_of=camera,
            on_step=lambda step, seen=seen: seen.append(step.observation[-8:].copy()),
        )
        assert run.falls == 0, f"seed {seed}"
        rows, ages_ns = np.array(seen), np.array(camera.ages_ns)
        assert len(rows) == len(ages_ns)
        fresh = rows[:, -1] == 1.0
        assert (fresh == (ages_ns <= MAX_AGE_S * 1e9)).all()
        assert ages_ns[fresh].max() <= MAX_AGE_S * 1e9 + period_ns
        stale_steps = np.count_nonzero(~fresh)
        least = 0.6 if fault == "2 Hz" else FAILS_S[1] - FAILS_S[0] - MAX_AGE_S - 0.1
        assert stale_steps * period_ns >= least * 1e9
        assert fresh[-1]
        assert rows[:, :6].max() < UNSEEN
