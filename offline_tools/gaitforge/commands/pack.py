"""gaitforge pack: manifest, models, statistics and golden vectors become one bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitd.bundle.describe import gate_verdict
from gaitd.bundle.read import open_bundle
from gaitforge.bundle.pack import pack
from gaitforge.common import console

if TYPE_CHECKING:
    from gaitforge.commands import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "pack",
        help="put a policy and all that belongs to it into a bundle",
        description="Write a policy bundle: a single file when OUTPUT ends in .gaitd, else a directory.",
    )
    parser.add_argument("--manifest", type=Path, required=True, help="YAML with the policy's contract")
    parser.add_argument(
        "--onnx",
        type=Path,
        required=True,
        help="the float model; for a manifest with models, the directory that holds NAME.onnx of each",
    )
    parser.add_argument("--rknn", type=Path, help="the model for the NPU; of several, the directory likewise")
    parser.add_argument(
        "--encoders", type=Path, metavar="DIRECTORY", help="holds NAME.onnx of each encoder of a stream"
    )
    parser.add_argument("--obs-stats", type=Path, help=".npz with mean and std, if the policy normalizes")
    parser.add_argument("--report", type=Path, help="report.json of gaitforge verify")
    parser.add_argument(
        "--accept-failed-gate", metavar="WHY", help="pack although the report says that the gate failed"
    )
    parser.add_argument(
        "--observations",
        type=Path,
        help="recorded observations before normalization, to take golden vectors from "
        "(default: a simulated closed loop, for robots that can be simulated)",
    )
    parser.add_argument(
        "--capture",
        type=Path,
        help="capture of the trainer (gaitforge capture): golden vectors that prove the observation's terms",
    )
    parser.add_argument(
        "--mjcf", type=Path, metavar="MODEL", help="MuJoCo model of the robot, for the simulated closed loop"
    )
    parser.add_argument("--training-commit", help="git commit of the training code, for the provenance")
    parser.add_argument("--checkpoint", type=Path, help="the checkpoint, for its hash in the provenance")
    parser.add_argument("--output", type=Path, required=True, help="bundle to write")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write the bundle."""
    sources = {
        "checkpoint": args.checkpoint,
        "manifest": args.manifest,
        "onnx": args.onnx,
        "rknn": args.rknn,
        "encoders": args.encoders,
        "obs_stats": args.obs_stats,
        "report": args.report,
        "observations": args.observations,
        "capture": args.capture,
    }
    path = pack(
        sources={name: path for name, path in sources.items() if path is not None},
        output=args.output,
        training_commit=args.training_commit,
        accept_failed_gate=args.accept_failed_gate,
        mjcf=args.mjcf,
    )
    console.say(f"packed {path}; gate: {gate_verdict(open_bundle(path))}")
