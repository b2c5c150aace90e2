"""gaitforge demo: walking end to end on the simulated robot; then a fault."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gaitforge.commands import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "demo",
        help="simulated robot, C++ controller and gaitd: walk, turn, take a push, lose the worker",
        description="The robot stands up, walks, turns and takes a push; then gaitd's worker is killed in "
        "mid-stride and the joints go to damping. Exit code 0 only if all of it happened.",
    )
    parser.add_argument("--bundle", type=Path, required=True, help="the policy")
    parser.add_argument("--controller", type=Path, required=True, help="the built example controller")
    parser.add_argument("--output", type=Path, default=Path("build/demo"), help="where the results go")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run the demo."""
    from gaitforge.stack.demo import run_demo

    run_demo(args.bundle, args.controller, args.output, args.seed)
