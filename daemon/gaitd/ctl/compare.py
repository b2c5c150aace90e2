"""gaitctl selftest --compare: the same policy through every backend that there is here, side by side."""

from __future__ import annotations

import gc
from typing import Any, get_args

import numpy as np

from gaitd.backends import BackendName, golden_tolerance, open_backend
from gaitd.backends.base import Backend, Float32Array
from gaitd.backends.selftest import run_selftest
from gaitd.bundle.read import Bundle
from gaitd.ctl import latency, robot
from gaitd.errors import BackendError, GaitdError
from gaitd.system.config import Config
from gaitd.system.memory import resident_bytes

REFERENCE: BackendName = "rknn"
"""The default on the NPU: the others' actions are compared with its."""
GROWTH_RUNS = 5000


def measure(bundle: Bundle, config: Config, seconds: float) -> dict[str, Any]:
    """One entry a backend; one that is not available says why. Raises BackendError when none is."""
    missing = robot.become_worker(config)
    results: dict[str, dict[str, Any]] = {}
    actions: dict[str, Float32Array] = {}
    for name in get_args(BackendName):
        try:
            backend = open_backend(name, bundle, config.daemon.npu_core)
            try:
                results[name] = _measure(name, backend, bundle, seconds)
                actions[name] = _golden_actions(backend, bundle)
            finally:
                backend.close()
        except GaitdError as error:
            results[name] = {"error": str(error)}
    if not actions:
        raise BackendError("; ".join(f"{name}: {entry['error']}" for name, entry in results.items()))
    for name, answered in actions.items():
        if REFERENCE in actions:
            results[name]["difference"] = float(np.abs(answered - actions[REFERENCE]).max())
    return {"policy": bundle.id, "missing_realtime": missing, "backends": results}


def in_words(report: dict[str, Any]) -> str:
    """A table; the times are microseconds."""
    head = f"{'backend':10} {'error':>9} {'to ' + REFERENCE:>9} {'p50':>7} {'p99':>7} {'max':>7}  bytes/run"
    lines = [head]
    for name, entry in report["backends"].items():
        if "error" in entry:
            lines.append(f"{name:10} not measured: {entry['error']}")
            continue
        time = entry["latency"]
        difference = f"{entry['difference']:.2g}" if "difference" in entry else "-"
        values = " ".join(f"{time[key]:7.0f}" for key in ("p50_us", "p99_us", "max_us"))
        grown = entry["bytes_per_run"]
        lines.append(f"{name:10} {entry['max_error']:9.2g} {difference:>9} {values}  {grown:.0f}")
    lines.append(
        f"error: to the golden actions; to {REFERENCE}: to that backend's actions; bytes/run: how the "
        "process grows without Python's cyclic collector"
    )
    return "\n".join([*lines, *(f"not available: {text}" for text in report["missing_realtime"])])


def _measure(name: BackendName, backend: Backend, bundle: Bundle, seconds: float) -> dict[str, Any]:
    result = run_selftest(backend, bundle, golden_tolerance(name, bundle))
    durations = latency.measure(backend, bundle, seconds)
    return {
        "max_error": result.max_error,
        "tolerance": result.tolerance,
        "latency": latency.summary(durations),
        "bytes_per_run": _growth(backend, bundle),
        "versions": backend.versions(),
        "npu_memory_bytes": backend.memory(),
    }


def _golden_actions(backend: Backend, bundle: Bundle) -> Float32Array:
    pipeline = bundle.pipeline()
    answers = []
    backend.reset()
    for observation in bundle.golden()[0]:
        answers.append(backend.infer(pipeline.normalize(observation)).copy())
        backend.commit()
    return np.array(answers)


def _growth(backend: Backend, bundle: Bundle) -> float:
    """Bytes that the process grows by at each run."""
    observation = bundle.pipeline().normalize(bundle.golden()[0][0])
    for _ in range(100):
        backend.infer(observation)
    gc.collect()
    gc.disable()
    try:
        before = resident_bytes()
        for _ in range(GROWTH_RUNS):
            backend.infer(observation)
        return max(0.0, (resident_bytes() - before) / GROWTH_RUNS)
    finally:
        gc.enable()
        gc.collect()
