"""What selftest and bench need of this robot: its config, a policy, and that nobody walks."""

from __future__ import annotations

import argparse
from pathlib import Path

from gaitd.bundle.read import Bundle, open_bundle
from gaitd.bundle.store import PolicyStore
from gaitd.ctl.client import read_status
from gaitd.ctl.doctor import CONFIG
from gaitd.errors import InputError
from gaitd.system.config import Config, load_config
from gaitd.system.realtime import apply_realtime


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options that both commands take."""
    parser.add_argument(
        "--bundle", type=Path, default=PolicyStore().active, help="default: the active policy"
    )
    parser.add_argument("--config", type=Path, help=f"default: {CONFIG} where it is there")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each latency is measured (5)")


def read_config(options: argparse.Namespace) -> Config:
    """The given config, else the robot's, else the defaults."""
    return load_config(options.config or (CONFIG if CONFIG.is_file() else None))


def read_bundle(options: argparse.Namespace) -> Bundle:
    """The policy to run. Raises InputError."""
    path: Path = options.bundle
    if path == PolicyStore().active and not path.exists():
        raise InputError(f"{path}: no policy is active; name one with --bundle")
    return open_bundle(path.resolve())


def refuse_while_walking(runtime_dir: Path, what: str) -> None:
    """Raises InputError while a session is active; no gaitd at all is fine."""
    status = read_status(runtime_dir)
    if status is not None and status["mode"] == "active":
        raise InputError(
            f"session {status['session']} is active: {what}; lie the robot down and release the session first"
        )


def become_worker(config: Config) -> list[str]:
    """Run on the worker's core with its priority, as far as this user may; returns what could not be had."""
    realtime = config.realtime
    settings = apply_realtime(realtime, realtime.worker_cpus, realtime.worker_priority)
    return [f"{setting.name}: {setting.detail}" for setting in settings if not setting.ok]
