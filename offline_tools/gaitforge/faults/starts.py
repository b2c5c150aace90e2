"""Faults around gaitd's start and end, without a robot: what it says, and with which exit code."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from gaitd.bundle.read import open_bundle
from gaitd.ctl.client import ControlClient
from gaitd.errors import GaitdError, UnreachableError
from gaitd.shared.processes import WORKER_SLOT
from gaitd.wire.codec import decode_command
from gaitd.wire.endpoints import Endpoints
from gaitd.wire.generated import Mode
from gaitforge.faults.orders import Orders
from gaitforge.faults.worker import ORDERS, orders_file

PATIENCE_S = 60.0


@dataclass(frozen=True)
class Seen:
    """What a start fault showed."""

    reason: str
    outcome: str
    recovery: str
    periods: float = 0.0


@dataclass(frozen=True)
class StartFault:
    """One row of the table; ``run`` raises GaitdError when it was not met as it must be."""

    name: str
    run: Callable[[Scene], Seen]
    bound_periods: float = 0.0


class Scene:
    """Directories in which gaitd is started."""

    def __init__(self, bundle: Path, directory: Path) -> None:
        self.bundle = bundle
        self.directory = directory
        self.runtime_dir = directory / "run"
        self.period_ns = open_bundle(bundle).manifest.period_ns
        self.orders = Orders(orders_file(directory / "orders", WORKER_SLOT))
        os.environ[ORDERS] = str(directory / "orders")

    @contextlib.contextmanager
    def gaitd(
        self, *options: str, bundle: Path | None = None, wrap: Sequence[str] = (), faulty: bool = False
    ) -> Iterator[subprocess.Popen[str]]:
        """Run gaitd; its remaining processes are killed at the end."""
        module = "gaitforge.faults.daemon" if faulty else "gaitd.cli"
        command = [*wrap, sys.executable, "-m", module, "run", "--bundle", str(bundle or self.bundle)]
        command += ["--runtime-dir", str(self.runtime_dir), *options]
        if "--config" not in options:
            command += ["--config", os.devnull]  # however this machine's own gaitd is configured
        if "--metrics-port" not in options:
            command += ["--metrics-port", "0"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def wait_ready(self) -> dict[str, Any]:
        """Wait for a ready worker."""
        return self.wait(lambda status: bool(status["worker"]["ready"]))

    def wait(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until gaitd's status satisfies the condition."""
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            with contextlib.suppress(UnreachableError), ControlClient(self.runtime_dir, 0.5) as client:
                status = client.demand("status")
                if condition(status):
                    return status
            time.sleep(0.02)
        raise GaitdError(f"gaitd did not reach that status within {PATIENCE_S:g} s")

    def demand(self, name: str, **body: Any) -> dict[str, Any]:
        """Ask gaitd on the control channel."""
        with ControlClient(self.runtime_dir) as client:
            return client.demand(name, **body)


def run_start_fault(fault: StartFault, bundle: Path, output: Path) -> dict[str, Any]:
    """Run one, as a row of the table."""
    with tempfile.TemporaryDirectory(prefix="gaitd-") as scratch:
        try:
            seen, misses = fault.run(Scene(bundle, Path(scratch))), []
        except (GaitdError, OSError, subprocess.SubprocessError) as error:
            seen, misses = Seen("-", "-", "-"), [f"{type(error).__name__}: {error}"]
    if not seen.periods <= fault.bound_periods:
        misses.append(f"{seen.periods:.2f} periods")
    return {
        "fault": fault.name,
        "reason": seen.reason,
        "periods_median": round(seen.periods, 2),
        "periods_max": round(seen.periods, 2),
        "bound_periods": fault.bound_periods,
        "outcome": seen.outcome,
        "recovery": seen.recovery,
        "explained": "-",
        "ok": not misses,
        "misses": misses,
    }


