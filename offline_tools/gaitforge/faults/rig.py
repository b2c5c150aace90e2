"""The running processes as the faults see them: what a fault acts on, and what is observed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from gaitd.bundle.read import open_bundle
from gaitd.ctl.client import ControlClient
from gaitd.errors import GaitdError, UnreachableError
from gaitd.policy.action import ActionMapper, Kind
from gaitd.policy.bounds import TargetBounds
from gaitd.policy.joints import order_from
from gaitd.policy.manifest import Float32Array
from gaitd.shared.processes import STANDBY, WORKER
from gaitd.wire.codec import decode_command
from gaitd.wire.endpoints import Endpoints
from gaitd.wire.frame import WireError
from gaitd.wire.generated import CauseKind, Mode
from gaitd.wire.messages import JointCommand
from gaitforge.faults.orders import Orders
from gaitforge.faults.shared_memory import open_worker_memory
from gaitforge.faults.worker import ORDERS, orders_file
from gaitforge.simulate.body import from_mjcf, lite3
from gaitforge.simulate.direct import full_command
from gaitforge.stack.processes import Chain, Walk, last_words

SETTLE_S = 0.5
"""The robot walks this long before a fault."""
STAND_UP_S, STAND_UP_AGAIN_S = 1.2, 1.0
PATIENCE_S = 25.0
WORKER_NAMES = (WORKER.name, STANDBY.name)
STRAIGHT = Walk(seconds=1200.0, command="1,0,0")
"""Longer than any chain runs; the runner ends it."""
TOLERANCE = 1e-5
"""A target goes through float32 on its way."""
PINNED = """\
[realtime]
worker_cpus = [1]
guardian_cpus = [0]
"""


@dataclass(frozen=True)
class Setting:
    """How the chain is started for a group of faults."""

    name: str
    tampered: bool = False
    """With the proxy between controller and gaitd."""
    config: str = ""
    """gaitd.toml; {scratch} stands for a directory of the chain's own."""
    stance_s: float = 0.0
    """guard.stance_s: damping begins so much later."""
    transport: str = "zmq"
    """How states and commands travel."""


@dataclass
class GuardWatch:
    """The guardian's messages: the first of each mode and session."""

    directory: Path
    joints: int
    heard: list[JointCommand] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._context = zmq.Context()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def first_damping(self, since_ns: int) -> JointCommand | None:
        """The first message with DAMPING after a moment, by its own stamp."""
        for command in list(self.heard):
            if command.mode is Mode.DAMPING and command.publish_stamp_ns >= since_ns:
                return command
        return None

    def close(self) -> None:
        """Stop listening."""
        self._stop.set()
        self._thread.join()
        self._context.destroy(linger=0)

    def _run(self) -> None:
        socket = self._context.socket(zmq.SUB)
        socket.set(zmq.SUBSCRIBE, b"")
        socket.set(zmq.RECONNECT_IVL, 5)
        socket.connect(Endpoints.in_directory(self.directory).guard)
        before: tuple[Mode, int] | None = None
        while not self._stop.is_set():
            if not socket.poll(50):
                before = None  # silent: the next message is a new one, even if from another gaitd
                continue
            with contextlib.suppress(WireError):
                command = decode_command(socket.recv(), self.joints)
                if (command.mode, command.session) != before:
                    self.heard.append(command)
                before = (command.mode, command.session)


def _pid_in(status: dict[str, Any], name: str) -> int:
    return int(status[name]["pid"] if name in WORKER_NAMES else status[f"{name}_pid"])


