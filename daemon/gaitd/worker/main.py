"""The worker process: loads the policy, proves it, then answers states once a control period.

Started by the supervisor and disposable at any moment. It writes what it does on the blackboard and
publishes commands; it decides nothing about modes.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import zmq

from gaitd.backends import BackendName, open_backend
from gaitd.backends.base import Backend
from gaitd.backends.selftest import run_selftest
from gaitd.bundle.read import Bundle, open_bundle
from gaitd.errors import GaitdError, InputError
from gaitd.policy.admission import AdmissionLimits, Refusal
from gaitd.shared.blackboard import Blackboard, SessionSetup
from gaitd.shared.lifeline import hold_lifeline
from gaitd.system.access import Doors
from gaitd.system.config import Config
from gaitd.system.realtime import (
    apply_realtime,
    die_with_parent,
    freeze_garbage,
    may_use_fifo,
    name_process,
    realtime_context,
    use_all_cpus,
)
from gaitd.wire.codec import decode_either
from gaitd.wire.contract import MAX_MESSAGE_BYTES
from gaitd.wire.frame import WireError
from gaitd.worker.runner import RehearsalBackend, SessionRunner

MAX_DRAIN = 64
"""Messages taken in one wake-up: a flood must not keep the loop from answering."""
STATE_QUEUE = 128
"""States that wait while the worker is busy; far more than may still be answered."""


class WorkerOrder(msgspec.Struct, frozen=True):
    """What the supervisor tells a worker at its start, as one JSON argument."""

    bundle: str
    bundle_id: str
    backend: BackendName
    blackboard_fd: int
    report_fd: int
    config: Config


class WorkerReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """The worker's one line to the supervisor: it is ready, or why it cannot be."""

    error: str = ""
    exit_code: int = 0
    backend: str = ""
    versions: dict[str, str] = {}
    selftest: dict[str, float] = {}
    realtime: dict[str, str] = {}
    """Settings that could not be had, with the mend."""


