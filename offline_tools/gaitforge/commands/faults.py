"""gaitforge faults: fault injection into the walking robot, and the table of results."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gaitforge.commands.options import add_bundle, add_controller, add_model

if TYPE_CHECKING:
    from gaitforge.commands import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "faults",
        help="inject every fault into the walking robot and assert each one's bound",
        description="Starts the whole chain, injects each fault several times and writes table.md and "
        "table.json. Exit code 3 when a fault was not met within its bound.",
    )
    add_bundle(parser, "build/faults")
    add_controller(parser)
    add_model(parser)
    parser.add_argument("--repeats", type=int, default=3, help="injections of each fault")
    parser.add_argument("--only", action="append", help="faults whose name contains this; repeatable")
    parser.add_argument("--quick", action="store_true", help="a few faults, once")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with a run that was interrupted: keep what is in OUTPUT/trials.tsv",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run the faults."""
    from gaitforge.faults.table import Selection, write_table

    chosen = Selection(args.only or (), quick=args.quick)
    write_table(
        args.bundle, args.controller, args.output, chosen, args.repeats, args.mjcf, resume=args.resume
    )
