"""Options that say what a checkpoint does not tell, for every command that takes one."""

from __future__ import annotations

import argparse
from pathlib import Path

from gaitforge.checkpoint.choices import HEADS, NO_NORMALIZER, Choices


def add_choices(parser: argparse.ArgumentParser) -> None:
    """Add them, and --config."""
    parser.add_argument("--config", type=Path, help="YAML that describes the actor")
    parser.add_argument("--activation", help="activation of the hidden layers, where nothing tells it")
    parser.add_argument(
        "--actor",
        metavar="PREFIX",
        action="append",
        default=[],
        help="key of the actor's layers; again for each part that follows (policy.trunk, then policy.head)",
    )
    parser.add_argument(
        "--normalizer",
        metavar="KEY",
        help=f"key of the observation's normalizer in the checkpoint, or {NO_NORMALIZER}",
    )
    parser.add_argument(
        "--ignore",
        metavar="KEY",
        action="append",
        default=[],
        help="key in the checkpoint that the action does not need; may be repeated",
    )
    parser.add_argument(
        "--head",
        choices=HEADS,
        help="what the last layer gives: the action, its mean and deviation, or a Beta's parameters",
    )


def choices_of(args: argparse.Namespace) -> Choices:
    """Return what was said."""
    return Choices(
        actor=tuple(args.actor),
        normalizer=args.normalizer,
        ignore=tuple(args.ignore),
        activation=args.activation,
        head=args.head,
    )
