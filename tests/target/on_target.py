"""Runs on the emulated target: the vendor's wheel and our backends on the same stand-in runtime.

Prints one JSON object; test_rknn_wheel.py judges it. With a number as argument only the backends' costs over
so many runs.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rknnlite.api import RKNNLite
from standin import models
from standin.orders import Orders

from gaitd.backends.base import Backend
from gaitd.backends.rknn import RknnBackend
from gaitd.backends.rknnlite import RknnLiteBackend
from gaitd.errors import GaitdError
from gaitd.policy.manifest import Model

RUN_FAULTS = ["error -1", "error -2", "error -3", "nan", "unwritten", "late 20"]
LITE_RUN_FAULTS = ["error -1", "error -2", "error -3", "nan", "stale", "late 20"]
START_FAULTS = ["init -1", "init -13", "core -5", "query -7", "input_elements 44", "api 1.4.0"]


def load_wheel(model: Path) -> Any:
    wheel = RKNNLite()
    assert wheel.load_rknn(str(model)) == 0
    assert wheel.init_runtime(core_mask=RKNNLite.NPU_CORE_0) == 0
    return wheel


def load_backend() -> RknnBackend:
    return RknnBackend(models.policy(), Model(), models.OBSERVATION_DIM, models.ACTION_DIM)


def load_lite() -> RknnLiteBackend:
    return RknnLiteBackend(models.policy(), Model(), models.OBSERVATION_DIM, models.ACTION_DIM)


def hidden_states(kind: type[RknnBackend] | type[RknnLiteBackend]) -> list[list[float]]:
    """Answers of a recurrent policy: twice without commit, then after it, then after a reset."""
    file, model, _ = models.recurrent_policy()
    backend: Backend = kind(file, model, models.OBSERVATION_DIM, models.ACTION_DIM)
    answers = [backend.infer(models.observation()).tolist() for _ in range(2)]
    backend.commit()
    answers.append(backend.infer(models.observation()).tolist())
    backend.reset()
    answers.append(backend.infer(models.observation()).tolist())
    backend.close()
    return answers


def answer(call: Callable[[], Any]) -> dict[str, Any]:
    try:
        return {"action": np.asarray(call()).reshape(-1).tolist()}
    except GaitdError as error:
        return {"error": str(error)}


def cost(call: Callable[[], Any], count: int) -> dict[str, float]:
    """Median processor time and growth of the process, without the cyclic collector."""

    def resident_kb() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4

    for _ in range(300):
        call()
    gc.collect()
    gc.disable()
    durations_ns = np.ones(count, np.int64)  # ones, so that its pages are there before the measure
    before_kb = resident_kb()
    for index in range(count):
        start_ns = time.thread_time_ns()
        call()
        durations_ns[index] = time.thread_time_ns() - start_ns
    grown_kb = resident_kb() - before_kb
    gc.enable()
    gc.collect()
    return {"median_us": float(np.median(durations_ns)) / 1e3, "bytes_per_call": grown_kb * 1024 / count}


def ending(fault: str, orders: Orders) -> str:
    """How a process ends whose first run has this fault, if it is given half a second."""
    orders.give(f"at 1 {fault}")
    child = os.fork()
    if child == 0:
        backend = load_backend()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        backend.infer(models.observation())
        os._exit(0)
    _, status = os.waitpid(child, 0)
    orders.give()
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else str(status)


def main() -> None:
    place = Path(tempfile.mkdtemp())
    orders = Orders(place / "orders")
    os.environ["GAITD_STANDIN_CONTROL"] = str(orders.path)
    model = place / "model.rknn"
    model.write_bytes(models.policy())
    observation = models.observation()
    report: dict[str, Any] = {"machine": platform.machine()}

    orders.give(f"trace {place / 'wheel'}")
    wheel = load_wheel(model)

    def wheel_call() -> Any:
        return wheel.inference([observation[None]], data_type="float32")[0]

    report["wheel"] = answer(wheel_call)
    orders.give("from 1 error -2")
    report["wheel_after_failed_run"] = answer(wheel_call)
    orders.give(f"trace {place / 'backend'}")
    backend = load_backend()

    def backend_call() -> Any:
        return backend.infer(observation)

    report["backend"] = answer(backend_call)
    report["versions"] = backend.versions()
    report["calls"] = {name: (place / name).read_text().splitlines() for name in ("wheel", "backend")}

    report["run_faults"] = {}
    for fault in RUN_FAULTS:
        orders.give(f"from 1 {fault}")
        report["run_faults"][fault] = answer(backend_call)
    report["start_faults"] = {}
    for fault in START_FAULTS:
        orders.give(fault)
        report["start_faults"][fault] = answer(load_backend)
    orders.give()
    lite = load_lite()
    report["lite"] = answer(lambda: lite.infer(observation))
    report["lite_versions"] = lite.versions()
    report["lite_refuses"] = [
        answer(lambda: lite.infer(np.zeros(44, np.float32))),
        answer(lambda: lite.infer(np.full(45, np.nan, np.float32))),
    ]
    report["lite_run_faults"] = {}
    for fault in LITE_RUN_FAULTS:
        lite.infer(models.observation(1))
        orders.give(f"from 1 {fault}")
        report["lite_run_faults"][fault] = answer(lambda: lite.infer(observation))
        orders.give()
    report["lite_start_faults"] = {}
    for fault in START_FAULTS:
        orders.give(fault)
        report["lite_start_faults"][fault] = answer(load_lite)
    orders.give()
    report["hidden"] = {kind.__name__: hidden_states(kind) for kind in (RknnBackend, RknnLiteBackend)}
    report["endings"] = {fault: ending(fault, orders) for fault in ("crash", "hang", "late 10")}

    report["wheel_cost"] = cost(wheel_call, 500)
    report["backend_cost"] = cost(backend_call, 20_000)
    report["lite_cost"] = cost(lambda: lite.infer(observation), 500)
    wheel.release()
    backend.close()
    print(json.dumps(report))


def costs(count: int) -> None:
    """Both backends side by side."""
    observation = models.observation()
    found = {}
    for load in (load_backend, load_lite):
        backend = load()
        found[load.__name__] = cost(lambda backend=backend: backend.infer(observation), count)
        backend.close()
    print(json.dumps(found))


if __name__ == "__main__":
    costs(int(sys.argv[1])) if len(sys.argv) > 1 else main()
