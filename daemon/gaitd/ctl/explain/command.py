"""gaitctl explain: the command."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from gaitd.ctl import robot
from gaitd.ctl.explain.account import Account
from gaitd.ctl.explain.page import page_of
from gaitd.ctl.record import recordings_of
from gaitd.errors import InputError, printable
from gaitd.telemetry.recording import read_recording


def add_parser(commands: Any) -> None:
    """Add the command to gaitctl."""
    parser = commands.add_parser("explain", help="why the robot went to damping, and what to do next")
    parser.add_argument("file", type=Path, nargs="?", help="a recording (default: the newest of this robot)")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--html", type=Path, metavar="PAGE", help="write one self-contained page as well")
    parser.add_argument("--language", choices=("en", "zh"), default="en", help="of the text (en)")
    robot.add_config_option(parser)
    parser.set_defaults(command=_run)


def newest_recording(options: argparse.Namespace) -> Path:
    """The given recording, else this robot's newest. Raises InputError."""
    if options.file is not None:
        path: Path = options.file
        return path
    files = recordings_of(options)
    newest = files.newest()
    if newest is None:
        raise InputError(
            f"no recording in {files.directory}: nothing was damped yet; gaitctl record makes one"
        )
    return newest


def _run(options: argparse.Namespace) -> int:
    path = newest_recording(options)
    account = Account.of(path, read_recording(path))
    if options.html is not None:
        try:
            options.html.write_text(page_of(account), encoding="utf-8")
        except OSError as error:
            raise InputError(f"{options.html}: cannot be written: {error.strerror}") from None
    if options.json:
        print(json.dumps(account.as_map(), indent=2, ensure_ascii=False))
    else:
        print("\n".join(map(printable, account.as_text(options.language).splitlines())))
    return account.exit_code
