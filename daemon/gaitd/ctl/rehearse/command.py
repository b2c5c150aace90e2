"""The command ``gaitctl rehearse``: its options and its files."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import signal
import sys
from pathlib import Path
from typing import Any

import gaitd
from gaitd.ctl.rehearse.page import as_page
from gaitd.ctl.rehearse.person import Confirmer, Nobody, Person
from gaitd.ctl.rehearse.run import Rehearsal
from gaitd.ctl.rehearse.scene import Scene
from gaitd.ctl.rehearse.table import Row, as_table, bad_rows, in_words, steps_for
from gaitd.errors import GateError, InputError

_INTRODUCTION = """\
The robot hangs on its stand, legs free; your emergency stop is in your hand.
Each step puts one fault into the running system, after you have confirmed it;
its reaction is timed at the controller. Ctrl-C at any moment undoes the fault."""


def add_parser(commands: Any) -> None:
    """Add the command to gaitctl."""
    parser = commands.add_parser(
        "rehearse", help="inject the faults that matter into the robot on its stand, and time its reactions"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("gaitd-rehearsal.json"), help="and .html beside it"
    )
    parser.add_argument("--yes", action="store_true", help="confirm every step; for a simulated robot")
    parser.add_argument("--insist", action="store_true", help="--yes beside a real robot")
    parser.add_argument("--button", metavar="COMMAND", help="with --yes: presses the controller's button")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    if not options.yes and (options.button or options.insist):
        raise InputError("--button and --insist go with --yes")
    if not options.yes and not sys.stdin.isatty():
        raise InputError("a person at a terminal confirms each step; --yes confirms all of a simulated robot")
    if options.output.suffix != ".json":
        raise InputError(f"{options.output}: must end in .json; the page .html goes beside it")
    confirmer: Confirmer = Nobody(options.button) if options.yes else Person()
    for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: what was begun is undone
        signal.signal(number, signal.default_int_handler)
    _say(_INTRODUCTION)
    rows: list[Row] = []
    with contextlib.closing(Scene(options.runtime_dir)) as scene:
        rehearsal = Rehearsal(scene, confirmer, _say)
        session = rehearsal.begin(insist=options.insist, unattended=options.yes)
        made = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="minutes")

        def table() -> dict[str, Any]:
            return as_table(session, made, gaitd.__version__, rows)

        _write(options.output, table())
        for row in rehearsal.rows(steps_for(session)):
            rows.append(row)
            _write(options.output, table())
    final = table()
    _say("\n" + in_words(final))
    _say(f"\nwritten to {options.output} and {options.output.with_suffix('.html')}")
    if bad := bad_rows(final):
        raise GateError(
            f"{len(bad)} of {len(final['rows'])} rows are not within their bounds, or not measured: "
            f"{', '.join(bad)}; docs/rehearse.md says what to do"
        )
    return 0


def _write(path: Path, table: dict[str, Any]) -> None:
    files = {path: json.dumps(table, indent=2) + "\n", path.with_suffix(".html"): as_page(table)}
    for file, text in files.items():
        try:
            file.write_text(text)
        except OSError as error:
            raise InputError(f"{file}: cannot be written: {error.strerror}") from None


def _say(text: str) -> None:
    print(text, flush=True)
