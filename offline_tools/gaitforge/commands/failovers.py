"""gaitforge failovers: the worker fails at many phases of the gait, and what a standby costs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gaitd.errors import GateError
from gaitforge.commands.options import add_bundle, add_controller
from gaitforge.faults.failover_rows import ROWS

if TYPE_CHECKING:
    from gaitforge.commands import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "failovers",
        help="let the worker fail at many phases of the gait; measure the walk, and what a standby costs",
        description="Starts the whole chain with a standby, lets the worker fail while the robot walks at "
        "full command, and looks at falls, the time between fresh commands and the velocity; then walks in "
        "turns without and with a standby and compares. Exit code 3 when a bound is not kept.",
    )
    add_bundle(parser, "build/failovers")
    add_controller(parser)
    parser.add_argument("--count", type=int, default=50, help="failures of each kind (default: %(default)s)")
    parser.add_argument("--kind", choices=ROWS, action="append", help="these alone; repeatable")
    parser.add_argument(
        "--pairs",
        type=int,
        default=6,
        help="turns without and with a standby; 0: none (default: %(default)s)",
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="length of a turn (default: %(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Measure. Raises GateError naming what was not met."""
    from gaitforge.faults.failovers import measure_failovers
    from gaitforge.faults.standby_cost import measure_cost

    args.output.mkdir(parents=True, exist_ok=True)
    places = args.bundle, args.controller, args.output
    found = measure_failovers(args.kind or list(ROWS), args.count, *places) if args.count else []
    found += measure_cost(args.pairs, args.seconds, *places) if args.pairs else []
    if found:
        raise GateError("not met: " + "; ".join(found))
