"""gaitforge latency: C++ client to gaitd and back over both transports, beside others, in rounds."""

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
        "latency",
        help="round trip times through gaitd, as a ratio against a bare ZeroMQ echo",
        description="Measures publish() to the command that answers it, over ZeroMQ and shared memory, "
        "beside a bare C++ echo of the same message sizes, onnxruntime from C++ behind it and in process, "
        "and a Python server as people write it: paced and in a closed loop, in blocks that alternate; idle, "
        "and with one busy process per core. Only the ratios carry over to another machine.",
    )
    add_bundle(parser, "build/bench")
    parser.add_argument("--echo", type=Path, required=True, help="the built echo_bench")
    parser.add_argument(
        "--rounds", type=int, default=5, help="blocks of each contender at each rate and load"
    )
    parser.add_argument(
        "--rate", type=float, action="append",
        help="in Hz, 0: closed loop; repeatable (default: the policy's own, 500, 1000, 0)",
    )  # fmt: skip
    parser.add_argument(
        "--load", choices=("idle", "busy"), action="append", help="repeatable (default: both)"
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="of a block, about (default: %(default)s)")
    parser.add_argument(
        "--contender", action="append", help="by name, beside the bare echo; repeatable (default: all)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run the benchmark."""
    from gaitd.errors import InputError
    from gaitforge.bench.contenders import CONTENDERS
    from gaitforge.bench.latency import Options, measure
    from gaitforge.bench.latency_report import write_report

    names = [each.name for each in CONTENDERS]
    for name in args.contender or ():
        if name not in names:
            raise InputError(f"--contender {name}: there is none; there are {', '.join(names)}")
    options = Options(
        args.bundle, args.echo, args.output, args.rounds, tuple(args.rate or ()),
        tuple(args.load or ("idle", "busy")), args.seconds, tuple(args.contender or ()),
    )  # fmt: skip
    write_report(measure(options), args.output)
