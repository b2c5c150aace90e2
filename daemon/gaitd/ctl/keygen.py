"""gaitctl keygen: a pair of keys for TCP, of a robot or of somebody who may reach it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gaitd.system.command_line import confirm
from gaitd.system.keys import make_key_pair


def add_parser(commands: Any) -> None:
    """Add the command to gaitctl."""
    parser = commands.add_parser("keygen", help="make a pair of keys for TCP: NAME.key, secret, and NAME.pub")
    parser.add_argument("name", help="of the robot, or of who will connect to it")
    parser.add_argument("--directory", type=Path, default=Path(), help="where the files go (default: here)")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    secret, public = make_key_pair(options.name, options.directory)
    confirm(f"{secret}  keep it secret: network.server_key of a robot, --key of a client")
    confirm(f"{public}  pass it on: a line of network.allowed_keys, or --server-key where it is a robot's")
    return 0
