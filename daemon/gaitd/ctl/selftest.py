"""gaitctl selftest: the golden vectors through the configured backend, and how long it takes."""

from __future__ import annotations

import argparse
import json
import statistics
from typing import Any, get_args

from gaitd.backends import BackendName, WantedBackend, backends_to_try, golden_tolerance, open_backend
from gaitd.backends.encoder import EncoderModel, time_encoder
from gaitd.backends.selftest import run_selftest
from gaitd.bundle.read import Bundle
from gaitd.ctl import compare, latency, robot
from gaitd.errors import GaitdError
from gaitd.policy.encoder import encoded
from gaitd.system.command_line import tell
from gaitd.system.config import Config

ENCODER_RUNS = 20
"""Of each encoder, on a frame of zeros."""


def add_parser(commands: Any) -> None:
    """Add the command to gaitctl."""
    parser = commands.add_parser("selftest", help="accuracy and latency of a policy on this robot")
    robot.add_options(parser)
    parser.add_argument("--backend", choices=get_args(WantedBackend), help="default: as configured")
    parser.add_argument(
        "--compare", action="store_true", help="all backends side by side: error, difference, time, memory"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    robot.refuse_while_walking(options, "a self-test would disturb it")
    config, bundle = robot.read_config(options), robot.read_bundle(options)
    if options.compare:
        report = compare.measure(bundle, config, options.seconds)
        print(json.dumps(report, indent=2) if options.json else compare.in_words(report))
        return 0
    report, durations = test(options.backend or config.daemon.backend, bundle, config, options.seconds)
    if options.json:
        print(json.dumps(report, indent=2))
        return 0
    manifest = bundle.manifest
    versions = " ".join(report["versions"].values())
    print(f"{manifest.name} {manifest.version} ({bundle.policy_id}) on {report['backend']} {versions}")
    error = f"largest error {report['max_error']:.3g}, allowed {report['tolerance']:.3g}"
    print(f"golden vectors  {report['golden_vectors']}, {error}")
    print(f"inference       {latency.in_words(durations)}, every {manifest.control_period_s * 1000:g} ms")
    if memory := report["npu_memory_bytes"]:
        told = ", ".join(f"{kind} {size / 1024:.1f} KiB" for kind, size in memory.items())
        budget = manifest.npu_memory_kib
        print(f"NPU memory      {told}" + (f"; allowed {budget:g} KiB" if budget is not None else ""))
    for stream, median_s in report["encoders"].items():
        print(f"encoder         {stream}: {median_s * 1000:.2f} ms, half of its runs, on the CPU")
    print(latency.histogram(durations))
    for text in report["missing_realtime"]:
        print(f"not available: {text}")
    return 0


def test(
    wanted: WantedBackend, bundle: Bundle, config: Config, seconds: float
) -> tuple[dict[str, Any], latency.Durations]:
    """The report, and each inference's duration. As gaitd does, auto falls back, with a warning.

    Raises GaitdError when a backend is not available, fails, or is too far from the golden actions.
    """
    *first, last = backends_to_try(wanted, bundle)
    fallback = ""
    for name in first:
        try:
            return _test(name, bundle, config, seconds, "")
        except GaitdError as error:
            fallback = f"{name} does not work here: {error}"
            tell(f"WARNING: {fallback}; gaitd would run the policy on the CPU")
    return _test(last, bundle, config, seconds, fallback)


def _test(
    name: BackendName, bundle: Bundle, config: Config, seconds: float, fallback: str
) -> tuple[dict[str, Any], latency.Durations]:
    backend = open_backend(name, bundle, config.daemon.npu_core)
    try:
        result = run_selftest(backend, bundle, golden_tolerance(name, bundle))
        missing = robot.become_worker(config)
        durations = latency.measure(backend, bundle, seconds)
        versions, memory = backend.versions(), backend.memory()
    finally:
        backend.close()
    encoders = {
        stream.name: statistics.median(
            time_encoder(EncoderModel(bundle, stream, encoder), encoder, ENCODER_RUNS)
        )
        for stream, encoder in encoded(bundle.manifest.streams)
    }
    report = {
        "policy": bundle.id,
        "backend": name,
        "fallback": fallback,
        "versions": versions,
        "npu_memory_bytes": memory,
        "golden_vectors": result.count,
        "max_error": result.max_error,
        "tolerance": result.tolerance,
        "latency": latency.summary(durations),
        "encoders": encoders,
        "missing_realtime": missing,
    }
    return report, durations
