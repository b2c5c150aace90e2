"""gaitforge import: a manifest from what the trainer wrote."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitforge.bundle.importers import formats
from gaitforge.bundle.importers.draft import Source
from gaitforge.common import console, files
from gaitforge.common.manifest import dump_yaml

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
    parser.add_argument(
        "--ignore",
        nargs="+",
        default=[],
        metavar="KEY",
        help="keys of the trainer's files that the importer does not know and that change nothing",
    )
    parser.add_argument("--name", help="name of the policy (default: that of the output's directory)")
    parser.add_argument("--output", type=Path, default=Path("manifest.yaml"), help="default: %(default)s")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Read, complete, write."""
    additions = files.read_yaml(args.complete, "the file") if args.complete is not None else {}
    name = args.name or args.output.absolute().parent.name
    source = Source(args.files, args.joints, args.ignore)
    imported = formats.read(args.format, source, additions, name, str(args.output))
    for text in imported.notes:
        console.note(f"not taken over: {text}")
    if imported.missing:
        console.note(f"still to be given (--complete, or by hand): {', '.join(imported.missing)}")
    files.write_text(args.output, dump_yaml(imported.manifest, short_lists=True).decode())
    console.say(f"wrote {args.output}")
