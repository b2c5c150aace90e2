"""The whole chain: simulated robot, UDP, the C++ controller, ZeroMQ, gaitd, and back."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gaitd.bundle.read import open_bundle
from gaitd.ctl.explain.account import Account
from gaitd.telemetry.recording import read_recording
from gaitforge.simulate.direct import onnx_backend, run_direct
from gaitforge.simulate.script import read_script
from gaitforge.stack.processes import Chain, Walk
from support.reference import reference_bundle

ROOT = Path(__file__).parents[3]
CONTROLLER = ROOT / "build/cpp/lite3_controller"
EXAMPLE = ROOT / "examples/lite3_walk/lite3_walk.gaitd"
PERIOD_NS = 12_000_000

SCRIPT = """\
t_s,forward,left,yaw
0,0,0,0
3,1,0,0
"""
"""Three seconds for the hand-over, then 10 s at command 1.0."""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.csv"
    path.write_text(SCRIPT)
    return path


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reference_bundle(tmp_path_factory.mktemp("reference") / "reference.gaitd")


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_real_policy_walks_as_far_through_the_chain_as_called_directly(
    reference: Path, script: Path, tmp_path: Path, seed: int
) -> None:
    bundle = open_bundle(reference)
    direct = run_direct(
        bundle.manifest, onnx_backend(bundle), script=read_script(script), seconds=13.0, seed=seed
    )
    walk = Walk(seconds=13.0, script=script, seed=seed)
    with Chain(reference, CONTROLLER, tmp_path / "run", walk) as chain:
        result = chain.finish()
    assert result.simulator["falls"] == 0
    assert result.simulator["displacement_m"] >= 6.0
    assert result.simulator["distance_m"] == pytest.approx(direct.distance_m, rel=0.05)


@pytest.mark.thorough
def test_killing_all_of_gaitd_leaves_the_controller_damping_by_its_own_timer(tmp_path: Path) -> None:
    walk = Walk(seconds=6.0, command="0.7,0,0")
    with Chain(EXAMPLE, CONTROLLER, tmp_path / "run", walk) as chain:
        status = chain.wait_active()
        chain.wait_until(lambda status: status["counters"]["steps"] > 80, "a second of walking", 10.0)
        killed_ns = time.monotonic_ns()
        for pid in (status["guardian_pid"], status["worker"]["pid"], status["telemetry_pid"]):
            os.kill(pid, signal.SIGKILL)
        result = chain.finish()
    ticks = result.ticks
    index = ticks.first_damping_after(killed_ns)
    assert index is not None
    assert ticks.reason[index] == "client_deadline"
    assert set(ticks.mode[index:]) == {"damping"}
    last_command_ns = int(ticks.time_ns[ticks.arrivals()[-1]])
    # The bound is 5 periods after the last command; 1 more for the controller's own tick and this machine.
    assert int(ticks.time_ns[index]) - last_command_ns <= 6 * PERIOD_NS
    assert result.simulator["outcome"] == "lay down softly"


@pytest.mark.slow
def test_the_demo_completes_every_step(tmp_path: Path) -> None:
    output = tmp_path / "demo"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "gaitforge.cli", "demo", "--bundle", str(EXAMPLE)),
            *("--controller", str(CONTROLLER), "--output", str(output)),
        ],
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((output / "summary.json").read_text())
    assert summary["distance_m"] > 3.0
    assert summary["falls"] == 0
    assert summary["steps"] > 1000
    assert summary["fault"]["reason"] == "worker_died"
    assert summary["fault"]["to_damping_ms"] <= 2 * PERIOD_NS / 1e6
    failover = summary["failover"]
    assert failover["longest_gap_periods"] <= 2
    assert failover["falls_after"] == 0
    assert set(summary["age_us"]) == {"p50", "p99", "max"}
    for name in ("walk.png", "command_age.png"):
        assert (output / name).read_bytes().startswith(b"\x89PNG")
    found = re.search(r"why it lay down: gaitctl explain (\S+)", done.stdout)
    assert found
    account = Account.of(Path(found[1]), read_recording(Path(found[1])))
    assert (account.verdict.kind, account.verdict.values["text"]) == (
        "worker_killed",
        "standby killed by SIGKILL",
    )


def test_without_a_built_controller_it_says_how_to_build_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "gaitforge.cli", "demo", "--bundle", str(EXAMPLE)),
            *("--controller", str(tmp_path / "none"), "--output", str(tmp_path / "demo")),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "make cpp" in done.stderr
    assert "Traceback" not in done.stderr
