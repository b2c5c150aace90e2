"""gaitforge growth: how age, CPU and memory grow with the policy and with time."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gaitforge.commands import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "growth",
        help="how age, CPU and memory grow with joints, history, parameters and recording",
        description="Runs gaitd with generated policies of growing size at 83 Hz over shared memory, the "
        "same model in one process beside it, and one that records everything. Writes growth.json and "
        "growth.md with the ratios to each first row, and where each curve bends.",
    )
    parser.add_argument("--echo", type=Path, required=True, help="the built echo_bench")
    parser.add_argument("--output", type=Path, default=Path("build/growth"), help="where the results go")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a block (default: %(default)s)")
    parser.add_argument(
        "--hours", type=float, default=0.5,
        help="of recording at 83 Hz, done in a twelfth of it; 0: none (default: %(default)s)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run the measurement."""
    from gaitforge.bench.growth import measure, table
    from gaitforge.bench.written import write_tables

    rows = measure(args.echo, args.output, args.rounds, args.seconds, args.hours)
    write_tables(args.output, "growth", rows, table(rows))
