"""gaitforge demo: walking end to end on the simulated robot; then the worker and the standby are killed."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gaitforge.commands.options import add_bundle, add_controller, add_robot

if TYPE_CHECKING:
    from gaitforge.commands import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "demo",
        help="simulated robot, C++ controller and gaitd: walk, turn, take a push, lose both workers",
        description="The robot stands up, walks, turns and takes a push; gaitd's worker is killed in "
        "mid-stride, and it walks on with the standby; then that is killed too and the joints go to damping. "
        "Exit code 0 only if all of it happened.",
    )
    add_bundle(parser, "build/demo")
    add_controller(parser)
    add_robot(parser)
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run the demo."""
    from gaitforge.stack.demo import run_demo

    run_demo(args.bundle, args.controller, args.output, args.seed, mjcf=args.mjcf, terrain=args.terrain)
