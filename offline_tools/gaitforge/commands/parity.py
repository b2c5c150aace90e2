"""gaitforge parity: a trainer's capture against a bundle, every difference by kind."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gaitd.bundle.read import open_bundle
from gaitd.errors import GateError, InputError
from gaitforge.common import console, files
from gaitforge.common.manifest import require_format_1
from gaitforge.parity import report
from gaitforge.parity.capture import read_capture
from gaitforge.parity.compare import TOLERANCE, compare

if TYPE_CHECKING:
    from gaitforge.commands import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "parity",
        help="compare a bundle with what its trainer did, and name every difference",
        description="Replay a capture through gaitd's own pipeline and model. Exit code 0: equal; 3: "
        "different; 2: the files cannot be compared.",
    )
    parser.add_argument("bundle", type=Path, help="the policy's bundle")
    parser.add_argument("capture", type=Path, help="capture file (gaitforge capture)")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=TOLERANCE,
        help="of an observation: a fraction of its largest value, at least of 1 in the state's unit "
        "(default: %(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the result for programs")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="also draw the terms over time")
    parser.add_argument("--stats", type=Path, metavar="FILE.npz", help="write a missing normalizer")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Compare, print, write. Raises GateError where they differ."""
    if not args.tolerance > 0:
        raise InputError(f"--tolerance {args.tolerance}: expected above 0")
    bundle, capture = open_bundle(args.bundle), read_capture(args.capture)
    require_format_1(bundle.manifest, str(args.bundle), "gaitforge parity")
    comparison = compare(bundle, capture, args.tolerance)
    console.say(report.in_words(comparison, bundle.manifest))
    if args.json is not None:
        document = {"policy": bundle.id, **report.as_json(comparison, bundle.manifest, capture)}
        files.write_text(args.json, json.dumps(document, indent=2) + "\n")
    if args.plot is not None:
        with files.replacing(args.plot) as beside:
            report.plot(comparison, bundle, capture, beside)
    if args.stats is not None and comparison.stats is not None:
        mean, std = comparison.stats
        with files.replacing(args.stats) as beside, beside.open("wb") as stream:
            np.savez(stream, mean=mean, std=std)
    if not comparison.equal:
        raise GateError(f"{args.bundle} does not do what {args.capture} shows")
