"""A real gaitd, a controller, and a stream's producer in a process of its own that fails in every way."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from gaitd.errors import InputError
from gaitd.wire.generated import CauseKind, Mode, Reason
from gaitforge.client.stream import StreamProducer
from support.controller import Controller
from support.daemon import PATIENT, Gaitd, wait_until
from support.streams import FRESH, SEEN, STALE, Producer, height_stream, stream_bundle, stream_of, walk_until


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stream_bundle(tmp_path_factory.mktemp("streams") / "zeros.gaitd")


@pytest.fixture(scope="module")
def gaitd(bundle: Path) -> Iterator[Gaitd]:
    with Gaitd(bundle, config=PATIENT) as daemon:
        yield daemon.wait_ready()


@pytest.fixture
def walker(gaitd: Gaitd) -> Iterator[Controller]:
    controller = gaitd.controller(name="walker")
    controller.activate()
    yield controller
    controller.control.ask("release", session=controller.session)
    controller.close()


def started(gaitd: Gaitd, bundle: Path) -> Producer:
    """A producer of which a frame has come."""
    wait_until(lambda: not stream_of(gaitd)["producer"], what="the end of the one before")
    before = stream_of(gaitd)["frames"]
    made = Producer(gaitd.runtime_dir, bundle)
    wait_until(lambda: stream_of(gaitd)["frames"] > before, 30.0, "a first frame")
    return made


@pytest.fixture
def producer(gaitd: Gaitd, bundle: Path) -> Iterator[Producer]:
    made = started(gaitd, bundle)
    yield made
    made.close()


FAULTS = ["frozen", "future", "back", "not_finite", "scrambled", "truncated", "silent", "old"]


@pytest.mark.parametrize("fault", [*FAULTS, "killed", "hung"])
def test_a_producer_that_fails_is_a_stale_stream_and_nothing_else(
    gaitd: Gaitd, walker: Controller, producer: Producer, bundle: Path, fault: str
) -> None:
    walk_until(walker, FRESH)
    assert not stream_of(gaitd)["stale"]
    said = gaitd.log.count("A STREAM IS STALE")
    if fault == "killed":
        producer.process.kill()
    elif fault == "hung":
        producer.process.send_signal(signal.SIGSTOP)
    else:
        producer.do(fault)
    assert walk_until(walker, STALE) <= {FRESH}, "nothing but good frames may be seen on the way"
    assert all(answer is None or answer.mode is Mode.ACTIVE for answer in walker.walk(20))
    found = stream_of(gaitd)
    assert found["stale"]
    assert 0.0 < found["stale_for_s"] < 60.0
    assert gaitd.metrics()['gaitd_stream_stale_seconds{stream="height"}'] > 0.0
    wait_until(lambda: gaitd.log.count("A STREAM IS STALE") > said, what="the log's line")
    assert 'stream=height since="' in gaitd.log
    if fault == "killed":
        walker.control.demand("release", session=walker.session)
        again = started(gaitd, bundle)
        walker.activate()
        try:
            walk_until(walker, FRESH)
        finally:
            again.close()
        return
    if fault == "hung":
        producer.process.send_signal(signal.SIGCONT)
    producer.do("good")
    walk_until(walker, FRESH)
    wait_until(lambda: not stream_of(gaitd)["stale"], what="a fresh stream")


def test_frames_at_2_hz_are_seen_while_they_are_fresh(walker: Controller, producer: Producer) -> None:
    walk_until(walker, FRESH)
    producer.do("slow")
    for expected in (STALE, FRESH, STALE, FRESH):
        assert walk_until(walker, expected) <= {FRESH, STALE}


def test_what_is_refused_is_counted(gaitd: Gaitd, walker: Controller, producer: Producer) -> None:
    walk_until(walker, FRESH)
    for fault, counted in (("future", "future"), ("back", "not_newer"), ("not_finite", "not_finite")):
        before = stream_of(gaitd)["refused"].get(counted, 0)
        producer.do(fault)

        def more(counted: str = counted, before: int = before) -> bool:
            return bool(stream_of(gaitd)["refused"].get(counted, 0) > before)

        wait_until(more, what=counted)


def test_streams_touch_neither_mode_nor_lease(gaitd: Gaitd, producer: Producer) -> None:
    """Without a session there is none afterwards either, whatever a producer does; and nothing dies of it."""
    worker = gaitd.wait_worker()
    for fault in ("good", *FAULTS):
        before = stream_of(gaitd)
        producer.do(fault)
        wait_until(lambda before=before: stream_of(gaitd) != before, what=fault)
    status = gaitd.status()
    assert (status["mode"], status["session"], status["worker"]["pid"]) == ("idle", 0, worker)


@pytest.fixture(scope="module")
def damping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gaitd, Path]]:
    path = stream_bundle(tmp_path_factory.mktemp("streams") / "damp.gaitd", beyond="damp")
    with Gaitd(path, config=PATIENT) as daemon:
        yield daemon.wait_ready(), path


def test_a_stream_without_which_the_policy_must_not_walk(damping: tuple[Gaitd, Path]) -> None:
    gaitd, path = damping
    producer, controller = Producer(gaitd.runtime_dir, path), gaitd.controller()
    try:
        wait_until(lambda: not stream_of(gaitd)["stale"], what="a fresh stream")
        controller.activate()
        walk_until(controller, FRESH)
        producer.process.kill()

        def damped() -> bool:
            answer = controller.step()
            return answer is not None and answer.mode is Mode.DAMPING

        wait_until(damped, 20.0, "damping")
        status = gaitd.status()
        assert status["reason"] == Reason.STATE_STALE.name.lower()
        assert "a stream without which the policy must not walk is stale" in status["detail"]
        assert status["refused"][CauseKind.STREAM_STALE.name.lower()] > 0
    finally:
        producer.close()


def test_a_slower_command_while_the_stream_is_stale(tmp_path: Path) -> None:
    path = stream_bundle(tmp_path / "slow.gaitd", beyond="slow", slow_max=[0.2, 0.0, 0.5])
    with Gaitd(path, config=PATIENT) as gaitd:
        controller = gaitd.wait_ready().controller()
        controller.activate()
        producer = Producer(gaitd.runtime_dir, path)

        def forward() -> tuple[float, float]:
            answer = controller.step(velocity_command=np.array([0.8, 0.0, 0.0], np.float32))
            if answer is None:
                return 0.0, 0.0
            assert answer.mode is Mode.ACTIVE
            return round(float(np.arctanh(answer.action[0])), 3), float(np.arctanh(answer.action[1]))

        try:
            wait_until(lambda: forward() == (SEEN, pytest.approx(0.8, abs=0.05)), 20.0, "the whole command")
            producer.process.kill()
            wait_until(lambda: forward() == (SEEN, pytest.approx(0.2, abs=0.05)), 20.0, "a slower one")
        finally:
            producer.close()


def test_a_killed_worker_finds_the_newest_frame_again(gaitd: Gaitd, producer: Producer) -> None:
    wait_until(lambda: not stream_of(gaitd)["stale"], what="a fresh stream")
    worker = gaitd.worker_pid()
    os.kill(worker, signal.SIGKILL)
    gaitd.wait_worker(other_than=worker)
    wait_until(lambda: not stream_of(gaitd)["stale"], what="a fresh stream")


def test_a_standby_sees_the_stream_too(tmp_path: Path) -> None:
    path = stream_bundle(tmp_path / "zeros.gaitd")
    with Gaitd(path, config=PATIENT + '[standby]\nmode = "on"\n') as gaitd:
        controller = gaitd.wait_ready().controller()
        made = started(gaitd, path)
        try:
            wait_until(lambda: gaitd.status()["standby"]["ready"], 30.0, "a standby")
            controller.activate()
            walk_until(controller, FRESH)
            wait_until(
                lambda: controller.step() and gaitd.status()["standby"]["ready"], 20.0, "one that keeps up"
            )
            os.kill(gaitd.worker_pid(), signal.SIGKILL)
            walk_until(controller, FRESH)
            assert walk_until(controller, FRESH) == set()
            assert gaitd.status()["holder"] == 1
            made.do("silent")
            assert walk_until(controller, STALE) <= {FRESH}
        finally:
            made.close()


def test_nothing_is_left_of_a_killed_gaitd(bundle: Path, tmp_path: Path) -> None:
    with Gaitd(bundle) as first:
        producer = StreamProducer(first.wait_ready().runtime_dir, height_stream())
        assert producer.is_wanted
        first.process.kill()
        first.process.wait()
        wait_until(lambda: not producer.is_wanted, what="that its end is noticed")
        producer.close()
        with Gaitd(bundle, runtime_dir=first.runtime_dir) as second:
            fresh = StreamProducer(second.wait_ready().runtime_dir, height_stream())
            fresh.publish(np.full((2, 3), SEEN, np.float32))
            wait_until(lambda: stream_of(second)["frames"] == 1, what="its frame")
            fresh.close()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": "depth"}, "no policy here has a stream 'depth'; there are: height"),
        ({"shape": [3, 2]}, "stream height: the policy expects float32 2x3, not 'float32 3x2'"),
        ({"dtype": "uint8"}, "stream height: the policy expects float32 2x3, not 'uint8 2x3'"),
    ],
)
def test_a_producer_of_something_else_hears_why(gaitd: Gaitd, changes: dict[str, str], why: str) -> None:
    stream = height_stream()
    with pytest.raises(InputError, match=why.replace("(", r"\(")):
        StreamProducer(gaitd.runtime_dir, msgspec.structs.replace(stream, **changes))


def test_a_stream_has_one_producer(gaitd: Gaitd, producer: Producer) -> None:
    wait_until(lambda: stream_of(gaitd)["producer"], what="the first one")
    with pytest.raises(InputError, match="stream height: another producer has it"):
        StreamProducer(gaitd.runtime_dir, height_stream())


def test_without_streams_there_is_no_socket(small_bundle_path: Path) -> None:
    with Gaitd(small_bundle_path) as gaitd:
        runtime_dir = gaitd.wait_ready().runtime_dir
        with pytest.raises(InputError, match=r"stream\.sock: No such file.*does a gaitd run there"):
            StreamProducer(runtime_dir, height_stream())
        assert gaitd.status()["streams"] == []
