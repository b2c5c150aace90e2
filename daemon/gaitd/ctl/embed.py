"""gaitctl embed: a policy as one file for a C++ controller that runs it in its own process."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from gaitd.bundle.compiled import compile_policy
from gaitd.ctl import robot
from gaitd.system.command_line import confirm


def add_parser(commands: Any) -> None:
    """Add the command to gaitctl."""
    parser = commands.add_parser(
        "embed", help="write a policy as one file for a C++ controller that runs it in its own process"
    )
    parser.add_argument("file", type=Path, help="to be written, as policy.gaitdc")
    parser.add_argument("--bundle", type=Path, help="default: the active policy")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    bundle, path = robot.read_bundle(options), options.file
    content = compile_policy(bundle)
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("wb") as file:  # complete or not there: a controller may start at any moment
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    manifest = bundle.manifest
    confirm(f"{path}  {manifest.name} {manifest.version} ({bundle.policy_id}), {len(content)} bytes")
    return 0
