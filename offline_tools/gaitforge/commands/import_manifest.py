"""gaitforge import: a manifest from what the trainer wrote."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from gaitforge.bundle.importers import formats
from gaitforge.common import console, files
from gaitforge.common.manifest import checked_manifest

if TYPE_CHECKING:
    from gaitforge.commands import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "import",
        help="make a manifest from what a trainer wrote",
        description="Make a manifest from a trainer's own files, and name what could not be taken over.",
    )
    parser.add_argument("format", choices=sorted(formats.FORMATS), help="whose files")
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
    additions = files.read_yaml(args.complete, "the file") if args.complete is not None else {}
    name = args.name or args.output.absolute().parent.name
    imported = formats.read(args.format, args.files, args.joints, additions, name)
    for text in imported.lost:
        console.note(f"not taken over: {text}")
    if imported.missing:
        console.note(f"still to be given (--complete, or by hand): {', '.join(imported.missing)}")
    else:
        checked_manifest(imported.manifest, str(args.output))
    text = yaml.safe_dump(imported.manifest, sort_keys=False, default_flow_style=None, width=100)
    files.write_text(args.output, text)
    console.say(f"wrote {args.output}")
