"""gaitforge soak: a long walk with random commands, pushes and faults; every state accounted for."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gaitforge.commands.options import add_bundle, add_controller

if TYPE_CHECKING:
    from gaitforge.commands import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "soak",
        help="a long walk with faults; every state accounted for, constant memory and file descriptors",
        description="Random velocity commands and pushes, a fault every half minute, and a second publisher "
        "whose states belong to no session. At the end every state that gaitd received must be answered, "
        "superseded, refused, rejected, withheld or taken in standby. Exit code 3 when that is not so.",
    )
    add_bundle(parser, "build/soak")
    add_controller(parser)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: %(default)s)")
    parser.add_argument("--every", type=float, default=30.0, metavar="SECONDS", help="between faults")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run the soak."""
    from gaitforge.faults.soak import run_soak

    run_soak(
        args.bundle,
        args.controller,
        args.output,
        minutes=args.minutes,
        every_s=args.every,
        seed=args.seed,
    )
