"""gaitforge verify: is the converted policy still the policy that was trained?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitd.errors import InputError
from gaitforge.commands.checkpoint import add_choices, choices_of
from gaitforge.commands.options import add_conversion, add_robot
from gaitforge.rknn.convert import ALIASES, DTYPE
from gaitforge.simulate.script import parse_command
from gaitforge.verify.model_files import ModelFiles, Settings, verify_files
from gaitforge.verify.reports import require_passed
from gaitforge.verify.verification import SECONDS, SEEDS

if TYPE_CHECKING:
    from gaitforge.commands import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "verify",
        help="compare float, fp16 and int8, on the same inputs and walking",
        description="Compare torch, ONNX and the toolkit's simulator in float16 and int8, and judge.",
    )
    parser.add_argument("model", type=Path, help="the float ONNX model")
    parser.add_argument("--manifest", type=Path, required=True, help="YAML with the policy's contract")
    parser.add_argument("--obs-stats", type=Path, help=".npz with mean and std, if the policy normalizes")
    parser.add_argument("--checkpoint", type=Path, help="also compare with this checkpoint in torch")
    add_choices(parser)
    parser.add_argument(
        "--dataset", type=Path, help="calibration observations; without them int8 is left out"
    )
    parser.add_argument("--inputs", type=Path, help="model inputs to compare on (default: a simulated walk)")
    parser.add_argument(
        "--capture",
        type=Path,
        help="capture of the trainer (gaitforge capture): what differs from it fails the gate",
    )
    parser.add_argument("--quant-dtype", default=DTYPE, help="default: %(default)s")
    add_conversion(parser)
    add_robot(parser)
    parser.add_argument("--fp16-layers", nargs="+", metavar="LAYER", help="layers kept in float16 in int8")
    parser.add_argument(
        "--hybrid",
        action="store_true",
        help="if int8 fails, search layers to keep in float16 until it passes",
    )
    parser.add_argument(
        "--seeds", type=int, default=SEEDS, help="walks for each; 0 for none (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="length of a walk (default: %(default)s)"
    )
    parser.add_argument(
        "--command", metavar="F,L,Y", help="velocity command of the walks (default: full ahead)"
    )
    parser.add_argument("--gate", type=Path, help="YAML with other bounds")
    parser.add_argument(
        "--output", type=Path, default=Path("verify"), help="directory (default: %(default)s)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Verify and write report.json and report.html. Raises GateError when the gate fails."""
    if args.hybrid and args.dataset is None:
        raise InputError("--hybrid needs --dataset, as gaitforge calibrate collects it")
    given = ModelFiles(
        model=args.model,
        manifest=args.manifest,
        obs_stats=args.obs_stats,
        checkpoint=args.checkpoint,
        config=args.config,
        choices=choices_of(args),
        dataset=args.dataset,
        inputs=args.inputs,
        capture=args.capture,
        gate=args.gate,
        mjcf=args.mjcf,
    )
    settings = Settings(
        quant_dtype=ALIASES.get(args.quant_dtype, args.quant_dtype),
        algorithm=args.algorithm,
        fp16_layers=args.fp16_layers,
        target=args.target,
        hybrid=args.hybrid,
        seeds=args.seeds,
        seconds=args.seconds,
        command=None if args.command is None else parse_command(args.command),
        terrain=args.terrain,
        height_map=args.height_map,
    )
    verdict = verify_files(given, settings, args.output)
    require_passed(verdict, args.output / "report.html")
