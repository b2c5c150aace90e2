"""gaitforge setup-rknn: the environment of rknn-toolkit2, in one command."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitforge.common import console
from gaitforge.rknn import environment
from gaitforge.rknn.setup import set_up

if TYPE_CHECKING:
    from gaitforge.commands import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "setup-rknn",
        help="make the environment that rknn-toolkit2 runs in",
        description="Make a virtual environment for rknn-toolkit2 with the versions that fit together.",
    )
    parser.add_argument(
        "--venv",
        type=Path,
        help=f"where (default: ${environment.VARIABLE}, else ~/.local/share/gaitd/rknn-venv)",
    )
    parser.add_argument(
        "--python",
        default=environment.default_python(),
        help="Python 3.10 to 3.12 to build it from (default: this one)",
    )
    parser.add_argument("--force", action="store_true", help="make it anew even if it is complete")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Make the environment unless it is complete, and print what is in it."""
    ready = set_up(args.venv, args.python, force=args.force)
    named = ", ".join(f"{name} {version}" for name, version in ready.versions.items())
    console.say(f"ready: {named}; {ready.size_bytes / 1e6:.0f} MB in {ready.root}")
