"""gaitforge agent: a policy in its environment, step by step, with latency and reward."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitd.errors import InputError
from gaitforge.verify.agent import run_agent

if TYPE_CHECKING:
    from gaitforge.commands import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "agent",
        help="run a policy in an environment, with latency and reward",
        description="Run a model in an environment: .onnx with onnxruntime; .rknn on the NPU where there is "
        "one, else in the toolkit's simulator.",
    )
    parser.add_argument("model", type=Path, help=".onnx or .rknn")
    parser.add_argument(
        "--obs-stats", type=Path, help=".npz with mean and std that observations are normalized with"
    )
    parser.add_argument(
        "--env", required=True, metavar="MODULE:FACTORY", help="environment with reset and step"
    )
    parser.add_argument("--steps", type=int, default=200, help="default: %(default)s")
    parser.add_argument("--quiet", action="store_true", help="only the summary, not every step")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run and report."""
    if args.steps < 1:
        raise InputError(f"--steps {args.steps}: at least one is needed")
    run_agent(args.model, args.env, args.obs_stats, args.steps, quiet=args.quiet)
