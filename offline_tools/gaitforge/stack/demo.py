"""Walking end to end on the simulated robot; then the worker is killed, and the standby after it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gaitd.errors import GateError
from gaitd.telemetry.files import RecordingFiles, cause_of
from gaitforge.simulate.measure import STICK_SPEED, measure
from gaitforge.simulate.trace import Trace
from gaitforge.stack.plot import plot_run
from gaitforge.stack.processes import GAITD, START_TIMEOUT_S, Chain, ChainResult, Walk
from gaitforge.stack.ticks import Ticks

SCRIPT = """\
t_s,forward,left,yaw
0,0,0,0
1,1,0,0
7,0.6,0,0.7
11,1,0,0
"""
"""Walk straight, turn left, walk straight; times count from the moment the robot stands."""
PUSH = "13:0,0.5"
WALKED = ((6.0, "walking"), (10.0, "turning left"), (13.0, "walking, push from the right"))
"""Up to when it does what."""
FAILOVER_S, FAULT_S = 15.0, 18.0
"""When the worker is killed, and when the standby is."""
SECONDS = 20.0
"""With 3 s of standing up, 23 s in all."""
LEAST_DISTANCE_M = 3.0
BOUND_PERIODS = 2
"""Of a death until damping is at the controller, or the next command in force."""
STANDBY = '[standby]\nmode = "on"\n'


def run_demo(
    bundle: Path,
    controller: Path,
    output: Path,
    seed: int = 0,
    gaitd: Sequence[str] = GAITD,
    backend: str = "auto",
    mjcf: Path | None = None,
    terrain: str = "flat",
    transport: str = "zmq",
    height_map: str | None = None,
) -> None:
    """Run the demo; ``gaitd`` is the program that runs in gaitd's place, ``mjcf`` a model of another robot.

    ``transport``: how states and commands travel. ``height_map``: as ``gaitforge simulate`` has it.

    Raises GateError naming what did not happen, GaitdError when a process did not start.
    """
    output.mkdir(parents=True, exist_ok=True)
    script = output / "script.csv"
    script.write_text(SCRIPT)
    config = output / "gaitd.toml"
    recordings = output.absolute() / "recordings"
    recorder = f"[recorder]\ndirectory = {json.dumps(str(recordings))}\n"
    config.write_text(f'{STANDBY}[daemon]\ntransport = "{transport}"\n{recorder}')
    chain = Chain(
        bundle=bundle,
        controller=controller,
        directory=output,
        walk=Walk(seconds=SECONDS, script=script, pushes=[PUSH], seed=seed),
        gaitd_command=gaitd,
        gaitd_options=["--config", str(config), "--backend", backend],
        mjcf=mjcf,
        terrain=terrain,
        height_map=height_map,
        simulator_options=["--png", str(output / "walk.png")],
        controller_options=["--transport", transport],
    )
    say("starting gaitd, the simulated robot and the C++ controller ...")
    with chain:
        status = chain.wait_active()
        policy, worker = status["policy"], status["worker"]
        versions = " ".join(f"{name} {version}" for name, version in worker["versions"].items())
        say(f"the robot stands; policy {policy['name']} {policy['version']} moves it")
        say(f"it runs on {worker['backend']}: {versions}")
        chain.wait_until(lambda status: bool(status["standby"]["ready"]), "a standby", 20.0)
        began_s = time.monotonic()
        for until_s, text in (
            *WALKED,
            (FAILOVER_S, ""),
        ):
            wait(chain, began_s + until_s, text)
        before = chain.status()
        first_ns = _kill(before, "worker", "in mid-stride")
        moved = chain.wait_until(lambda status: bool(status["failover"]), "the change to the standby", 5.0)
        say(f"the robot walks on, {moved['failover']}")
        wait(chain, began_s + FAULT_S, "")
        killed_ns = _kill(chain.status(), "standby", "too")
        after = chain.wait_until(lambda status: status["mode"] == "damping", "damping", 5.0)
        say(f"gaitd reports damping: {after['reason']}")
        recovered = chain.wait_until(
            lambda status: bool(status["worker"]["ready"]), "a fresh worker", START_TIMEOUT_S
        )
        say(f"a fresh worker is ready (start {recovered['worker']['starts']}); damping holds")
        result = chain.finish()
    summary = summarize(result, before, first_ns, killed_ns, output)
    recording = RecordingFiles(recordings).newest()
    (output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    faults_ns = {"the worker is killed": first_ns, "the standby is killed": killed_ns}
    plot_run(result.ticks, faults_ns, output / "command_age.png")
    _print_summary(summary, result, output, recording)
    _judge(summary, result, before["period_s"], recording, soft=mjcf is None)


def _kill(status: dict[str, Any], name: str, how: str) -> int:
    pid = status[name]["pid"]
    say(f"killing gaitd's {name} (pid {pid}) {how}")
    killed_ns = time.monotonic_ns()
    os.kill(pid, signal.SIGKILL)
    return killed_ns


def summarize(
    result: ChainResult, before: dict[str, Any], first_ns: int, killed_ns: int, output: Path
) -> dict[str, Any]:
    """The demo's measurements: the walk up to the first death, the walk after it, then the second one."""
    ticks, began_ns = result.ticks, result.simulator["start_monotonic_ns"]
    walked_on = Trace.load(output / "trace.npz").between(began_ns, first_ns, killed_ns)
    period_ns = before["period_s"] * 1e9
    index = ticks.first_damping_after(killed_ns)
    return {
        "backend": before["worker"]["backend"],
        "distance_m": round(result.simulator["distance_m"], 3),
        "falls": result.simulator["falls"],
        "outcome": result.simulator["outcome"],
        "steps": before["counters"]["steps"],
        "late_steps": before["counters"]["late_steps"],
        "age_us": age_us(ticks),
        "failover": {
            "kind": "worker kill -9",
            "at_s": round((first_ns - began_ns) / 1e9, 3),
            "longest_gap_periods": round(ticks.longest_gap_ns(first_ns, killed_ns) / period_ns, 2),
            "falls_after": measure(walked_on, STICK_SPEED).falls,
        },
        "fault": {
            "kind": "standby kill -9",
            "at_s": round((killed_ns - began_ns) / 1e9, 3),
            "reason": str(ticks.reason[index]) if index is not None else None,
            "to_damping_ms": round((int(ticks.time_ns[index]) - killed_ns) / 1e6, 3)
            if index is not None
            else None,
        },
    }


