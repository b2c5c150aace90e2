"""gaitctl bench: CPU backend and NPU cores against each other, idle and under load."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import gaitd
from gaitd.backends import BackendName, open_backend
from gaitd.bundle.read import Bundle
from gaitd.ctl import latency, robot
from gaitd.ctl.check import System
from gaitd.ctl.doctor import as_map, examine
from gaitd.errors import BackendError, GaitdError
from gaitd.system.command_line import confirm

Core = Literal["0", "1", "2"]
CONTENDERS: tuple[tuple[BackendName, Core], ...] = (
    ("onnx", "0"),
    ("rknn", "0"),
    ("rknn", "1"),
    ("rknn", "2"),
    ("rknnlite", "0"),
)
_BUSY = "data = bytearray(8 << 20)\nwhile True: data[:] = data[::-1]"
"""Keeps a core and the memory behind it busy."""


def add_parser(commands: Any) -> None:
    """Add the command to gaitctl."""
    parser = commands.add_parser("bench", help="CPU against NPU, core by core, idle and loaded")
    robot.add_options(parser)
    parser.add_argument("--output", type=Path, default=Path("gaitd-bench.json"), help="default: %(default)s")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    robot.refuse_while_walking(options, "the load would drop the robot into damping")
    config, bundle = robot.read_config(options), robot.read_bundle(options)
    found = examine(System(), options.config, options.runtime_dir)
    checks = [as_map(check) for check in found]
    missing = robot.become_worker(config)
    results = measure(bundle, options.seconds)
    report = {
        "gaitd": gaitd.__version__,
        "machine": {"architecture": platform.machine(), "kernel": platform.release(), "cpus": os.cpu_count()},
        "policy": {
            "id": bundle.id,
            "name": bundle.manifest.name,
            "period_s": bundle.manifest.control_period_s,
        },
        "missing_realtime": missing,
        "checks": checks,
        "results": results,
    }
    options.output.write_text(json.dumps(report, indent=2) + "\n")
    confirm(f"\nwritten to {options.output}: please attach it when you report a latency")
    if not any("latency" in result for result in results):
        raise BackendError("no backend could be measured; the lines above say why")
    return 0


def measure(bundle: Bundle, seconds: float) -> list[dict[str, Any]]:
    """Every contender under every load, shown as they come; one that is not available says why."""
    results = []
    for load in ("idle", "loaded"):
        with _busy_cores() if load == "loaded" else contextlib.nullcontext():
            for name, core in CONTENDERS:
                results.append(_contend(bundle, name, core, load, seconds))
    return results


def _contend(bundle: Bundle, name: BackendName, core: Core, load: str, seconds: float) -> dict[str, Any]:
    """Measure one backend and show it; one that is not available says why."""
    npu = name != "onnx"
    title = f"{f'NPU core {core} ({name})' if npu else 'CPU (onnx)'}, {load}"
    entry: dict[str, Any] = {"backend": name, "npu_core": core if npu else None, "load": load}
    try:
        backend = open_backend(name, bundle, core)
    except GaitdError as error:
        print(f"\n{title}: not measured: {error}")
        return entry | {"skipped": str(error)}
    try:
        durations = latency.measure(backend, bundle, seconds)
    except GaitdError as error:
        print(f"\n{title}: failed: {error}")
        return entry | {"failed": str(error)}
    finally:
        backend.close()
    print(f"\n{title}: {latency.in_words(durations)}\n{latency.histogram(durations)}")
    return entry | {"latency": latency.summary(durations), "durations_us": durations.round(1).tolist()}


@contextlib.contextmanager
def _busy_cores() -> Iterator[None]:
    """One program of normal priority on each core."""
    count = os.cpu_count() or 1
    programs = [subprocess.Popen([sys.executable, "-c", _BUSY], start_new_session=True) for _ in range(count)]
    try:
        for cpu, program in enumerate(programs):
            with contextlib.suppress(OSError):
                os.sched_setaffinity(program.pid, {cpu})
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()
