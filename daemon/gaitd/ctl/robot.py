"""What commands need to know of this robot: its config, a policy, and whether it may be walking."""

from __future__ import annotations

import argparse
from pathlib import Path

from gaitd.bundle.read import Bundle, open_bundle
from gaitd.bundle.store import PolicyStore
from gaitd.ctl import service
from gaitd.ctl.client import read_status
from gaitd.ctl.route import Route
from gaitd.errors import InputError
from gaitd.system.config import Config
from gaitd.system.config_files import load_config
from gaitd.system.realtime import apply_realtime
from gaitd.system.runtime_dir import is_claimed

MAX_SECONDS = 3600.0
"""Of a measurement."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of selftest and bench."""
    parser.add_argument("--bundle", type=Path, help="default: the active policy")
    add_config_option(parser)
    parser.add_argument(
        "--seconds",
        type=seconds,
        default=5.0,
        help="how long each latency is measured (default: %(default)s)",
    )
    add_force_option(parser)


def seconds(text: str) -> float:
    """How long something is to take. Raises ValueError beyond MAX_SECONDS."""
    seconds = float(text)
    if not 0 < seconds < MAX_SECONDS:
        raise ValueError
    return seconds


def add_config_option(parser: argparse.ArgumentParser) -> None:
    """Option of a command that keeps to this robot's configuration."""
    parser.add_argument("--config", type=Path, help="this file alone (default: the robot's)")


def add_force_option(parser: argparse.ArgumentParser) -> None:
    """Option of a command that disturbs a walking robot."""
    parser.add_argument("--force", action="store_true", help="even if the robot may be walking")


def read_config(options: argparse.Namespace) -> Config:
    """The given config, else the robot's. Raises InputError."""
    return load_config(options.config)


def read_bundle(options: argparse.Namespace) -> Bundle:
    """The policy to run. Raises InputError."""
    return open_bundle(options.bundle) if options.bundle else PolicyStore().open_active()


def refuse_while_walking(options: argparse.Namespace, what: str, then: str = "add --force") -> None:
    """Raise InputError while a session is active, or may be: no answer is no sign of standing still.

    Only where nobody holds the runtime directory's lock, and no service runs elsewhere, is there no gaitd.
    ``then``: how to do it all the same.
    """
    if options.force:
        return
    runtime_dir: Path = options.runtime_dir
    status = read_status(runtime_dir)
    if status is not None and status.get("mode") in ("idle", "damping"):
        return
    if status is not None:
        raise InputError(
            f"session {status.get('session')} is active: {what}; lie the robot down and release the "
            "session first"
        )
    route = Route.local(runtime_dir)
    if route.is_barred:
        raise InputError(f"{runtime_dir}: a robot may be walking there: {what}; {route.advice()}")
    if is_claimed(runtime_dir):
        raise InputError(
            f"{runtime_dir}: a gaitd runs here but does not answer, so the robot may be walking: {what}; "
            f"see that it lies, then {then}"
        )
    if service.is_active():
        raise InputError(
            f"{service.UNIT} runs, but no gaitd has {runtime_dir}, so the robot may be walking: {what}; "
            f"name its daemon.runtime_dir with --runtime-dir, or see that it lies, then {then}"
        )


def become_worker(config: Config) -> list[str]:
    """Run on the worker's core with its priority, as far as this user may; returns what is not available."""
    realtime = config.realtime
    settings = apply_realtime(realtime, realtime.worker_cpus, realtime.worker_priority)
    return [f"{setting.name}: {setting.detail}" for setting in settings if not setting.ok]
