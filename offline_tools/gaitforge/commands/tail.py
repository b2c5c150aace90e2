"""gaitforge tail: what each real-time setting buys, on and off in turn."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitforge.commands.options import add_bundle

if TYPE_CHECKING:
    from gaitforge.commands import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "tail",
        help="what FIFO, pinning, mlock and the like buy, above all for the slowest answers",
        description="Runs gaitd with one setting after the other switched off, each block in a daemon of its "
        "own, in rounds; idle, and with one busy process per core. Writes tail.json and tail.md.",
    )
    add_bundle(parser, "build/tail")
    parser.add_argument("--echo", type=Path, required=True, help="the built echo_bench")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=3.0, help="of a block (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=500.0, help="in Hz (default: %(default)s)")
    parser.add_argument(
        "--load", choices=("idle", "busy"), action="append", help="repeatable (default: both)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run the measurement."""
    from gaitforge.bench.tail import Options, measure, table
    from gaitforge.bench.written import write_tables

    loads = tuple(args.load or ("idle", "busy"))
    rows = measure(Options(args.bundle, args.echo, args.output, args.rounds, args.seconds, args.rate, loads))
    write_tables(args.output, "tail", rows, table(rows))
