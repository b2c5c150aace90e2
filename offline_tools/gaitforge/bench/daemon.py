"""A gaitd that runs to be measured."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import yaml

from gaitd.bundle.read import MANIFEST, open_bundle
from gaitd.ctl.client import ControlClient
from gaitd.errors import GaitdError
from gaitforge.bench.block import Block, Cores, run_block
from gaitforge.bundle.write import write_bundle
from gaitforge.common.family import cpu_s, memory_mb

CONFIG = """\
[daemon]
transport = "shm"
[guard]
deadline_periods = 20
state_max_age_periods = 5
[metrics]
address = "{directory}/metrics.sock"
[recorder]
directory = "{directory}/recordings"
{recorder}[realtime]
"""
"""Patient: how long it takes is measured, not whether a machine that stands still ends a session."""
START_S = 60.0


@dataclass(frozen=True)
class Daemon:
    """One that is ready."""

    runtime_dir: Path
    pid: int
    echo: Path
    """The built echo_bench."""
    arguments: Sequence[str] = ()
    """More for it: the robot's joints."""

    def status(self) -> dict[str, Any]:
        """gaitd's own. Raises UnreachableError."""
        with contextlib.closing(ControlClient(self.runtime_dir)) as client:
            return client.demand("status")

    def block(self, transport: str, rate_hz: float, count: int, core: int | None) -> Block:
        """One session. What was not answered is told apart by gaitd's own counters. Raises GaitdError."""
        before, began_s, began_cpu_s = self.status(), time.monotonic(), cpu_s(self.pid)
        role = ["gaitd", "--transport", transport, "--endpoint-dir", str(self.runtime_dir), *self.arguments]
        block, answered = run_block(
            self.echo, role, rate_hz, count, self.runtime_dir.with_suffix(".samples"), core
        )
        spent_s, wall_s = cpu_s(self.pid), time.monotonic() - began_s
        cpu = {name: (spent_s[name] - began_cpu_s.get(name, 0.0)) / wall_s for name in spent_s}
        return replace(judged(block, answered, before, self.status()), cpu=cpu)

    def memory_mb(self) -> float:
        """Of all its processes; shared pages count once."""
        return memory_mb(self.pid)


def judged(block: Block, answered: int, before: dict[str, Any], after: dict[str, Any]) -> Block:
    """The block, its unanswered states told apart by what gaitd's status says before it and after it."""

    def grown(name: str) -> int:
        return int(after["counters"][name] - before["counters"][name])

    refused = sum(after["refused"].values()) - sum(before["refused"].values())
    overtaken = max(0, grown("steps") - answered)  # the newest may be counted a moment after it was sent
    superseded = grown("superseded") + overtaken
    return replace(
        block,
        superseded=superseded,
        refused=refused,
        lost=block.published - answered - superseded - refused,
    )


@contextlib.contextmanager
def daemon(
    bundle: Path, directory: Path, echo: Path, log: IO[bytes], *, pinned: Cores | None, realtime: str = "",
    recorder: str = "", arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None,
) -> Iterator[Daemon]:  # fmt: skip
    """Run gaitd with all that it has switched on: guard, records, recorder, metrics.

    ``pinned``: its worker to the server's core, its guardian to the other one. ``realtime``, ``recorder``:
    more lines of those sections. ``arguments``: of echo_bench. Raises GaitdError when it does not get ready.
    """
    runtime_dir, config = directory / "gaitd", directory / "gaitd.toml"
    cpus = "" if pinned is None else f"worker_cpus = [{pinned.server}]\nguardian_cpus = [{pinned.client}]\n"
    config.write_text(CONFIG.format(directory=directory, recorder=recorder) + cpus + realtime)
    (directory / "recordings").mkdir(exist_ok=True)
    options = ["--config", str(config), "--runtime-dir", str(runtime_dir)]
    command = [sys.executable, "-m", "gaitd.cli", "run", "--bundle", str(bundle), *options]
    with process(command, log, environment) as running:
        found = Daemon(runtime_dir, running.pid, echo, arguments)
        _wait_ready(found, running)
        yield found


def _wait_ready(found: Daemon, running: subprocess.Popen[bytes]) -> None:
    until_s = time.monotonic() + START_S
    while True:
        with contextlib.suppress(GaitdError):
            if found.status()["worker"]["ready"]:
                return
        if running.poll() is not None or time.monotonic() > until_s:
            raise GaitdError(f"gaitd did not get ready within {START_S:g} s; see servers.log")
        time.sleep(0.05)


def at_rate(bundle: Path, rate_hz: float, target: Path) -> Path:
    """The same policy with another control period: its arithmetic takes as long, whatever it would do."""
    whole = open_bundle(bundle)
    manifest = yaml.safe_load(whole.files[MANIFEST])
    del manifest["files"]
    manifest["control_period_s"] = 1.0 / rate_hz
    files = {name: data for name, data in whole.files.items() if name != MANIFEST}
    return write_bundle(target, manifest, files)


@contextlib.contextmanager
def process(
    command: Sequence[str], log: IO[bytes] | int, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs meanwhile."""
    running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(20)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
