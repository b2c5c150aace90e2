"""C++ client to gaitd and back, against a bare C++ echo, interleaved in one run."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gaitd.bundle.read import open_bundle
from gaitd.ctl.client import ControlClient
from gaitd.errors import GaitdError, InputError
from gaitd.system.memory import resident_bytes

PRIORITY = 50
BUSY_LOOP = "while True: pass"


@dataclass(frozen=True)
class Options:
    """What is measured, and how long."""

    bundle: Path
    echo: Path
    """The built echo_bench."""
    output: Path
    """Directory of the results."""
    blocks: int
    """Of each contender under each load."""
    count: int
    """Round trips in a block."""


def measure(options: Options) -> None:
    """Measure and print; writes latency.json and memory.json.

    Raises InputError without echo_bench, GaitdError when a part does not start or a block fails.
    """
    bundle, echo, output = options.bundle, options.echo, options.output
    if not os.access(echo, os.X_OK):
        raise InputError(f"{echo}: no built echo_bench there; `make cpp` builds it")
    rate_hz = 1.0 / open_bundle(bundle).manifest.control_period_s
    output.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="gaitd-") as scratch, contextlib.ExitStack() as stack:
        directories = {name: Path(scratch) / name for name in ("gaitd", "bare")}
        directories["bare"].mkdir()
        gaitd = [sys.executable, "-m", "gaitd.cli", "run", "--bundle", str(bundle)]
        gaitd += ["--config", os.devnull]  # however this machine's own gaitd is configured
        runtime = ["--runtime-dir", str(directories["gaitd"]), "--metrics-port", "0"]
        log = stack.enter_context((output / "gaitd.log").open("wb"))
        stack.enter_context(_process([*gaitd, *runtime], log))
        serve = ["serve", "--endpoint-dir", str(directories["bare"]), "--priority", str(PRIORITY)]
        stack.enter_context(_process([str(echo), *serve], log))
        with ControlClient(directories["gaitd"], timeout_s=30.0) as client:
            client.demand("status")
        for load in ("idle", "busy"):
            with _load(load, stack):
                samples = _alternate(options, directories, rate_hz, load)
            rows += [_row(name, load, rate_hz, *samples[name]) for name in samples]
        memory = _memory_mb(directories["gaitd"])
    (output / "latency.json").write_text(json.dumps(rows, indent=2) + "\n")
    (output / "memory.json").write_text(json.dumps(memory, indent=2) + "\n")
    _print(rows, memory, output)


def _alternate(
    options: Options, directories: dict[str, Path], rate_hz: float, load: str
) -> dict[str, tuple[np.ndarray, int]]:
    """Latencies in microseconds and how many answers were lost, by contender."""
    samples: dict[str, list[float]] = {"bare": [], "gaitd": []}
    lost = {"bare": 0, "gaitd": 0}
    for block in range(options.blocks):
        print(f"\r{load}: block {block + 1} of {options.blocks} ...", end="", file=sys.stderr, flush=True)
        for name, values in samples.items():
            path = options.output / "samples.txt"
            path.unlink(missing_ok=True)
            command = [str(options.echo), name, "--endpoint-dir", str(directories[name])]
            pace = ["--rate", f"{rate_hz:.6f}", "--count", str(options.count), "--priority", str(PRIORITY)]
            done = subprocess.run(
                [*command, *pace, "--samples", str(path)], capture_output=True, text=True, timeout=120
            )
            if done.returncode != 0:
                raise GaitdError(f"echo_bench {name} failed: {done.stderr.strip() or done.stdout.strip()}")
            values += [float(line) for line in path.read_text().split()]
            lost[name] += int(json.loads(done.stdout)["lost"])
            path.unlink()
    print("\r" + " " * 40 + "\r", end="", file=sys.stderr, flush=True)
    return {name: (np.array(values), lost[name]) for name, values in samples.items()}


def _row(contender: str, load: str, rate_hz: float, latency_us: np.ndarray, lost: int) -> dict[str, Any]:
    p50, p99, p999, most = np.percentile(latency_us, (50, 99, 99.9, 100))
    return {
        "contender": contender,
        "load": load,
        "rate_hz": round(rate_hz, 3),
        "p50_us": round(p50, 1),
        "p99_us": round(p99, 1),
        "p999_us": round(p999, 1),
        "max_us": round(most, 1),
        "lost": lost,
    }


def _print(rows: list[dict[str, Any]], memory: dict[str, float], output: Path) -> None:
    print(f"{'contender':10} {'load':5} {'p50':>9} {'p99':>9} {'p99.9':>9} {'max':>9} us  lost")
    for row in rows:
        values = " ".join(f"{row[key]:9.1f}" for key in ("p50_us", "p99_us", "p999_us", "max_us"))
        print(f"{row['contender']:10} {row['load']:5} {values}     {row['lost']:4}")
    for load in ("idle", "busy"):
        bare, through = (
            next(row for row in rows if row["load"] == load and row["contender"] == name)
            for name in ("bare", "gaitd")
        )
        p50, p99 = (through[key] / bare[key] for key in ("p50_us", "p99_us"))
        print(f"{load}: gaitd / bare echo: p50 {p50:.2f}, p99 {p99:.2f}")
    parts = ", ".join(f"{name} {value:.0f}" for name, value in memory.items())
    print(f"resident memory [MB]: {parts}\n{output}/latency.json")


def _memory_mb(runtime_dir: Path) -> dict[str, float]:
    """Resident memory of gaitd's processes; shared pages count in each."""
    with ControlClient(runtime_dir) as client:
        status = client.demand("status")
    pids = {"guardian": status["guardian_pid"], "worker": status["worker"]["pid"]}
    memory = {name: resident_bytes(pid) / 1e6 for name, pid in pids.items()}
    return {**memory, "together": sum(memory.values())}


@contextlib.contextmanager
def _load(load: str, stack: contextlib.ExitStack) -> Iterator[None]:
    with contextlib.ExitStack() as busy:
        if load == "busy":
            for _ in range(os.cpu_count() or 1):
                busy.enter_context(_process([sys.executable, "-c", BUSY_LOOP], None))
        yield


@contextlib.contextmanager
def _process(command: list[str], log: Any) -> Iterator[None]:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