def _expect_end(process: subprocess.Popen[str], code: int, pattern: str) -> str:
    """Wait for the end; returns the last line that matches. Raises GaitdError when it is another end."""
    _, text = process.communicate(timeout=PATIENCE_S)
    found = re.findall(f".*{pattern}.*", text)
    if process.returncode != code or not found:
        last = (text.strip().splitlines() or ["no word"])[-1]
        raise GaitdError(f"exit code {process.returncode}, expected {code} and {pattern!r}: {last}")
    return str(found[-1])


def _read_only(scene: Scene) -> Seen:
    """The runtime directory is on a read-only file system."""
    mount = 'mkdir -p "$0" && mount -t tmpfs -o ro,mode=750 tmpfs "$0" && exec "$@"'
    with scene.gaitd(wrap=("unshare", "-m", "sh", "-c", mount, str(scene.runtime_dir))) as gaitd:
        _expect_end(gaitd, 7, "Read-only file system")
    return Seen("exit code 7", "does not start, names the cause", "the service manager tries again")


def _closed_descriptors(scene: Scene) -> Seen:
    """Standard input and output are closed: no memory file may take their numbers."""
    with scene.gaitd(wrap=("sh", "-c", 'exec "$@" 0<&- 1>&-', "sh")):
        pid = scene.wait_ready()["worker"]["pid"]
        for number in range(3):
            if not Path(f"/proc/{pid}/fd/{number}").is_symlink():
                raise GaitdError(f"the worker has no descriptor {number}")
        os.kill(pid, signal.SIGKILL)
        scene.wait(lambda now: now["worker"]["ready"] and now["worker"]["pid"] != pid)
    return Seen("none", "/dev/null in their place", "none needed")


def _orphan(scene: Scene) -> Seen:
    """gaitd is killed while its worker starts; that worker goes on when another gaitd is there."""
    with scene.gaitd() as gaitd:
        worker = _descendant_of(gaitd.pid, "gaitd.worker.main")
        os.kill(worker, signal.SIGSTOP)
    with scene.gaitd():
        scene.wait_ready()
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGCONT)
        until_s = time.monotonic() + PATIENCE_S
        while Path(f"/proc/{worker}/exe").is_symlink():
            if time.monotonic() > until_s:
                raise GaitdError("the orphan lives on")
            time.sleep(0.01)
        if not scene.demand("status")["worker"]["ready"]:
            raise GaitdError("the orphan has disturbed the new worker")
    return Seen("none", "the orphan ends at once, touching nothing", "none needed")


