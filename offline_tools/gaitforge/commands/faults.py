"""gaitforge faults: fault injection into the walking robot, and the table of results."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

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
    parser.add_argument("--bundle", type=Path, required=True, help="the policy")
    parser.add_argument("--controller", type=Path, required=True, help="the built example controller")
    parser.add_argument("--output", type=Path, default=Path("build/faults"), help="where the results go")
    parser.add_argument("--repeats", type=int, default=3, help="injections of each fault")
    parser.add_argument("--only", action="append", help="faults whose name contains this; repeatable")
    parser.add_argument("--quick", action="store_true", help="a few faults, once")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run the faults."""
    from gaitforge.faults.table import Selection, write_table

    chosen = Selection(args.only or (), quick=args.quick)
    write_table(args.bundle, args.controller, args.output, chosen, args.repeats)
