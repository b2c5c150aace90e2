"""Options that several commands have."""

from __future__ import annotations

import argparse
from pathlib import Path

from gaitforge.rknn.convert import ALGORITHMS
from gaitforge.simulate.terrain import KINDS


def add_bundle(parser: argparse.ArgumentParser, output: str) -> None:
    """--bundle, and --output with its default."""
    parser.add_argument("--bundle", type=Path, required=True, help="the policy")
    parser.add_argument("--output", type=Path, default=Path(output), help="where the results go")


def add_model(parser: argparse.ArgumentParser) -> None:
    """--mjcf."""
    parser.add_argument(
        "--mjcf",
        type=Path,
        metavar="MODEL",
        help="MuJoCo model of the robot that walks (default: the Lite3's, for policies of its joints)",
    )


def add_robot(parser: argparse.ArgumentParser) -> None:
    """--mjcf, --terrain and --height-map."""
    add_model(parser)
    parser.add_argument(
        "--terrain", choices=KINDS, default="flat", help="what it walks on (default: %(default)s)"
    )
    parser.add_argument(
        "--height-map",
        metavar="NAME:LENGTHxWIDTH",
        help="fill this stream of the policy, rows x columns over so many m around the base, with how far "
        "the ground lies below the base",
    )


def add_controller(parser: argparse.ArgumentParser) -> None:
    """--controller."""
    parser.add_argument("--controller", type=Path, required=True, help="the built example controller")


def add_conversion(parser: argparse.ArgumentParser) -> None:
    """--algorithm and --target."""
    parser.add_argument("--algorithm", choices=ALGORITHMS, default="normal", help="default: %(default)s")
    parser.add_argument("--target", default="rk3588", help="chip (default: %(default)s)")
