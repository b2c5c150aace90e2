"""gaitctl top: the command."""

from __future__ import annotations

import argparse
import re
import time
from typing import TYPE_CHECKING, Any

from gaitd.ctl import route
from gaitd.ctl.top.keyboard import Keyboard
from gaitd.ctl.top.watch import View, Watch
from gaitd.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

DEFAULT_INTERVAL_S = 1.0
_QUIT, _ESCAPE = frozenset("qQ"), "\x1b"
_OTHER_KEYS = re.compile(r"\x1b(O.|\[[0-9;]*.)")
"""Arrows and their like come as several letters."""


def add_parser(commands: Any) -> None:
    """Add the command to gaitctl."""
    parser = commands.add_parser("top", help="a live view; q quits")
    parser.add_argument("--once", action="store_true", help="print one frame and end")
    parser.add_argument(
        "--interval", type=_interval, default=DEFAULT_INTERVAL_S, metavar="S", help="between two looks (1)"
    )
    route.add_options(parser)
    parser.set_defaults(command=_run)


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 60.0:
        raise argparse.ArgumentTypeError(f"expected 0.1 to 60 seconds, got {text!r}")
    return seconds


def _run(options: argparse.Namespace) -> int:
    console = _console()
    if not options.once and (not console.is_terminal or console.is_dumb_terminal):
        raise InputError(
            "standard output is no terminal that can show it: gaitctl top --once prints one frame"
        )
    watch = Watch(route.of_options(options))
    try:
        first = watch.look()
        if options.once:
            console.print(_text(first, console, None))
        else:
            _show(watch, first, console, options.interval)
    finally:
        watch.close()
    return 0


def _show(watch: Watch, view: View, console: Console, interval_s: float) -> None:
    """Until somebody quits."""
    from rich.control import Control

    with Keyboard() as keyboard, console.screen(hide_cursor=True) as screen:
        while True:
            until_s = time.monotonic() + interval_s
            while (left_s := until_s - time.monotonic()) > 0:
                with console:  # one write, from the top; the terminal may have another size now
                    console.control(Control.home())
                    screen.update(_text(view, console, console.height))
                keys = keyboard.wait(left_s)
                if keyboard.ended or keys == _ESCAPE or not _QUIT.isdisjoint(_OTHER_KEYS.sub("", keys)):
                    return
            view = watch.look()


def _text(view: View, console: Console, height: int | None) -> Text:
    from rich.text import Text

    from gaitd.ctl.top.chart import plain
    from gaitd.ctl.top.frame import draw

    lines = draw(view, console.width, height)
    if console.options.ascii_only:
        for line in lines:
            line.plain = plain(line.plain)
    return Text("\n", no_wrap=True, overflow="crop", end="" if height else "\n").join(lines)


def _console() -> Console:
    """Raises InputError where what draws is not installed."""
    try:
        from rich.console import Console
    except ModuleNotFoundError:
        raise InputError("gaitctl top needs the package rich: pip install 'gaitd[top]'") from None
    return Console(highlight=False, markup=False, emoji=False)