class Rig:
    """One running chain; use as a context manager."""

    def __init__(
        self,
        bundle: Path,
        controller: Path,
        directory: Path,
        setting: Setting,
        walk: Walk = STRAIGHT,
        mjcf: Path | None = None,
    ) -> None:
        """``mjcf``: the robot's model; None: the Lite3's. Raises InputError when it does not fit."""
        self.setting = setting
        self.bundle = bundle
        self.directory = directory
        self.manifest = open_bundle(bundle).manifest
        self.period_ns = self.manifest.period_ns
        robot = lite3() if mjcf is None else from_mjcf(mjcf, self.manifest)
        self.stature = robot.stature
        self.full_command = full_command(self.manifest)
        """What a velocity command of 1 asks for: m/s, m/s, rad/s."""
        mapper = ActionMapper(self.manifest)
        bounds = TargetBounds.of(self.manifest, mapper)
        to_robot = order_from(self.manifest.joints, robot.joints)

        def allowed(kind: Kind) -> tuple[Float32Array, Float32Array]:
            follows = mapper.follow(kind)[to_robot]
            low, high = bounds.low[to_robot] - TOLERANCE, bounds.high[to_robot] + TOLERANCE
            return np.where(follows, low, -np.inf), np.where(follows, high, np.inf)

        self.position_range, self.velocity_range = allowed("position"), allowed("velocity")
        """What a joint's target may be, (n,) rad and rad/s each, in the robot's order; infinite for a joint
        that follows something else."""
        self.stiffness = float(mapper.stiffness.max())
        """Largest of the policy's, Nm/rad."""
        self._mjcf = mjcf
        self._controller = controller
        self._walk = walk
        self._attacks: list[subprocess.Popen[bytes]] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Rig:
        """Start everything and wait until the robot walks. Raises GaitdError."""
        with contextlib.ExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gaitd-")))
            place = scratch / "worker"
            self.orders = {name: Orders(orders_file(place, slot)) for slot, name in enumerate(WORKER_NAMES)}
            self.tamper_orders = Orders(scratch / "tamper")
            os.environ[ORDERS] = str(place)
            self.scratch = scratch
            """Temporary files of this chain."""
            config = self.setting.config.replace("{scratch}", str(scratch))
            self.recordings = scratch / "recordings"
            if "[recorder]" not in config:
                config += f'[recorder]\ndirectory = "{self.recordings}"\nafter_s = 2\nkeep = 1000\n'
            if self.setting.stance_s:
                config += f"[guard]\nstance_s = {self.setting.stance_s}\n"
            config += f'[daemon]\ntransport = "{self.setting.transport}"\n'
            (scratch / "gaitd.toml").write_text(config)
            self._outer = scratch / "proxy"
            lies_s = STAND_UP_AGAIN_S + self.setting.stance_s
            options = ["--stand-up", str(STAND_UP_S), "--stand-up-again", str(lies_s)]
            options += ["--seconds", str(self._walk.seconds), "--transport", self.setting.transport]
            if self.setting.tampered:
                options += ["--endpoint-dir", str(self._outer)]
            self.chain = Chain(
                bundle=self.bundle,
                controller=self._controller,
                directory=self.directory,
                walk=self._walk,
                gaitd_command=(sys.executable, "-m", "gaitforge.faults.daemon"),
                gaitd_options=("--config", str(scratch / "gaitd.toml")),
                controller_options=options,
                mjcf=self._mjcf,
                simulator_options=("--turn-over",),
            )
            stack.enter_context(self.chain)
            stack.callback(self.end_attacks)
            if self.setting.tampered:
                stack.enter_context(self._proxy(scratch))
            self.runtime_dir = self.chain.runtime_dir
            self.control = ControlClient(self.runtime_dir, timeout_s=0.5)
            stack.callback(self.control.close)
            self.watch = GuardWatch(self.runtime_dir, len(self.manifest.joints))
            stack.callback(self.watch.close)
            self.wait_walking()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # ---- observing ----

    def status(self) -> dict[str, Any] | None:
        """gaitd's status; None while gaitd does not answer."""
        try:
            return self.control.demand("status")
        except UnreachableError:
            return None

    def wait(
        self, condition: Callable[[dict[str, Any]], bool], what: str, timeout_s: float = PATIENCE_S
    ) -> dict[str, Any]:
        """Wait until gaitd's status satisfies the condition. Raises GaitdError naming ``what``.

        Also when the simulator has ended, which no fault does: then nothing more is to be seen.
        """
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            self.chain.check_alive("simulate")
            status = self.status()
            if status is not None and condition(status):
                return status
            time.sleep(0.02)
        said = last_words(self.directory, ("gaitd", "controller", "simulate"))
        raise GaitdError(f"{what} did not happen within {timeout_s:g} s: {said} (see {self.directory}/*.log)")

    def wait_walking(self) -> dict[str, Any]:
        """Wait until the robot has walked for SETTLE_S in one session, and every process is there."""
        self.known = self.wait(
            lambda status: (
                status["mode"] == "active"
                and status["mode_for_s"] >= SETTLE_S
                and min(status["worker"]["pid"], status["telemetry_pid"]) > 0
            ),
            "steady walking with worker and telemetry",
        )
        """gaitd's status before a fault."""
        return self.known

    def logged(self, words: str) -> int:
        """How often gaitd has logged it."""
        return (self.directory / "gaitd.log").read_text().count(words)

    def wait_logged(self, words: str, times: int) -> None:
        """Wait until gaitd has logged it so often. Raises GaitdError."""
        until_s = time.monotonic() + PATIENCE_S
        while self.logged(words) < times:
            if time.monotonic() > until_s:
                raise GaitdError(f"gaitd did not log {words!r} within {PATIENCE_S:g} s")
            time.sleep(0.02)

    def pid_of(self, name: str) -> int:
        """Process id of gaitd, worker or telemetry at this moment; 0 for none."""
        if name == "gaitd":
            return self.chain.pid(name)
        status = self.wait(lambda status: True, "an answer")
        return _pid_in(status, name)

    def accounts(self) -> dict[str, int]:
        """The worker's counters, from its memory."""
        with open_worker_memory(self.chain.pid("gaitd")) as memory:
            words = memory.words
            names = ("received", "standby", "steps", "superseded", "withheld", "missed")
            return {
                **{name: words[name] for name in names},
                "refused": sum(words.row("refused")),
                "foreign": words.row("refused")[CauseKind.FOREIGN_SESSION],
            }

    # ---- acting ----

    def pid(self, name: str) -> int:
        """Process id of worker, standby, telemetry, gaitd, controller or simulate."""
        if name in ("gaitd", "controller", "simulate"):
            return self.chain.pid(name)
        return _pid_in(self.known, name)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to one of the processes."""
        os.kill(self.pid(name), number)

    def run_backend(self, kind: str, *, of: str = "worker", **details: Any) -> None:
        """Order the backend of the worker, or of the standby, to misbehave."""
        self.orders[of].give(kind, **details)

    def tamper(self, kind: str, **details: Any) -> None:
        """Order the proxy to alter messages."""
        self.tamper_orders.give(kind, **details)

    def flood(self, endpoint: str, seconds: float) -> None:
        """Flood an endpoint from a process of its own."""
        command = [sys.executable, "-m", "gaitforge.faults.peers", str(self.runtime_dir), endpoint]
        subprocess.run([*command, "--seconds", str(seconds)], check=True, capture_output=True, timeout=60)

    def attack(self, kind: str, *, endpoint: str, count: int, seconds: float) -> None:
        """Begin an attack of gaitforge.faults.hogs; it ends after that time."""
        command = [sys.executable, "-m", "gaitforge.faults.hogs", str(self.runtime_dir), kind]
        options = ["--endpoint", endpoint, "--count", str(count), "--seconds", str(seconds)]
        self._attacks.append(subprocess.Popen([*command, *options], stdin=subprocess.DEVNULL))

    def end_attacks(self) -> None:
        """End what ``attack`` began."""
        for attack in self._attacks:
            attack.kill()
            attack.wait()
        self._attacks.clear()

    def stress(self, *arguments: str, seconds: int) -> None:
        """Load the machine. Raises GaitdError when stress-ng is not installed."""
        try:
            self._stress = subprocess.Popen(["stress-ng", "--quiet", *arguments, "--timeout", f"{seconds}s"])
        except FileNotFoundError:
            raise GaitdError("stress-ng is not installed: apt-get install stress-ng") from None

    def end_stress(self) -> None:
        """End the load."""
        self._stress.terminate()
        self._stress.wait()

    @contextlib.contextmanager
    def _proxy(self, scratch: Path) -> Iterator[None]:
        command: Sequence[str] = (
            sys.executable, "-m", "gaitforge.faults.tamper", str(self._outer), str(self.chain.runtime_dir),
            "--orders", str(scratch / "tamper"), "--joints", str(len(self.manifest.joints)),
            "--period-ns", str(self.period_ns),
        )  # fmt: skip
        with (self.directory / "proxy.log").open("wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.kill()
            process.wait()
