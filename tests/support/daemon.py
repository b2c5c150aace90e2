"""A real gaitd in a process of its own, and what the service manager would hear from it."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from prometheus_client.parser import text_string_to_metric_families

from gaitd.ctl.client import ControlClient
from support.controller import Controller

START_S = 30.0
PATIENT = """
[guard]
deadline_periods = 20
state_max_age_periods = 5
first_command_s = 5
"""
"""The longest times that may be set: a busy machine holds up the test's controller, too."""

CONSTANT_LABELS = ("robot", "policy")
"""What every sample of one gaitd has, and tests leave out."""
T = TypeVar("T")


def wait_until(condition: Callable[[], T], timeout_s: float = 10.0, what: str = "the condition") -> T:
    """The condition's first true value. Fails when it does not come in time."""
    until_s = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < until_s, f"{what} did not come within {timeout_s} s"
        time.sleep(0.005)


def wait_walking(
    step: Callable[[], object],
    condition: Callable[[], object],
    timeout_s: float = 10.0,
    what: str = "the condition",
) -> None:
    """Take step after step while another thread waits for the condition.

    Who waits without sending states is damped when an answer takes as long as states may stay away.
    """
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait_until, condition, timeout_s, what)
        while not waiting.done():
            step()
        waiting.result()


def scrape(address: Path | int) -> str:
    """The metrics page at a Unix socket or a TCP port of this machine."""
    status, page = ask_metrics(address, "GET")
    assert status == 200
    return page


def ask_metrics(address: Path | int, method: str) -> tuple[int, str]:
    """Status and page that a request of that method gets."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", address if isinstance(address, int) else None, timeout=5
    )
    if isinstance(address, Path):
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(address))
    connection.request(method, "/metrics")
    response = connection.getresponse()
    page = response.read().decode()
    connection.close()
    return response.status, page


def samples(page: str) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            constant = sample.name != "gaitd_info"
            own = {
                name: value
                for name, value in sample.labels.items()
                if not constant or name not in CONSTANT_LABELS
            }
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(own.items()))
            found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


class Gaitd:
    """``gaitd run`` on a bundle, with a runtime directory and a notify socket of its own.

    Metrics are served at a Unix socket, so that several may run. ``fault``: the worker's backend can be
    told to misbehave (see support.faulty_worker). ``module``: what runs in place
    of gaitd.cli. ``process``: more that subprocess.Popen is told.
    """

    def __init__(
        self,
        bundle: Path,
        *options: str,
        runtime_dir: Path | None = None,
        config: str = "",
        fault: bool = False,
        module: str = "gaitd.cli",
        managed: bool = True,
        process: Mapping[str, Any] | None = None,
    ) -> None:
        """``managed``: by a service manager; gaitd then waits before it ends where something is refused."""
        # Unix socket paths are short: not under pytest's own directory.
        self._scratch = Path(tempfile.mkdtemp(prefix="gaitd-test-"))
        self.runtime_dir = runtime_dir or self._scratch / "run"
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(self._scratch / "notify"))
        self.notified: list[str] = []
        self._fault = self._scratch / "fault"
        config_file = self._scratch / "gaitd.toml"
        self.metrics_socket = self._scratch / "metrics.sock"
        if "[metrics]" not in config:
            config += f'\n[metrics]\naddress = "{self.metrics_socket}"\n'
        config_file.write_text(config)
        self._log = (self._scratch / "log").open("w+b")
        paths = [
            "--bundle",
            str(bundle),
            "--config",
            str(config_file),
            "--runtime-dir",
            str(self.runtime_dir),
        ]
        manager = {"NOTIFY_SOCKET": str(self._scratch / "notify"), "WATCHDOG_USEC": "400000"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "support.faulty_gaitd" if fault else module, "run", *paths, *options],
            **{"stderr": self._log, **(process or {})},
            env={**os.environ, **(manager if managed else {}), "GAITD_TEST_FAULT": str(self._fault)},
        )
        self._controllers: list[Controller] = []

    def read_notified(self) -> list[str]:
        """Everything that was said to the service manager so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.notified += self._notify.recv(4096, socket.MSG_DONTWAIT).decode().splitlines()
        return self.notified

    def wait_ready(self) -> Gaitd:
        def ready() -> bool:
            assert self.process.poll() is None, f"gaitd ended with {self.process.returncode}: {self.log}"
            return "READY=1" in self.read_notified()

        wait_until(ready, START_S, "READY=1")
        return self

    @property
    def log(self) -> str:
        return (self._scratch / "log").read_text()

    def status(self) -> dict[str, Any]:
        with ControlClient(self.runtime_dir, timeout_s=5.0) as client:
            return client.demand("status")

    def worker_pid(self) -> int:
        return int(self.status()["worker"]["pid"])

    def wait_worker(self, *, other_than: int = 0) -> int:
        """Process id of a worker that is ready."""

        def fresh() -> int:
            worker = self.status()["worker"]
            return int(worker["pid"]) if worker["ready"] and worker["pid"] != other_than else 0

        return wait_until(fresh, START_S, "a ready worker")

    def set_fault(self, name: str) -> None:
        """Have the backend misbehave as the fake of that name; "" for honest."""
        scratch = self._fault.with_suffix(".new")
        scratch.write_text(name)
        scratch.replace(self._fault)

    def metrics(self) -> dict[str, float]:
        """Every sample by name and labels, as in ``gaitd_damping_total{reason="deadline"}``."""

        def page() -> str:
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):  # not listening yet
                return scrape(self.metrics_socket)
            return ""

        return samples(wait_until(page, START_S, "the metrics socket"))

    def controller(self, **options: Any) -> Controller:
        """A controller that has said hello and whose sockets are connected; no session may be running."""
        controller = self.connect(**options)
        controller.hello()
        controller.settle()
        return controller

    def connect(self, **options: Any) -> Controller:
        """A controller that has said nothing yet."""
        controller = Controller(self.runtime_dir, **{"joints": ["hip", "thigh", "knee"], **options})
        self._controllers.append(controller)
        return controller

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(5)

    def __enter__(self) -> Gaitd:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for controller in self._controllers:
            controller.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if kind is not None:
            print(self.log, file=sys.stderr)
        self._notify.close()
        self._log.close()
        shutil.rmtree(self._scratch)
