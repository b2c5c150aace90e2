"""gaitforge export: a training checkpoint becomes an ONNX model that provably computes the same."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

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
    parser.add_argument("--config", type=Path, help="YAML that describes the actor")
    parser.add_argument("--activation", help="activation of the hidden layers, where there is no --config")
    parser.add_argument("--output", type=Path, default=Path("policy.onnx"), help="default: %(default)s")
    parser.add_argument("--dynamic-batch", action="store_true", help="leave the batch size open")
    parser.add_argument("--opset", type=int, default=OPSET, help="ONNX operator set (default: %(default)s)")
    parser.add_argument("--strict", action="store_true", help="refuse missing and unexpected keys")
    parser.add_argument(
        "--normalizer",
        choices=("graph", "separate"),
        default="graph",
        help="where a normalizer of the checkpoint goes: into the graph, or into OUTPUT_obs_stats.npz, "
        "which quantizes better (default: %(default)s)",
    )
    parser.add_argument("--observations", type=Path, help="recorded model inputs to check with as well")
    parser.add_argument(
        "--tolerance", type=float, default=TOLERANCE, help="largest difference (default: %(default)s)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Export and check."""
    export(
        args.checkpoint,
        args.output,
        config=args.config,
        activation=args.activation,
        dynamic_batch=args.dynamic_batch,
        opset=args.opset,
        strict=args.strict,
        separate_normalizer=args.normalizer == "separate",
        observations=args.observations,
        tolerance=args.tolerance,
    )