def age_us(ticks: Ticks) -> dict[str, float]:
    """Age of a command when it comes into force, since its state was sampled (ticks of 1 ms)."""
    ages = ticks.age_us[ticks.arrivals()]
    if not ages.size:
        return {"p50": float("nan"), "p99": float("nan"), "max": float("nan")}
    p50, p99, most = np.percentile(ages, (50, 99, 100))
    return {"p50": round(p50, 1), "p99": round(p99, 1), "max": round(most, 1)}


def _judge(
    summary: dict[str, Any], result: ChainResult, period_s: float, recording: Path | None, *, soft: bool
) -> None:
    """``soft``: the robot must lie down softly in the end; not every robot can."""
    early = [down["time_s"] for down in result.simulator["descents"] if down["time_s"] < FAULT_S - 1.0]
    fault, failover = summary["fault"], summary["failover"]
    recorded = "" if recording is None else cause_of(recording)
    bound_ms = BOUND_PERIODS * period_s * 1000.0
    checks = [
        (
            summary["distance_m"] >= LEAST_DISTANCE_M,
            f"it walked {summary['distance_m']} m, expected at least {LEAST_DISTANCE_M}",
        ),
        (not early, f"it went down at {early} s, before the fault"),
        (summary["falls"] == 0 or not soft, f"it fell {summary['falls']} times, expected none"),
        (
            summary["outcome"] == "lay down softly" or not soft,
            f"at the end it {summary['outcome']}, expected to lie down softly",
        ),
        (
            failover["longest_gap_periods"] <= BOUND_PERIODS,
            f"the worker's death left it {failover['longest_gap_periods']} periods without a fresh command, "
            f"expected at most {BOUND_PERIODS}",
        ),
        (
            failover["falls_after"] == 0 or not soft,
            f"it fell {failover['falls_after']} times after the worker's death, expected none",
        ),
        (fault["reason"] == "worker_died", f"the fault's reason was {fault['reason']}, expected worker_died"),
        (
            fault["to_damping_ms"] is not None and fault["to_damping_ms"] <= bound_ms,
            f"damping came after {fault['to_damping_ms']} ms, expected at most {bound_ms:g}",
        ),
        (
            recorded == fault["reason"],
            f"the newest recording is {recording}, expected one of {fault['reason']}",
        ),
    ]
    failures = [text for good, text in checks if not good]
    if failures:
        raise GateError("the demo failed: " + "; ".join(failures))


def _print_summary(
    summary: dict[str, Any], result: ChainResult, output: Path, recording: Path | None
) -> None:
    age, fault, failover = summary["age_us"], summary["fault"], summary["failover"]
    print(
        f"""
  distance     {summary["distance_m"]:.2f} m, {summary["falls"]} falls; at the end it {summary["outcome"]}
  steps        {summary["steps"]}, {summary["late_steps"]} late
  command age  p50 {age["p50"] / 1000:.2f}  p99 {age["p99"] / 1000:.2f}  max {age["max"] / 1000:.2f} ms
               (from the robot's state to the command in force, at the controller's 1 ms ticks)
  failover     {failover["kind"]}: walked on, {failover["falls_after"]} falls, at most
               {failover["longest_gap_periods"]} periods without a fresh command
  fault        {fault["kind"]}: {fault["reason"]}, damping at the controller after {fault["to_damping_ms"]} ms

  {output}/summary.json  {output}/walk.png  {output}/command_age.png
  why it lay down: gaitctl explain {recording}
  as a film: gaitforge view {recording}; the failover has a file beside it
""",
        flush=True,
    )


def wait(chain: Chain, until_s: float, text: str) -> None:
    """Until that moment (time.monotonic), while the processes live; then print the text."""
    while time.monotonic() < until_s:
        chain.check_alive()
        time.sleep(0.05)
    if text:
        say(text)


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)
