"""Write manual pages and what bash completes: python tools/reference/manual.py ROOT VERSION

The pages and completions of the package's programs, where they belong below ROOT.
"""

from __future__ import annotations

import argparse
import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import commands
import render
import settings
import shtab
from commands import exit_codes

from gaitd import cli as gaitd_cli
from gaitd.ctl import cli as gaitctl_cli
from gaitd.system.config import Config

PROGRAMS: dict[str, tuple[int, Callable[[], argparse.ArgumentParser]]] = {
    "gaitd": (8, gaitd_cli.make_parser),
    "gaitctl": (1, gaitctl_cli.make_parser),
}
"""Of the package, with the section of the manual."""


def write(root: Path, version: str) -> None:
    """Write all of it where a system looks for it."""
    manual = pages(version)
    for (name, section), text in manual.items():
        file = root / f"usr/share/man/man{section}/{name}.{section}.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    folder = root / "usr/share/bash-completion/completions"
    folder.mkdir(parents=True, exist_ok=True)
    for name, (_, make_parser) in PROGRAMS.items():
        (folder / name).write_text(completion(make_parser()), encoding="utf-8")


def pages(version: str) -> dict[tuple[str, int], str]:
    """The pages in roff, by name and section."""
    environment = render.environment()
    environment.filters["roff"] = roff
    environment.globals.update(
        version=version, names={**{n: s for n, (s, _) in PROGRAMS.items()}, "gaitd.toml": 5}
    )
    program = environment.get_template("program.man.j2")
    made: dict[tuple[str, int], str] = {}
    for name, (section, make_parser) in PROGRAMS.items():
        known: dict[str, Any] = {"program": commands.read(make_parser()), "codes": [*exit_codes()]}
        made[name, section] = program.render(name=name, section=section, **known)
    config = environment.get_template("config.man.j2")
    sections = [*settings.sections(Config)][1:]
    made["gaitd.toml", 5] = config.render(name="gaitd.toml", section=5, sections=sections)
    return made


def roff(text: str) -> str:
    """Text as it stands, whatever it holds; code without its marks."""
    text = re.sub(r"`+", "", text).replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^(?=[.'])", r"\\&", text, flags=re.MULTILINE)


def completion(parser: argparse.ArgumentParser) -> str:
    """What bash completes: commands, options, choices, and files where a path is expected."""
    _mark_files(parser)
    return shtab.complete(parser, "bash")


def _mark_files(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _mark_files(command)
        elif action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]


if __name__ == "__main__":
    options = argparse.ArgumentParser(description="Write manual pages and completions.")
    options.add_argument("root", type=Path)
    options.add_argument("version")
    given = options.parse_args()
    write(given.root, given.version)
