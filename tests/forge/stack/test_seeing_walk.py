"""The Lite3 walks through the whole chain while what it sees fails in every way: it walks on, slower."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest

from gaitforge.simulate.trace import Trace
from gaitforge.stack.processes import Chain, Walk
from support.daemon import PATIENT
from support.streams import Producer, seeing_lite3

pytestmark = pytest.mark.thorough
CONTROLLER = Path(__file__).parents[3] / "build/cpp/lite3_controller"
SECONDS = 20.0
FAULTS = ("silent", "slow", "frozen", "future", "back", "not_finite", "scrambled", "truncated")


@pytest.fixture
def controller() -> Path:
    if not CONTROLLER.exists():
        pytest.skip("the example controller is not built: make cpp")
    return CONTROLLER


def chain_of(
    bundle: Path, controller: Path, place: Path, seconds: float, height_map: str | None = None
) -> Chain:
    config = place / "gaitd.toml"
    config.write_text(PATIENT)
    return Chain(
        bundle,
        controller,
        place / "run",
        Walk(seconds=seconds, command="1,0,0"),
        gaitd_options=["--config", str(config)],
        height_map=height_map,
    )


def test_it_walks_on_slower_while_its_height_map_is_stale(controller: Path, tmp_path: Path) -> None:
    bundle = seeing_lite3(tmp_path / "lite3.gaitd", beyond="slow", slow_max=[0.4, 0.4, 0.4])
    with chain_of(bundle, controller, tmp_path, SECONDS) as chain:
        producer = Producer(chain.runtime_dir, bundle)
        try:

            def becomes(*, stale: bool) -> dict[str, object]:
                what = "a stale stream" if stale else "a fresh stream"
                found = chain.wait_until(lambda status: status["streams"][0]["stale"] is stale, what, 10.0)
                assert found["mode"] != "damping"
                return found

            chain.wait_active()
            for fault in FAULTS:
                becomes(stale=False)
                producer.do(fault)
                becomes(stale=True)
                producer.do("good")
            becomes(stale=False)
            producer.process.send_signal(signal.SIGSTOP)
            becomes(stale=True)
            producer.process.send_signal(signal.SIGCONT)
            becomes(stale=False)
            producer.process.kill()
            status = becomes(stale=True)
            assert status["mode"] == "active"
            result = chain.finish()
        finally:
            producer.close()
    assert result.simulator["falls"] == 0, json.dumps(result.simulator)
    trace = Trace.load(tmp_path / "run/trace.npz")
    begin, end = np.searchsorted(trace.time_s, trace.time_s[-1] - [5.0, 0.5])
    slow = np.hypot(*(trace.base_position[end] - trace.base_position[begin])[:2]) / 4.5
    assert 0.1 < slow < 0.4, "with the whole command it is 0.7 m/s"


def test_the_simulator_fills_the_stream(controller: Path, tmp_path: Path) -> None:
    bundle = seeing_lite3(tmp_path / "lite3.gaitd", beyond="damp", max_age_s=2.0)
    with chain_of(bundle, controller, tmp_path, 4.0, height_map="height:1.2x0.8") as chain:
        chain.wait_active()
        status = chain.wait_until(lambda status: status["streams"][0]["frames"] > 100, "100 frames", 20.0)
        assert status["streams"][0]["refused"] == {}
        result = chain.finish()
    assert result.simulator["falls"] == 0
    assert result.simulator["distance_m"] > 1.0
