"""gaitforge train: from nothing to a walking robot, and on to a verified bundle."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from gaitd.errors import InputError
from gaitforge.common import console

if TYPE_CHECKING:
    from gaitforge.commands import Subparsers

DESCRIPTION = """\
Train a policy by PPO (rsl_rl) in MuJoCo, on the CPU. CONFIG names the contract that the policy is trained
under, the robot's parameters, the rewards and the commands; examples/lite3_trained/train.yaml is one.

Interrupted at any moment, the same command goes on from the last checkpoint, with the same result. At the
end the policy walks episodes that the training never saw; then it is exported, calibrated, converted,
verified and packed as by gaitforge chain.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "train",
        help="train a policy on this machine's processors, and make a bundle of it",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "config", type=Path, nargs="?", default=Path("train.yaml"), help="default: %(default)s"
    )
    parser.add_argument(
        "--output", type=Path, help="directory (default: CONFIG's folder name below build/train)"
    )
    parser.add_argument("--seed", type=int, help="instead of the settings'")
    parser.add_argument(
        "--processes",
        type=int,
        default=os.cpu_count() or 1,
        help="each with its part of the robots; the result depends on their number (default: one "
        "for each processor)",
    )
    parser.add_argument(
        "--begin-with",
        type=Path,
        metavar="CHECKPOINT",
        help="begin with the networks of another training, whose observation is the beginning of this one's",
    )
    parser.add_argument("--preview", action="store_true", help="render a short video at each checkpoint")
    parser.add_argument("--against", type=Path, metavar="BUNDLE", help="let it walk the same episodes")
    parser.add_argument("--no-bundle", action="store_true", help="stop after the episodes")
    parser.add_argument(
        "--mjcf",
        type=Path,
        metavar="MODEL",
        help="draft CONFIG and what belongs to it for this robot into --output, and train nothing yet",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Train, evaluate, make the bundle."""
    from gaitforge.train import finish, preview
    from gaitforge.train.run import read_task, train

    if args.mjcf is not None:
        _draft(args)
        return
    if args.processes < 1:
        raise InputError(f"--processes: expected at least 1, got {args.processes}")
    output = args.output or Path("build/train") / args.config.resolve().parent.name
    task = read_task(args.config, output, args.processes, args.seed, args.begin_with)
    last = train(
        task,
        output,
        (lambda checkpoint: preview.render(task, checkpoint, output / "preview")) if args.preview else None,
    )
    result = finish.evaluate(task, last, output, args.against)
    finish.check_walks(result)
    if args.no_bundle:
        return
    made = finish.bundle(task, last, args.config.parent / task.config.manifest, output)
    console.say(f"{made} is ready")


def _draft(args: argparse.Namespace) -> None:
    from gaitforge.train.draft.write import draft

    if args.output is None:
        raise InputError("--mjcf writes a draft: say where to with --output")
    settings = draft(args.mjcf, args.output)
    console.say(
        f"wrote {settings}, and robot.yaml and manifest.yaml beside it: read them, then\n"
        f"  gaitforge train {settings}"
    )
