"""gaitforge example: files to try the chain with."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitforge.common import console
from gaitforge.example.write import write

if TYPE_CHECKING:
    from gaitforge.commands import Subparsers

NEXT = """\
To try the steps one by one, type there:
  gaitforge export demo_policy.pt --config example_actor_config.yaml --output policy.onnx
  gaitforge calibrate --env gaitforge.example:make_env --policy policy.onnx --obs-stats demo_obs_stats.npz
  gaitforge convert policy.onnx --dataset calib_obs.npy --do-quant --output policy.rknn
  gaitforge agent policy.rknn --env gaitforge.example:make_env --obs-stats demo_obs_stats.npz
or all at once, for a verified bundle:
  gaitforge chain demo_policy.pt"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "example",
        help="write a random policy and what belongs to it, to try the chain",
        description="Write demo_policy.pt, demo_obs_stats.npz, example_actor_config.yaml and manifest.yaml.",
    )
    parser.add_argument("--directory", type=Path, default=Path(), help="where (default: here)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write the files and print what to type next."""
    for path in write(args.directory, args.seed):
        console.say(f"wrote {path}")
    console.say(NEXT)