class Worker:
    """Sockets and loop around the session runners."""

    def __init__(self, bundle: Bundle, backend: Backend, board: Blackboard, config: Config) -> None:
        """Bind the endpoints: from here on, controllers reach this worker. Raises InputError."""
        self._bundle = bundle
        self._backend = backend
        self._board = board
        self._words = board.worker
        self._observation_dim = bundle.pipeline().builder.dim
        self._period_ns = period_ns = round(bundle.manifest.control_period_s * 1e9)
        self._deadline_ns = round(period_ns * config.guard.deadline_periods)
        self._limits = AdmissionLimits(max_age_ns=round(period_ns * config.guard.state_max_age_periods))
        realtime = config.realtime
        hurries = realtime.enabled and may_use_fifo()
        self._anticipate_ns = min(round(realtime.anticipate_ms * 1e6), period_ns // 4) if hurries else 0
        self._keep_warm_ns = round(config.daemon.keep_warm_s * 1e9)
        self._warmed_ns = time.monotonic_ns()
        self._runner: SessionRunner | None = None
        self._expected: tuple[int, bytes] | None = None
        """When the next state is due, and the one before it."""
        self._stopping = False
        self._context = realtime_context(realtime, realtime.worker_priority)
        self._doors = Doors(self._context, config)
        self._states = self._socket(zmq.SUB, "state")
        self._states.set(zmq.SUBSCRIBE, b"")
        self._states.set(zmq.RCVTIMEO, max(1, period_ns // 1_000_000))
        self._commands = self._socket(zmq.PUB, "command")

    def stop(self, *_: object) -> None:
        """End after the step under way (a signal handler)."""
        self._stopping = True

    def run(self) -> None:
        """Answer states until stopped."""
        while not self._stopping:
            self._doors.admit()
            frame = self._receive()
            received_ns = time.monotonic_ns()
            self._words["heartbeat_ns"] = received_ns
            self._follow_session()
            self._drain(frame)
            if self._runner is None:
                self._keep_warm()
                continue
            command = self._runner.answer()
            if command is not None:
                self._commands.send(command, zmq.DONTWAIT)
                self._runner.published()
                if frame is not None:
                    self._expected = (received_ns + self._period_ns, frame)
                gc.collect(0)  # automatic collection is off; here there is slack
            self._words["heartbeat_ns"] = time.monotonic_ns()

    def close(self) -> None:
        """Free sockets and model."""
        self._context.destroy(linger=0)
        self._backend.close()

    def _socket(self, kind: int, channel: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        socket.set(zmq.RCVHWM, STATE_QUEUE)
        self._doors.open(socket, channel)
        return socket

    def _receive(self) -> bytes | None:
        """The next message, or None when none came for a period.

        Shortly before it is due, the last step is gone through again, so that code and data lie in the
        caches, and the wait goes on without sleeping: a cold start costs twice the hot step.
        """
        expected, self._expected = self._expected, None
        if expected is not None and self._anticipate_ns:
            due_ns, last_frame = expected
            asleep_s = (due_ns - self._anticipate_ns - time.monotonic_ns()) / 1e9
            # The descriptor tells that something came, not what: a second look is needed either way.
            if asleep_s > 0 and not select.select([self._states.FD], [], [], asleep_s)[0]:
                self._understudy.rehearse(last_frame)
                until_ns = due_ns + self._anticipate_ns // 4
                while not self._has_message() and time.monotonic_ns() < until_ns:
                    pass
        try:
            return self._states.recv()
        except zmq.Again:
            return None

    def _has_message(self) -> bool:
        return bool(int(self._states.get(zmq.EVENTS)) & zmq.POLLIN)

    def _follow_session(self) -> None:
        """Take up the session that the guardian has active, if any."""
        active = self._board.guard["active_session"]
        if active == (self._runner.session if self._runner is not None else 0):
            return
        setup = self._board.read_session(active) if active else None
        self._runner = self._expected = None
        if setup is not None:
            scratch = Blackboard.create(self._board.joint_count)
            self._understudy = self._make_runner(setup, scratch, RehearsalBackend(self._backend))
            self._runner = self._make_runner(setup, self._board, self._backend)

    def _make_runner(self, setup: SessionSetup, board: Blackboard, backend: Backend) -> SessionRunner:
        return SessionRunner(self._bundle, backend, board, setup, self._limits, self._deadline_ns)

    def _drain(self, frame: bytes | None) -> None:
        taken = 0
        while frame is not None:
            if self._runner is not None:
                self._runner.take(frame, time.monotonic_ns())
            else:
                self._count_standby(frame)
            taken += 1
            more = taken < MAX_DRAIN and self._has_message()
            frame = self._states.recv(zmq.DONTWAIT) if more else None

    def _count_standby(self, frame: bytes) -> None:
        self._words["received"] += 1
        try:
            session = decode_either(frame, self._observation_dim, self._board.joint_count).session
        except WireError:
            self._words.row("refused")[Refusal.MALFORMED] += 1
            return
        if session == 0:
            self._words["standby"] += 1
        else:
            self._words.row("refused")[Refusal.FOREIGN_SESSION] += 1

    def _keep_warm(self) -> None:
        now_ns = time.monotonic_ns()
        if now_ns - self._warmed_ns < self._keep_warm_ns:
            return
        self._warmed_ns = now_ns
        self._words["busy_since_ns"] = now_ns
        self._backend.infer(np.zeros(self._observation_dim, np.float32))
        self._words["busy_since_ns"] = 0


def start(order: WorkerOrder, board: Blackboard) -> tuple[Worker, WorkerReport]:
    """Load and prove the policy, then take the endpoints. Raises GaitdError."""
    bundle = open_bundle(Path(order.bundle))
    if bundle.id != order.bundle_id:
        raise InputError(f"{order.bundle}: the bundle was changed since gaitd started; restart gaitd")
    config = order.config
    golden = bundle.manifest.golden
    tolerance = golden.rknn_tolerance if order.backend == "rknn" else golden.onnx_tolerance
    backend = open_backend(order.backend, bundle, config.daemon.npu_core)
    selftest = run_selftest(backend, bundle, tolerance)
    worker = Worker(bundle, backend, board, config)
    realtime = config.realtime
    settings = apply_realtime(realtime, realtime.worker_cpus, realtime.worker_priority)
    return worker, WorkerReport(
        backend=order.backend,
        versions=backend.versions(),
        selftest={
            "count": selftest.count,
            "max_error": selftest.max_error,
            "tolerance": selftest.tolerance,
            "median_us": selftest.median_us,
        },
        realtime={setting.name: setting.detail for setting in settings if not setting.ok},
    )


def main() -> int:
    """Entry point of the worker process."""
    die_with_parent()
    name_process("gaitd-worker")
    use_all_cpus()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
    order = msgspec.json.decode(sys.argv[1], type=WorkerOrder)
    board = Blackboard.attach(order.blackboard_fd)
    hold_lifeline(board.lifeline)
    with os.fdopen(order.report_fd, "wb") as report_pipe:

        def report(message: WorkerReport) -> None:
            report_pipe.write(msgspec.json.encode(message) + b"\n")
            report_pipe.flush()

        try:
            worker, ready = start(order, board)
        except GaitdError as error:
            report(WorkerReport(error=str(error), exit_code=error.exit_code))
            return error.exit_code
        signal.signal(signal.SIGTERM, worker.stop)
        freeze_garbage()
        report(ready)
    try:
        worker.run()
    except GaitdError as error:
        print(f"gaitd-worker: {error}", file=sys.stderr)
        return error.exit_code
    finally:
        worker.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
