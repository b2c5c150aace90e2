"""gaitforge evidence: the closed loops behind the safety case's defaults."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

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
    parser.add_argument("--bundle", type=Path, required=True, help="the policy")
    parser.add_argument("--output", type=Path, default=Path("build/evidence"), help="where the results go")
    parser.add_argument("--only", choices=NAMES, action="append", help="just this experiment; repeatable")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run the experiments."""
    from gaitforge.evidence.report import write_evidence

    write_evidence(args.bundle, args.output, args.only or ())
