"""gaitctl selftest: the golden vectors through the configured backend, and how long it takes."""

from __future__ import annotations

import argparse
import json
from typing import Any

from gaitd.backends import choose_backend, open_backend
from gaitd.backends.selftest import run_selftest
from gaitd.ctl import latency, robot


def add_parser(commands: Any) -> None:
    """Add the command to gaitctl."""
    parser = commands.add_parser("selftest", help="accuracy and latency of a policy on this robot")
    robot.add_options(parser)
    parser.add_argument("--backend", choices=("auto", "onnx", "rknn"), help="default: as configured")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    robot.refuse_while_walking(options, "a self-test would disturb it")
    config, bundle = robot.read_config(options), robot.read_bundle(options)
    name = choose_backend(options.backend or config.daemon.backend, bundle)
    golden = bundle.manifest.golden
    tolerance = golden.rknn_tolerance if name == "rknn" else golden.onnx_tolerance
    backend = open_backend(name, bundle, config.daemon.npu_core)
    try:
        result = run_selftest(backend, bundle, tolerance)
        missing = robot.become_worker(config)
        durations = latency.measure(backend, bundle, options.seconds)
        versions = backend.versions()
    finally:
        backend.close()
    report = {
        "policy": bundle.id,
        "backend": name,
        "versions": versions,
        "golden_vectors": result.count,
        "max_error": result.max_error,
        "tolerance": result.tolerance,
        "latency": latency.summary(durations),
        "missing_realtime": missing,
    }
    if options.json:
        print(json.dumps(report, indent=2))
        return 0
    manifest = bundle.manifest
    print(f"{manifest.name} {manifest.version} ({bundle.policy_id}) on {name} {' '.join(versions.values())}")
    error = f"largest error {result.max_error:.3g}, allowed {result.tolerance:.3g}"
    print(f"golden vectors  {result.count}, {error}")
    print(f"inference       {latency.in_words(durations)}, every {manifest.control_period_s * 1000:g} ms")
    print(latency.histogram(durations))
    for text in missing:
        print(f"not available: {text}")
    return 0
