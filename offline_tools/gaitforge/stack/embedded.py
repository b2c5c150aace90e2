"""Walking with the policy in the controller's own process; then the inference runtime hangs."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaitd.bundle.compiled import compile_policy
from gaitd.bundle.read import open_bundle
from gaitd.errors import BackendError, GaitdError, GateError, InputError
from gaitforge.stack.demo import (
    FAULT_S,
    LEAST_DISTANCE_M,
    PUSH,
    SCRIPT,
    SECONDS,
    WALKED,
    age_us,
    say,
    wait,
)
from gaitforge.stack.plot import plot_run
from gaitforge.stack.processes import START_TIMEOUT_S, Chain, ChainResult, Walk

FAULTY_RUNTIME = "libfaulty_onnxruntime.so"
"""Beside the controller: it hands on to the real one, until SIGUSR2."""
REASONS = {"hang": "deadline", "error": "backend_error", "nan": "action_invalid"}
"""What the damping gives as its reason, by the runtime's fault."""
DEADLINE_PERIODS = 5
TICKS_MS = 5.0
"""From the end of the deadline until the controller's next tick has it, on a busy machine."""
WALKS = "moves the robot"
"""What the controller prints then."""


@dataclass
class EmbeddedChain(Chain):
    """Simulated robot and controller alone; ``compiled`` is the policy as the C++ library reads it."""

    compiled: Path = Path()
    runtime: Path = Path()
    """onnxruntime's C library, or what stands in its place."""

    def wait_walking(self) -> None:
        """Wait until the policy moves the robot. Raises GaitdError."""
        log, until_s = self.directory / "controller.log", time.monotonic() + START_TIMEOUT_S
        while WALKS not in log.read_text():
            self.check_alive()
            if time.monotonic() > until_s:
                raise GaitdError(f"the policy did not take over within {START_TIMEOUT_S:g} s; see {log}")
            time.sleep(0.05)

    def _driver(self) -> list[str]:
        return ["--policy", str(self.compiled), "--runtime", str(self.runtime)]

    def _start_gaitd(self) -> None:
        """There is none."""


def runtime_library() -> Path:
    """onnxruntime's C library, as its Python package brings it. Raises BackendError."""
    found = importlib.util.find_spec("onnxruntime")
    places = [] if found is None else found.submodule_search_locations or []
    libraries = [path for place in places for path in Path(place, "capi").glob("libonnxruntime.so*")]
    if not libraries:
        raise BackendError("no libonnxruntime.so in the package onnxruntime: pip install onnxruntime")
    return libraries[0]


def run_embedded(bundle: Path, controller: Path, output: Path, seed: int = 0, fault: str = "hang") -> None:
    """Run the demo; ``fault``: of REASONS.

    Raises GateError naming what did not happen, InputError for a policy that the C++ library cannot run,
    GaitdError when a process did not start.
    """
    opened = open_bundle(bundle)
    output.mkdir(parents=True, exist_ok=True)
    script, compiled = output / "script.csv", output / "policy.gaitdc"
    script.write_text(SCRIPT)
    compiled.write_bytes(compile_policy(opened))
    faulty = controller.with_name(FAULTY_RUNTIME)
    if not faulty.exists():
        raise InputError(f"{faulty}: is not there; `make cpp` builds it")
    chain = EmbeddedChain(
        bundle=bundle,
        controller=controller,
        directory=output,
        walk=Walk(seconds=SECONDS, script=script, pushes=[PUSH], seed=seed),
        simulator_options=["--png", str(output / "walk.png")],
        controller_environment={"GAITD_RUNTIME": str(runtime_library()), "GAITD_FAULT": fault},
        compiled=compiled,
        runtime=faulty,
    )
    manifest = opened.manifest
    say("starting the simulated robot and the C++ controller, which runs the policy itself ...")
    with chain:
        chain.wait_walking()
        say(f"the robot stands; policy {manifest.name} {manifest.version} moves it, without gaitd")
        began_s = time.monotonic()
        for until_s, text in (*WALKED, (FAULT_S, "")):
            wait(chain, began_s + until_s, text)
        say(f"the runtime's fault begins in mid-stride: {fault}")
        fault_ns = time.monotonic_ns()
        os.kill(chain.pid("controller"), signal.SIGUSR2)
        result = chain.finish()
    summary = summarize(result, fault, fault_ns)
    (output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    plot_run(result.ticks, {f"the runtime's fault, {fault}": fault_ns}, output / "command_age.png")
    _print_summary(summary, output)
    _judge(summary, manifest.control_period_s)


def summarize(result: ChainResult, fault: str, fault_ns: int) -> dict[str, Any]:
    """The demo's measurements: the walk, and what came of the fault."""
    ticks, index = result.ticks, result.ticks.first_damping_after(fault_ns)
    damped = index is not None
    return {
        "distance_m": round(result.simulator["distance_m"], 3),
        "falls": result.simulator["falls"],
        "early_descents_s": [
            down["time_s"] for down in result.simulator["descents"] if down["time_s"] < FAULT_S - 1.0
        ],
        "outcome": result.simulator["outcome"],
        "age_us": age_us(ticks),
        "fault": {
            "kind": f"runtime {fault}",
            "expected": REASONS[fault],
            "reason": str(ticks.reason[index]) if damped else None,
            "to_damping_ms": round((int(ticks.time_ns[index]) - fault_ns) / 1e6, 3) if damped else None,
        },
    }


def _judge(summary: dict[str, Any], period_s: float) -> None:
    fault, bound_ms = summary["fault"], DEADLINE_PERIODS * period_s * 1000.0 + TICKS_MS
    checks = [
        (
            summary["distance_m"] >= LEAST_DISTANCE_M,
            f"it walked {summary['distance_m']} m, expected at least {LEAST_DISTANCE_M}",
        ),
        (
            not summary["early_descents_s"],
            f"it went down at {summary['early_descents_s']} s already",
        ),
        (summary["falls"] == 0, f"it fell {summary['falls']} times, expected none"),
        (
            fault["reason"] == fault["expected"],
            f"the damping's reason was {fault['reason']}, expected {fault['expected']}",
        ),
        (
            fault["to_damping_ms"] is not None and fault["to_damping_ms"] <= bound_ms,
            f"damping came after {fault['to_damping_ms']} ms, expected at most {bound_ms:g}",
        ),
    ]
    failures = [text for good, text in checks if not good]
    if failures:
        raise GateError("the demo failed: " + "; ".join(failures))


def _print_summary(summary: dict[str, Any], output: Path) -> None:
    age, fault = summary["age_us"], summary["fault"]
    print(
        f"""
  distance     {summary["distance_m"]:.2f} m, {summary["falls"]} falls; at the end it {summary["outcome"]}
  command age  p50 {age["p50"] / 1000:.2f}  p99 {age["p99"] / 1000:.2f}  max {age["max"] / 1000:.2f} ms
               (from the robot's state to the command in force, at the controller's 1 ms ticks)
  fault        {fault["kind"]}: {fault["reason"]}, damping at the controller after {fault["to_damping_ms"]} ms

  {output}/summary.json  {output}/walk.png  {output}/command_age.png
""",
        flush=True,
    )
