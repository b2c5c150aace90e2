"""gaitforge export: a training checkpoint becomes an ONNX model that provably computes the same."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitd.errors import InputError
from gaitforge.commands.checkpoint import add_choices, choices_of
from gaitforge.model.export import OPSET, TOLERANCE, export

if TYPE_CHECKING:
    from gaitforge.commands import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "export",
        help="turn a training checkpoint into an ONNX model",
        description="Rebuild the actor of a checkpoint, export it to ONNX and check that both agree.",
    )
    parser.add_argument("checkpoint", type=Path, help=".pt: state dict, training checkpoint or TorchScript")
    add_choices(parser)
    parser.add_argument("--output", type=Path, default=Path("policy.onnx"), help="default: %(default)s")
    parser.add_argument("--dynamic-batch", action="store_true", help="leave the batch size open")
    parser.add_argument("--opset", type=int, default=OPSET, help="ONNX operator set (default: %(default)s)")
    parser.add_argument("--strict", action="store_true", help="refuse --ignore: every key must be understood")
    parser.add_argument(
        "--separate-normalizer",
        action="store_true",
        help="write a normalizer of the checkpoint to OUTPUT_obs_stats.npz, which quantizes better, "
        "instead of into the graph",
    )
    parser.add_argument("--observations", type=Path, help="recorded model inputs to check with as well")
    parser.add_argument(
        "--tolerance", type=float, default=TOLERANCE, help="largest difference (default: %(default)s)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Export and check."""
    if args.strict and args.ignore:
        raise InputError(f"--strict: every key must be understood, but --ignore names {args.ignore[0]}")
    export(
        args.checkpoint,
        args.output,
        config=args.config,
        choices=choices_of(args),
        dynamic_batch=args.dynamic_batch,
        opset=args.opset,
        separate_normalizer=args.separate_normalizer,
        observations=args.observations,
        tolerance=args.tolerance,
    )
