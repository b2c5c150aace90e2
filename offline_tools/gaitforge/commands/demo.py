"""gaitforge demo: walking end to end on the simulated robot; then the worker and the standby are killed.

With a second policy: changes from one to the other in mid-stride instead. Embedded: without gaitd, the policy
in the controller's process; then the inference runtime fails.
"""

from __future__ import annotations

import argparse
from pathlib import Path
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
    parser.add_argument(
        "--beside",
        type=Path,
        help="a second policy's bundle: change to it in mid-stride and back, kill nothing",
    )
    parser.add_argument(
        "--changes", type=int, default=2, help="so many changes, with --beside (default: %(default)s)"
    )
    parser.add_argument(
        "--transport",
        choices=("zmq", "shm"),
        default="zmq",
        help="how states and commands travel: ZeroMQ, or shared memory (default: %(default)s)",
    )
    parser.add_argument(
        "--embedded",
        choices=("hang", "error", "nan"),
        nargs="?",
        const="hang",
        help="without gaitd: the controller runs the policy itself, until the inference runtime fails so "
        "(default: hang)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run the demo."""
    if args.beside is not None:
        from gaitforge.stack.changes import run_changes

        run_changes(args.bundle, args.beside, args.controller, args.output, args.changes, args.seed)
        return
    if args.embedded is not None:
        from gaitforge.stack.embedded import run_embedded

        run_embedded(args.bundle, args.controller, args.output, args.seed, args.embedded)
        return
    from gaitforge.stack.demo import run_demo

    run_demo(
        args.bundle,
        args.controller,
        args.output,
        args.seed,
        mjcf=args.mjcf,
        terrain=args.terrain,
        transport=args.transport,
        height_map=args.height_map,
    )
