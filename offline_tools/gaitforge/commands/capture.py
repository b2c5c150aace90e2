"""gaitforge capture: the file that records a policy in its trainer."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitforge.common import console, files
from gaitforge.parity import gaitd_capture

if TYPE_CHECKING:
    from gaitforge.commands import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "capture",
        help="write the file that records a policy in its trainer",
        description="Write gaitd_capture.py, to be put beside the trainer's script. It needs numpy alone.",
    )
    parser.add_argument("--output", type=Path, default=Path("gaitd_capture.py"), help="default: %(default)s")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write it, and say how to use it."""
    source = Path(gaitd_capture.__file__).read_text(encoding="utf-8")
    files.write_text(args.output, source)
    console.say(
        f"wrote {args.output}: put it beside the script that plays the policy, and wrap the environment:\n"
        "    from gaitd_capture import Recorder\n"
        '    env = Recorder(env, "capture.npz", seconds=5.0)\n'
        "then: gaitforge parity BUNDLE capture.npz"
    )
