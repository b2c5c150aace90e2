"""gaitctl report: what a person sends after trying a board, in one file without secrets."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

import gaitd
from gaitd.backends.rknn_host import RknnHost
from gaitd.bundle.read import Bundle
from gaitd.ctl import bench, compare, report_words, robot
from gaitd.ctl.check import System
from gaitd.ctl.client import read_status
from gaitd.ctl.doctor import as_map, examine
from gaitd.ctl.redact import redact
from gaitd.ctl.rehearse import table as rehearsal
from gaitd.errors import GaitdError, InputError
from gaitd.system.command_line import confirm
from gaitd.system.config import Config
from gaitd.system.plain_file import read_plain

FORMAT = "gaitd report 1"
MAX_BYTES = 16 * 1024 * 1024
"""Of a report or rehearsal; they have some 100 kB."""
PACKAGES = ("numpy", "onnxruntime", "pyzmq", "rknn-toolkit-lite2")
PRIVATE_SECTIONS = ("network",)
"""Of gaitd.toml: only whether they differ from the defaults is told."""


def add_parser(commands: Any) -> None:
    """Add the command to gaitctl."""
    parser = commands.add_parser("report", help="one file about this board, without secrets; or show some")
    robot.add_options(parser)
    parser.add_argument("--output", type=Path, default=Path("gaitd-report.json"), help="default: %(default)s")
    parser.add_argument("--rehearsal", type=Path, help="the JSON file that gaitctl rehearse wrote")
    parser.add_argument("--no-bench", action="store_true", help="leave out the bench, which takes longest")
    parser.add_argument("--show", type=Path, nargs="+", metavar="FILE", help="show reports side by side")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    if options.show:
        print(report_words.side_by_side([read_report(path) for path in options.show]))
        return 0
    robot.refuse_while_walking(options, "its measurements would disturb it")
    report = redact(collect(options))
    try:
        options.output.write_text(json.dumps(report, indent=2) + "\n")
    except OSError as error:
        raise InputError(f"{options.output}: cannot be written: {error.strerror}") from None
    print("\n" + report_words.side_by_side([report]))
    confirm(
        f"\nwritten to {options.output}: no keys, addresses or names of host and users are in it; read it "
        f"before you send it (gaitctl report --show {options.output})"
    )
    return 0


def collect(options: argparse.Namespace) -> dict[str, Any]:
    """Every part; one that fails says why, and the rest goes on."""
    bundle: Bundle | None = None
    config = Config()
    parts: dict[str, Any] = {
        "format": FORMAT,
        "made": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="minutes"),
        "gaitd": gaitd.__version__,
        "machine": _machine(),
        "packages": {name: _version(name) for name in PACKAGES},
        "doctor": [as_map(check) for check in examine(System(), options.config, options.runtime_dir)],
        "service": _service(read_status(options.runtime_dir)),
    }
    try:
        config = robot.read_config(options)
        parts["config"] = _config(config)
        bundle = robot.read_bundle(options)
        parts["policy"] = _policy(bundle)
    except GaitdError as error:
        parts["policy"] = {"error": str(error)}
    if bundle is not None:
        tested = bundle
        parts["selftest"] = _part(lambda: compare.measure(tested, config, options.seconds))
        if not options.no_bench:
            parts["bench"] = _part(lambda: _without_samples(bench.measure(tested, options.seconds)))
    if options.rehearsal:
        parts["rehearsal"] = read_marked(options.rehearsal, rehearsal.FORMAT, "gaitctl rehearse")
    return parts


def read_report(path: Path) -> dict[str, Any]:
    """A report that was written before. Raises InputError."""
    report = read_marked(path, FORMAT, "gaitctl report")
    try:
        report_words.side_by_side([report])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: damaged: {type(error).__name__}: {error}; ask for the file again"
        ) from None
    return report


def read_marked(path: Path, expected: str, writer: str) -> dict[str, Any]:
    """What a tool of this gaitctl wrote before, known by its format. Raises InputError."""
    content = _read_json(path)
    if (found := content.get("format")) != expected:
        raise InputError(f"{path}: format is {found!r}, expected {expected!r}, as {writer} writes it")
    return content


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(read_plain(path, MAX_BYTES))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def _part(measure: Callable[[], Any]) -> Any:
    try:
        return measure()
    except GaitdError as error:
        return {"error": str(error)}


def _machine() -> dict[str, Any]:
    system = System()
    memory = dict(line.split(":", 1) for line in system.text("/proc/meminfo").splitlines() if ":" in line)
    release = dict(line.split("=", 1) for line in system.text("/etc/os-release").splitlines() if "=" in line)
    return {
        "board": system.text("/proc/device-tree/model"),
        "chips": list(RknnHost().chips()),
        "architecture": platform.machine(),
        "cpus": os.cpu_count(),
        "memory": memory.get("MemTotal", "").strip(),
        "system": release.get("PRETTY_NAME", "").strip('"'),
        "kernel": f"{platform.release()} {platform.version()}",
        "python": platform.python_version(),
        "libc": " ".join(platform.libc_ver()),
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _config(config: Config) -> dict[str, Any]:
    """What differs from the defaults."""
    ours, defaults = msgspec.to_builtins(config), msgspec.to_builtins(Config())
    changed: dict[str, Any] = {}
    for section, fields in ours.items():
        differing = {name: value for name, value in fields.items() if value != defaults[section][name]}
        if differing:
            changed[section] = "changed" if section in PRIVATE_SECTIONS else differing
    return changed


def _policy(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "id": bundle.policy_id,
        "name": manifest.name,
        "version": manifest.version,
        "period_s": manifest.control_period_s,
        "joints": len(manifest.joints),
        "models": [name for name in ("model.onnx", "model.rknn") if bundle.has(name)],
    }


def _service(status: dict[str, Any] | None) -> dict[str, Any]:
    if status is None:
        return {"error": "no gaitd answers"}
    told = ("mode", "reason", "counters", "missing_realtime")
    worker = {
        name: status["worker"].get(name) for name in ("ready", "starts", "backend", "fallback", "versions")
    }
    return {**{name: status.get(name) for name in told}, "worker": worker}


def _without_samples(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in entry.items() if key != "durations_us"} for entry in results]
