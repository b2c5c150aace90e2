"""gaitforge shadow: how much two policies differ in simulation, a bound for gaitctl shadow on the robot."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitd.errors import InputError
from gaitforge.commands.options import add_robot

if TYPE_CHECKING:
    from gaitforge.commands import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "shadow",
        help="how much two policies differ in simulation, for gaitctl shadow --simulated",
        description="One policy walks through every kind of velocity command in simulation; the candidate "
        "gets the same states and answers nobody. The difference of their targets goes into a file, against "
        "which gaitctl shadow --simulated judges the two on the robot.",
    )
    parser.add_argument("walking", type=Path, help="the bundle that walks")
    parser.add_argument("candidate", type=Path, help="the bundle beside it")
    parser.add_argument("--output", type=Path, default=Path("simulated.json"), help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=3, help="walks of 14 s (default: %(default)s)")
    add_robot(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Walk, compare, write."""
    import msgspec

    from gaitd.bundle.read import open_bundle
    from gaitd.ctl.shadow.reporting import check_pair, in_words
    from gaitforge.common import console, files
    from gaitforge.simulate import body
    from gaitforge.verify.beside import compare_in_simulation

    if args.seeds < 1:
        raise InputError(f"--seeds {args.seeds}: at least one walk is needed")
    walking, candidate = open_bundle(args.walking), open_bundle(args.candidate)
    check_pair(candidate, walking.manifest)
    robot = body.find(walking.manifest, args.mjcf, args.terrain, args.height_map)
    with console.step(f"Walking {args.seeds} times with {walking.manifest.name}"):
        report = compare_in_simulation(walking, candidate, args.seeds, body=robot)
    files.write_text(args.output, msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n")
    console.say(in_words(report, walking.manifest.control_period_s))
    console.say(f"wrote {args.output}: gaitctl shadow CANDIDATE --simulated {args.output.name}")
