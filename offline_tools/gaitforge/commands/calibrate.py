"""gaitforge calibrate: representative observations, for quantization and for checks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitd.errors import InputError
from gaitforge.commands.options import add_robot
from gaitforge.common import arrays, console
from gaitforge.data import calibrate, coverage

if TYPE_CHECKING:
    from gaitforge.commands import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "calibrate",
        help="collect representative observations",
        description="Collect model inputs from an environment, from the simulated robot or from a recording.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--env", metavar="MODULE:FACTORY", help="environment with reset and step")
    source.add_argument("--simulate", action="store_true", help="the simulated robot (needs --manifest)")
    source.add_argument(
        "--recording",
        type=Path,
        metavar="FILE",
        help="a robot's recording (needs --bundle or --manifest)",
    )
    source.add_argument(
        "--capture",
        type=Path,
        metavar="FILE",
        help="a trainer's capture (gaitforge capture); with --bundle or --manifest as that normalizes",
    )
    parser.add_argument(
        "--policy",
        help="what acts: an ONNX file or module:Class; 'random' for noise (default with --env)",
    )
    contract = parser.add_mutually_exclusive_group()
    contract.add_argument(
        "--manifest", type=Path, help="the policy's contract, for --simulate and --recording"
    )
    contract.add_argument("--bundle", type=Path, help="the policy's bundle, for --recording")
    parser.add_argument(
        "--obs-stats", type=Path, help=".npz with mean and std that observations are normalized with"
    )
    add_robot(parser)
    parser.add_argument("--samples", type=int, default=calibrate.SAMPLES, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=Path("calib_obs.npy"), help="default: %(default)s")
    parser.add_argument("--raw-output", type=Path, help="also write them as they were before normalization")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Collect, write and judge."""
    if args.samples < 1:
        raise InputError(f"--samples {args.samples}: at least one is needed")
    collected = _collect(args)
    for path, rows in ((args.output, collected.inputs), (args.raw_output, collected.raw)):
        if path is not None:
            calibrate.save(path, rows)
            console.say(f"wrote {path}: {len(rows)} observations of {rows.shape[1]} values")
    coverage.report(collected.inputs, collected.manifest)


def _collect(args: argparse.Namespace) -> calibrate.Collected:
    stats = arrays.read_obs_stats(args.obs_stats) if args.obs_stats is not None else None
    if args.simulate:
        if args.manifest is None or args.policy is None:
            raise InputError("--simulate needs --manifest and --policy")
        return calibrate.collect_simulated(
            args.manifest,
            Path(args.policy),
            stats,
            args.samples,
            args.seed,
            args.mjcf,
            args.terrain,
            args.height_map,
        )
    if args.mjcf is not None or args.terrain != "flat" or args.height_map is not None:
        raise InputError(
            "--mjcf, --terrain and --height-map are of a simulated walk: add --simulate, or leave them out"
        )
    if args.capture is not None:
        return calibrate.collect_captured(args.capture, args.manifest, args.bundle, stats, args.samples)
    if args.recording is None:
        return calibrate.collect_environment(args.env, args.policy, stats, args.samples, args.seed)
    if args.manifest is not None:
        return calibrate.collect_recorded(args.recording, args.manifest, stats, args.samples)
    if args.bundle is None:
        raise InputError("--recording needs --bundle or --manifest")
    if stats is not None:
        raise InputError("--obs-stats: a bundle has its own statistics; give --manifest instead of --bundle")
    return calibrate.collect_recorded_of_bundle(args.recording, args.bundle, args.samples)
