"""gaitforge import: a manifest from what the trainer wrote."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from gaitd.errors import InputError
from gaitforge.bundle.importers import isaac_lab, onnx_metadata, rl_sar, unitree_rl_lab
from gaitforge.bundle.importers.draft import Draft, complete, missing
from gaitforge.bundle.pack import checked_manifest
from gaitforge.common import console, files

if TYPE_CHECKING:
    from gaitforge.cli import Subparsers

Reader = Callable[[Sequence[Path], Sequence[str] | None], Draft]

FORMATS: dict[str, tuple[Reader, str, int]] = {
    "isaaclab": (isaac_lab.read, "IO_descriptors.yaml", 1),
    "onnx": (onnx_metadata.read, "policy.onnx with metadata as mjlab attaches it", 1),
    "rl_sar": (rl_sar.read, "config.yaml of the policy, base.yaml of the robot", 2),
    "unitree_rl_lab": (unitree_rl_lab.read, "deploy.yaml", 1),
}
"""Reader, what to give it, and how many files at most."""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "import",
        help="make a manifest from what a trainer wrote",
        description="Make a manifest from a trainer's own files, and name what could not be taken over.",
    )
    parser.add_argument("format", choices=sorted(FORMATS), help="whose files")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="the trainer's files")
    parser.add_argument("--joints", nargs="+", metavar="NAME", help="joint names, where the files have none")
    parser.add_argument(
        "--complete", type=Path, metavar="YAML", help="keys of the manifest to add or to put in their place"
    )
    parser.add_argument("--name", help="name of the policy (default: that of the output's directory)")
    parser.add_argument("--output", type=Path, default=Path("manifest.yaml"), help="default: %(default)s")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Read, complete, write."""
    reader, expected, count = FORMATS[args.format]
    if len(args.files) > count:
        raise InputError(f"{args.format} takes {expected}, not {len(args.files)} files")
    draft = reader(args.files, args.joints)
    additions = files.read_yaml(args.complete, "the file") if args.complete is not None else {}
    manifest = complete(draft, additions, args.name or args.output.absolute().parent.name)
    for text in draft.lost:
        console.note(f"not taken over: {text}")
    absent = missing(manifest)
    if absent:
        console.note(f"still to be given (--complete, or by hand): {', '.join(absent)}")
    else:
        checked_manifest(manifest, str(args.output))
    files.write_text(
        args.output, yaml.safe_dump(manifest, sort_keys=False, default_flow_style=None, width=100)
    )
    console.say(f"wrote {args.output}")
