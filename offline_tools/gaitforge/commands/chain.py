"""gaitforge chain: from a checkpoint to a verified bundle in one go."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitd.bundle.describe import gate_verdict
from gaitd.bundle.read import open_bundle
from gaitd.errors import InputError
from gaitforge.chain.pipeline import SAMPLES, Options, make_bundle
from gaitforge.commands.checkpoint import add_choices, choices_of
from gaitforge.commands.options import add_conversion, add_robot
from gaitforge.common import console
from gaitforge.verify.verification import SEEDS

if TYPE_CHECKING:
    from gaitforge.commands import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "chain",
        help="export, calibrate, convert, verify and pack in one go",
        description="Make a verified bundle of a checkpoint or an ONNX file. What has not changed since the "
        "last time is skipped.",
    )
    parser.add_argument("checkpoint", type=Path, help="training checkpoint, or the policy as .onnx")
    add_choices(parser)
    parser.add_argument(
        "--manifest", type=Path, help="the contract (default: manifest.yaml beside CHECKPOINT)"
    )
    parser.add_argument(
        "--obs-stats",
        type=Path,
        help="statistics for a contract with normalization (default: the checkpoint's own, else the one "
        "*obs_stats.npz beside it)",
    )
    parser.add_argument("--env", metavar="MODULE:FACTORY", help="environment, for robots without simulation")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="calibration (default: %(default)s)")
    parser.add_argument(
        "--replace-unsupported", nargs="*", metavar="OPERATOR", help="as in gaitforge convert"
    )
    parser.add_argument("--do-quant", action="store_true", help="quantize the model for the NPU")
    parser.add_argument(
        "--hybrid", action="store_true", help="keep layers in float16 if the gate asks for it"
    )
    add_conversion(parser)
    add_robot(parser)
    parser.add_argument(
        "--seeds", type=int, default=SEEDS, help="walks to verify with (default: %(default)s)"
    )
    parser.add_argument("--gate", type=Path, help="YAML with other bounds")
    parser.add_argument(
        "--capture",
        type=Path,
        help="capture of the trainer (gaitforge capture), for the gate and the bundle's golden vectors",
    )
    parser.add_argument("--training-commit", help="git commit of the training code, for the provenance")
    parser.add_argument(
        "--output", type=Path, help="directory (default: CHECKPOINT's name without its ending)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run the chain."""
    if args.hybrid and not args.do_quant:
        raise InputError("--hybrid chooses layers of a quantized model: add --do-quant")
    options = Options(
        checkpoint=args.checkpoint,
        manifest=args.manifest or args.checkpoint.with_name("manifest.yaml"),
        config=args.config,
        choices=choices_of(args),
        obs_stats=args.obs_stats,
        mjcf=args.mjcf,
        terrain=args.terrain,
        height_map=args.height_map,
        env=args.env,
        samples=args.samples,
        replace_unsupported=args.replace_unsupported,
        do_quant=args.do_quant,
        hybrid=args.hybrid,
        algorithm=args.algorithm,
        target=args.target,
        seeds=args.seeds,
        gate=args.gate,
        capture=args.capture,
        training_commit=args.training_commit,
    )
    made = make_bundle(options, args.output or args.checkpoint.with_suffix(""))
    verdict = gate_verdict(open_bundle(made.bundle))
    console.say(f"{made.bundle} is ready; gate: {verdict}; its report is {made.page}")
