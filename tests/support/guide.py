"""A page's code blocks, and a home directory in which they are typed word by word.

What the first word and the title of a block say to a test, and to a reader of the site:

========================================  ==============================================================
``sh``                                    typed in the reader's first terminal; it must end with 0
``sh`` ``title="terminal 2"``             typed in another terminal, where it goes on to the end of the page
``sh`` ``title="on the robot"``           cannot run here; see ELSEWHERE
``text`` after one of these               what it prints: ``...`` is any text, alone in a line any lines
``text`` ``title="for example"``          the same, with other figures
anything with ``title="main.cpp"``        a file, written into the first terminal's directory
========================================  ==============================================================
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from gaitforge.rknn import environment
from support.daemon import wait_until

ROOT = Path(__file__).parents[2]
ELSEWHERE = ("on the robot", "in the vendor's sources", "with Docker", "with network")
"""Titles of blocks that need what a test has not: they are parsed, counted and not run."""
TERMINAL = re.compile(r"terminal \d")
BLOCK_S, SHOWN_S = 300.0, 60.0
"""Longest time of a block, and until what another terminal shows is there."""
_FENCE = re.compile(r'^ *```(\w*)(?: title="([^"]*)")?\n(.*?)^ *```$', re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"[\w./-]*\w\.\w+|Dockerfile")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
_FIGURE = re.compile(r"\d+(?:\\\.\d+)?")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    title: str
    text: str

    @property
    def is_file(self) -> bool:
        """To be written down under its title."""
        return bool(_FILE.fullmatch(self.title))


def blocks(page: Path) -> list[Block]:
    """All of a page, in order."""
    return [Block(match[1], match[2] or "", match[3]) for match in _FENCE.finditer(page.read_text("utf-8"))]


def shown_as(expected: str, *, figures: bool) -> re.Pattern[str]:
    """What the output must match that a page shows. With ``figures`` its numbers may be others."""
    lines = []
    for line in expected.strip("\n").split("\n"):
        if line.strip() == "...":
            lines.append(r"(?:.*\n)*?")
            continue
        text = re.escape(line.rstrip()).replace(re.escape("..."), ".*")
        if figures:
            text = re.sub(r"(?:\\ )+", r"\\s+", _FIGURE.sub(r"\\d+(?:\\.\\d+)?", text))
        lines.append(f"{text} *\n")
    return re.compile("".join(lines))


@dataclass
class Terminal:
    """A shell whose directory and exported variables last from one block to the next."""

    home: Path
    state: Path
    _groups: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _log: Path | None = None

    def type(self, text: str) -> subprocess.Popen[bytes]:
        """Begin a block, as bash -e."""
        number = len(self._groups)
        self._log = self.state.with_suffix(f".{number}.log")
        script = self.state.with_suffix(f".{number}.sh")
        script.write_text(
            f'cd "$HOME"; [ ! -e "{self.state}" ] || . "{self.state}"\n'
            f"""trap '{{ declare -px; printf "cd %q\\n" "$PWD"; }} >"{self.state}"' EXIT\n"""
            f"set -e -o pipefail\n{text}"
        )
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                ["bash", script],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._groups.append(process)
        return process

    def output(self) -> str:
        """Of the block that was begun last."""
        assert self._log is not None
        return _ESCAPES.sub("", self._log.read_text("utf-8", "replace"))

    def directory(self) -> Path:
        """Where the last block that ended has left it."""
        if not self.state.exists():
            return self.home
        return Path(self.state.read_text().rsplit("\ncd ", 1)[1].strip())

    def close(self) -> None:
        """End what still runs, as Ctrl-C does; then the rest."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            for process in self._groups:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
            for process in self._groups:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PYTHONPATH", "TMPDIR") if name in os.environ}
        return {
            **kept,
            "HOME": str(self.home),
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "COLUMNS": "120",
            "GAITFORGE_RKNN_VENV": str(environment.location()),
        }


def make_home(folder: Path) -> Path:
    """An empty home but for ~/gaitd, a clone in which `make demo` has been run."""
    home = folder / "home"
    clone = home / "gaitd"
    clone.mkdir(parents=True)
    for path in ROOT.iterdir():
        if path.name != ".venv":
            (clone / path.name).symlink_to(path)
    (clone / ".venv").symlink_to(sys.prefix)
    return home


def follow(page: Path, folder: Path) -> None:
    """Do all that a page says, in a home of its own below ``folder``.

    Raises AssertionError at the first block that fails.
    """
    home = make_home(folder)
    terminals: dict[str, Terminal] = {}

    def terminal(title: str) -> Terminal:
        return terminals.setdefault(title, Terminal(home, folder / f"terminal{len(terminals)}"))

    first, last = terminal(""), None
    try:
        for block in blocks(page):
            where = f"{page.name}:\n{block.text}"
            if block.is_file:
                path = first.directory() / block.title
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text)
            elif block.language == "sh" and block.title in ELSEWHERE:
                last = None
            elif block.language == "sh" and TERMINAL.fullmatch(block.title):
                last = terminal(block.title)
                last.type(block.text)
            elif block.language == "sh":
                assert block.title == "", f"{where}\nno test knows the title {block.title!r}"
                last = first
                code = last.type(block.text).wait(BLOCK_S)
                assert code == 0, f"{where}\nended with {code}:\n{last.output()}"
            elif block.language == "text" and last is not None:
                _compare(block, last, is_over=last is first)
    finally:
        for each in reversed(terminals.values()):
            each.close()


def _compare(block: Block, terminal: Terminal, *, is_over: bool) -> None:
    pattern = shown_as(block.text, figures=block.title == "for example")
    if not is_over:
        wait_until(
            lambda: pattern.fullmatch(terminal.output()), SHOWN_S, f"in another terminal\n{block.text}"
        )
        return
    shown = terminal.output()
    assert pattern.fullmatch(f"{shown.rstrip()}\n"), f"the page shows\n{block.text}\nit was\n{shown}"
