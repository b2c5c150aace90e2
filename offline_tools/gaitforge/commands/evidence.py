"""gaitforge evidence: the closed loops behind the safety case's defaults."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gaitforge.commands.options import add_bundle

if TYPE_CHECKING:
    from gaitforge.commands import Subparsers

NAMES = ("delay", "rate", "resume", "fallback", "actions", "healthy")


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "evidence",
        help="closed loops behind the defaults: late commands, fallbacks, wrong actions, limits",
        description="Walks the policy in the simulator, called directly, ten gait phases a cell, and writes "
        "what came of it as evidence.md and evidence.json.",
    )
    add_bundle(parser, "build/evidence")
    parser.add_argument("--only", choices=NAMES, action="append", help="just this experiment; repeatable")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run the experiments."""
    from gaitforge.evidence.report import write_evidence

    write_evidence(args.bundle, args.output, args.only or ())
