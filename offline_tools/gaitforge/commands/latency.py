"""gaitforge latency: C++ client to gaitd and back, against a bare C++ echo, interleaved in one run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitforge.commands.options import add_bundle
from gaitforge.stack.latency import Options, measure

if TYPE_CHECKING:
    from gaitforge.commands import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "latency",
        help="round trip times through gaitd, as a ratio against a bare ZeroMQ echo",
        description="Measures publish() to the command that answers it, at the policy's own pace, in short "
        "blocks that alternate with a bare C++ echo of the same message sizes; idle, and with one busy "
        "process per core. Only the ratios carry over to another machine.",
    )
    add_bundle(parser, "build/bench")
    parser.add_argument("--echo", type=Path, required=True, help="the built echo_bench")
    parser.add_argument("--blocks", type=int, default=6, help="blocks of each contender under each load")
    parser.add_argument("--count", type=int, default=400, help="round trips in a block")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run the benchmark."""
    measure(Options(args.bundle, args.echo, args.output, args.blocks, args.count))
