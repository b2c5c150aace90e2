"""gaitctl record: what gaitd remembers of the last minute, as a file, now."""

from __future__ import annotations

import argparse
import os
import signal
import time
from pathlib import Path
from typing import Any

from gaitd.ctl import robot
from gaitd.ctl.client import ControlClient, read_status
from gaitd.errors import GateError, InputError
from gaitd.shared.processes import TELEMETRY
from gaitd.telemetry.files import RecordingFiles

TIMEOUT_S = 20.0
"""To write a minute of steps on a slow disk."""


def add_parser(commands: Any) -> None:
    """Add the command to gaitctl."""
    parser = commands.add_parser(
        "record", help="write what gaitd remembers of the last minute, as a recording"
    )
    robot.add_config_option(parser)
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    print(record(options.runtime_dir, recordings_of(options)))
    return 0


def recordings_of(options: argparse.Namespace) -> RecordingFiles:
    """Of the gaitd that runs, unless a config is named; else of this robot's config.

    Raises InputError where there is no recorder.
    """
    status = None if options.config is not None else read_status(options.runtime_dir)
    if status is not None:
        directory = status["recordings"]
    else:
        recorder = robot.read_config(options).recorder
        directory = recorder.directory if recorder.wanted else ""
    if status is None and options.config is None and not directory:
        raise InputError(
            f"no gaitd answers at {options.runtime_dir}: say --runtime-dir for one that runs elsewhere, or "
            "name the recording's file, as in gaitctl explain recordings/gaitd-000001-deadline.mcap"
        )
    if not directory:
        raise InputError(
            "the flight recorder is off: set recorder.directory in gaitd.toml, as in "
            '"/var/lib/gaitd/recordings", and restart gaitd; for a gaitd that runs elsewhere say '
            "--runtime-dir, for a recording its file"
        )
    return RecordingFiles(Path(directory))


def record(runtime_dir: Path, files: RecordingFiles) -> Path:
    """Have the running gaitd write a recording; returns the file. Raises GaitdError."""
    with ControlClient(runtime_dir) as client:
        pid = client.demand("status")["telemetry_pid"]
    before = files.newest()
    _ask(pid)
    until_s = time.monotonic() + TIMEOUT_S
    while time.monotonic() < until_s:
        newest = files.newest()
        if newest is not None and newest != before:
            return newest
        time.sleep(0.05)
    raise GateError(
        f"no recording appears in {files.directory}: no controller has sent anything yet, or the "
        f"journal says "
        "why (journalctl -u gaitd -n 20)"
    )


def _ask(pid: int) -> None:
    """Signal the telemetry process, and no other that has its number by now."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip() if pid else ""
        if name != TELEMETRY.title:
            raise GateError("gaitd's telemetry process is not running now; try again in a second")
        os.kill(pid, signal.SIGUSR1)
    except PermissionError:
        raise InputError(
            "only root, or gaitd's own user, may ask for a recording: sudo gaitctl record"
        ) from None
    except (FileNotFoundError, ProcessLookupError):
        raise GateError("gaitd's telemetry process has just ended; try again in a second") from None
