"""gaitforge setup-rknn: the environment of rknn-toolkit2, in one command."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gaitforge.common import console
from gaitforge.rknn import environment
from gaitforge.rknn.toolkit import Toolkit

if TYPE_CHECKING:
    from gaitforge.cli import Subparsers


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
    """Make the environment unless it is complete, and let the toolkit say its version."""
    root = environment.location(args.venv)
    if args.force or not environment.is_ready(root):
        environment.create(root, args.python)
    with (
        tempfile.TemporaryDirectory() as directory,
        console.step("Starting the toolkit"),
        Toolkit(Path(directory) / "log", root) as toolkit,
    ):
        versions = toolkit.versions()
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    console.say(f"ready: {named}; {environment.size_bytes(root) / 1e6:.0f} MB in {root}")
