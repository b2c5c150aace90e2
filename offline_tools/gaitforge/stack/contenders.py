"""Who is measured by the benchmark: each a server that runs, and the arguments of echo_bench against it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gaitd.bundle.read import MANIFEST, open_bundle
from gaitd.ctl.client import ControlClient
from gaitd.errors import GaitdError
from gaitforge.bundle.write import write_bundle

PRIORITY = 50
"""SCHED_FIFO of the client's threads and of the bare echo, where this user may; the naive server has none."""
CLOSED = 0.0
"""In place of a rate: one round trip right after the other."""
ECHO = "c++ zeromq echo"
"""What the others are held against."""
CONFIG = """\
[daemon]
transport = "shm"
[guard]
deadline_periods = 20
state_max_age_periods = 5
"""
"""Patient: how long it takes is measured, not whether a machine that stands still ends a session."""
BUSY_LOOP = "while True: pass"


@dataclass(frozen=True)
class Contender:
    """One of them."""

    name: str
    arguments: Sequence[str]
    """Of echo_bench; {DIR} stands for the directory of the sockets."""
    closed: bool = True
    """It can go one round trip after the other; gaitd refuses states that come faster than the policy's."""


CONTENDERS = (
    Contender(ECHO, ["bare"]),
    Contender("python req/rep", ["request"]),
    Contender("gaitd zeromq", ["gaitd", "--transport", "zmq"], closed=False),
    Contender("gaitd shm", ["gaitd", "--transport", "shm"], closed=False),
)


@contextlib.contextmanager
def servers(bundle: Path, echo: Path, directory: Path, rate_hz: float, log: Any) -> Iterator[Path]:
    """Run all servers, gaitd with the policy at that rate; yields the directory of their sockets.

    Raises GaitdError when gaitd does not start.
    """
    directory.mkdir()
    with contextlib.ExitStack() as stack:
        bare, python, runtime = (directory / name for name in ("bare", "python", "gaitd"))
        for each in (bare, python):
            each.mkdir()
        serve = ["serve", "--endpoint-dir", str(bare), "--priority", str(PRIORITY)]
        stack.enter_context(process([str(echo), *serve], log))
        naive = ["-m", "gaitforge.stack.naive_server", str(bundle), str(python / "policy.sock")]
        stack.enter_context(process([sys.executable, *naive], log))
        if rate_hz != CLOSED:
            config = directory / "gaitd.toml"
            config.write_text(CONFIG)
            faster = at_rate(bundle, rate_hz, directory / "policy.gaitd")
            options = ["--config", str(config), "--runtime-dir", str(runtime), "--metrics-port", "0"]
            command = [sys.executable, "-m", "gaitd.cli", "run", "--bundle", str(faster), *options]
            stack.enter_context(process(command, log))
            with ControlClient(runtime, timeout_s=30.0) as client:
                client.demand("status")
        yield directory


def at_rate(bundle: Path, rate_hz: float, target: Path) -> Path:
    """The same policy with another control period: its arithmetic takes as long, whatever it would do."""
    whole = open_bundle(bundle)
    manifest = yaml.safe_load(whole.files[MANIFEST])
    del manifest["files"]
    manifest["control_period_s"] = 1.0 / rate_hz
    files = {name: data for name, data in whole.files.items() if name != MANIFEST}
    return write_bundle(target, manifest, files)


def run_block(
    contender: Contender, echo: Path, directory: Path, rate_hz: float, count: int
) -> tuple[list[float], int]:
    """Latencies of one block in microseconds, and how many answers were lost, those of an end in damping
    among them. Raises GaitdError."""
    where = {"bare": "bare", "request": "python"}.get(contender.arguments[0], "gaitd")
    path = directory / "samples.txt"
    path.unlink(missing_ok=True)
    command = [str(echo), *contender.arguments, "--endpoint-dir", str(directory / where)]
    pace = ["--rate", f"{rate_hz:.6f}", "--count", str(count), "--priority", str(PRIORITY)]
    done = subprocess.run(
        [*command, *pace, "--samples", str(path)], capture_output=True, text=True, timeout=120
    )
    if done.returncode != 0:
        raise GaitdError(f"{contender.name}: {done.stderr.strip() or done.stdout.strip()}")
    return [float(line) for line in path.read_text().split()], int(json.loads(done.stdout)["lost"])


@contextlib.contextmanager
def load(name: str) -> Iterator[None]:
    """``idle``, or ``busy``: one busy program per core beside it."""
    with contextlib.ExitStack() as busy:
        if name == "busy":
            for _ in range(os.cpu_count() or 1):
                busy.enter_context(process([sys.executable, "-c", BUSY_LOOP], None))
        yield


@contextlib.contextmanager
def process(command: Sequence[str], log: Any) -> Iterator[None]:
    """A program that runs meanwhile."""
    running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(10)