def _descendants(parent: int) -> Iterator[int]:
    for children in Path(f"/proc/{parent}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for child in map(int, children.read_text().split()):
                yield child
                yield from _descendants(child)


def _descendant_of(parent: int, module: str) -> int:
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        for child in _descendants(parent):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if module.encode() in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                    return child
        time.sleep(0.001)
    raise GaitdError(f"no process runs {module}")


def _port_taken(scene: Scene) -> Seen:
    """Another program has the metrics port; gaitd runs without metrics until the port is free."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with scene.gaitd("--metrics-port", str(port)):
            scene.wait_ready()
            other.close()
            until_s = time.monotonic() + PATIENCE_S
            while time.monotonic() < until_s:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    return Seen("logged", "runs without metrics", "metrics come when the port is free")
                time.sleep(0.1)
    raise GaitdError("the metrics never came")


def _sigterm(mode: Mode) -> Callable[[Scene], Seen]:
    def run(scene: Scene) -> Seen:
        with scene.gaitd() as gaitd, zmq.Context() as context:
            scene.wait_ready()
            if mode is Mode.DAMPING:
                scene.demand("damp", session=0, reason=10, detail="test")
            socket = context.socket(zmq.SUB)
            socket.set(zmq.SUBSCRIBE, b"")
            socket.set(zmq.LINGER, 0)
            socket.connect(Endpoints.in_directory(scene.runtime_dir).guard)
            if not socket.poll(2000):
                raise GaitdError("the guardian sends nothing")
            asked_ns = time.monotonic_ns()
            gaitd.send_signal(signal.SIGTERM)
            periods, reason = float("nan"), ""
            while socket.poll(500):
                command = decode_command(socket.recv(), 12)
                if command.mode is Mode.DAMPING and command.publish_stamp_ns >= asked_ns:
                    periods = (command.publish_stamp_ns - asked_ns) / scene.period_ns
                    reason = command.reason.name.lower()
                    break
            socket.close()
            if not reason:
                raise GaitdError("the guardian sent no damping")
            _expect_end(gaitd, 0, "stopped")
        return Seen(reason, "damping is sent, exit code 0", "start again", periods)

    return run


def _bundle_changed(scene: Scene) -> Seen:
    """The bundle's file is replaced while gaitd runs: no worker loads the new one."""
    mine = scene.directory / "mine.gaitd"
    shutil.copy(scene.bundle, mine)
    with scene.gaitd(bundle=mine) as gaitd:
        pid = scene.wait_ready()["worker"]["pid"]
        mine.write_bytes(b"not a bundle")
        time.sleep(0.3)
        if scene.demand("status")["worker"]["pid"] != pid:
            raise GaitdError("the worker changed with the file")
        os.kill(pid, signal.SIGKILL)
        status = scene.wait(lambda now: now["worker"]["starts"] >= 3)
        if status["worker"]["ready"]:
            raise GaitdError("a worker loaded the changed file")
        gaitd.send_signal(signal.SIGTERM)
        _expect_end(gaitd, 0, "mine.gaitd: damaged")
    return Seen("logged", "runs on; a new worker refuses the changed file", "restore the bundle")


def _config_changed(scene: Scene) -> Seen:
    """The configuration becomes invalid while gaitd runs: it is read at the start only."""
    config = scene.directory / "gaitd.toml"
    config.write_text("[guard]\ndeadline_periods = 5.0\n")
    with scene.gaitd("--config", str(config)):
        status = scene.wait_ready()
        config.write_text("not valid toml")
        os.kill(status["worker"]["pid"], signal.SIGKILL)
        scene.wait(lambda now: now["worker"]["ready"] and now["worker"]["starts"] > 1)
    return Seen("none", "runs on, with a fresh worker too", "none needed")


def _crash_loop(scene: Scene) -> Seen:
    """Every new worker fails its self-test: increasing delays, then the service manager restarts gaitd."""
    with scene.gaitd(faulty=True) as gaitd:
        status = scene.wait_ready()
        began_s = time.monotonic()
        os.kill(status["worker"]["pid"], signal.SIGKILL)
        while gaitd.poll() is None:
            scene.orders.give("crash", how="exit")
            time.sleep(0.005)
            if time.monotonic() > began_s + PATIENCE_S:
                raise GaitdError("gaitd does not give up")
        _expect_end(gaitd, 6, "times in a row")
    took_s = time.monotonic() - began_s
    return Seen("exit code 6", f"gives up after 10 deaths, {took_s:.0f} s", "the service manager starts it")


def _hang_at_idle(scene: Scene) -> Seen:
    """A warm-up run of the model hangs without a session: the worker is replaced."""
    with scene.gaitd(faulty=True):
        first = scene.wait_ready()
        began_s = time.monotonic()
        scene.orders.give("hang", runs=1, seconds=1e6, holding_lock=True)
        scene.wait(lambda now: now["worker"]["ready"] and now["worker"]["starts"] > first["worker"]["starts"])
        took_s = time.monotonic() - began_s
    return Seen("heartbeat stopped", "stays idle", f"fresh worker in {took_s:.1f} s")


START_FAULTS = (
    StartFault("/run read-only at start", _read_only),
    StartFault("standard descriptors closed, then the worker dies", _closed_descriptors),
    StartFault("gaitd killed while its worker starts", _orphan),
    StartFault("metrics port taken", _port_taken),
    StartFault("SIGTERM in idle", _sigterm(Mode.IDLE), 1.0),
    StartFault("SIGTERM in damping", _sigterm(Mode.DAMPING), 1.5),
    StartFault("bundle replaced while running, then the worker dies", _bundle_changed),
    StartFault("configuration changed while running, then the worker dies", _config_changed),
    StartFault("every new worker dies", _crash_loop),
    StartFault("inference hangs without a session", _hang_at_idle),
)
