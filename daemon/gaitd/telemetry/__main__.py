"""The telemetry process: feeds the histograms, serves Prometheus, and is the flight recorder."""

from __future__ import annotations

import signal
import sys
import threading

import msgspec
from prometheus_client import CollectorRegistry

from gaitd.blackboard import Blackboard
from gaitd.errors import GaitdError
from gaitd.realtime import die_with_parent, name_process, use_all_cpus
from gaitd.telemetry.endpoint import serve_metrics
from gaitd.telemetry.metrics import BlackboardCollector, StepHistograms
from gaitd.telemetry.order import TelemetryOrder
from gaitd.telemetry.recorder import FlightRecorder

FEED_S = 0.1


def main() -> int:
    """Entry point of the telemetry process."""
    die_with_parent()
    name_process("gaitd-telemetry")
    done = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    use_all_cpus()
    order = msgspec.json.decode(sys.argv[1], type=TelemetryOrder)
    board = Blackboard.attach(order.blackboard_fd)
    recorder = FlightRecorder(board, order) if order.recorder.wanted else None
    if recorder is not None:
        signal.signal(signal.SIGUSR1, lambda *_: recorder.request())
    registry = CollectorRegistry()
    histograms = StepHistograms(registry, order.period_s)
    registry.register(BlackboardCollector(board, order))
    if order.metrics.enabled:
        try:
            serve_metrics(order.metrics, registry)
        except GaitdError as error:
            print(f"gaitd-telemetry: {error}", file=sys.stderr)
            return error.exit_code
    index = 0
    while not done.wait(FEED_S):
        index = histograms.feed(board, index)
        if recorder is not None:
            recorder.look()
    if recorder is not None:
        recorder.finish()
    return 0


if __name__ == "__main__":
    sys.exit(main())
