"""Each quick start is typed word by word, in a home of its own, and shows what the page shows."""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import itertools
import re
import shlex
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaitd import cli as gaitd_cli
from gaitd.ctl import cli as gaitctl_cli
from gaitforge import cli as gaitforge_cli
from quickstart import trainers
from support import guide
from support.guide import ELSEWHERE, ROOT, blocks, follow, shown_as

DOCS = ROOT / "docs"
PARSERS = {
    "gaitd": gaitd_cli.make_parser,
    "gaitctl": gaitctl_cli.make_parser,
    "gaitforge": gaitforge_cli.make_parser,
}
LINE = r"^(?:\$ )?(?:sudo |\S*/)?((?:gaitd|gaitctl|gaitforge) .*)$"
QUICK = ("quickstart/README.md", "quickstart/board.md")
THOROUGH = (
    *("quickstart/controller-cpp.md", "quickstart/policy.md", "quickstart/rig.md", "quickstart/robot.md"),
    *("quickstart/sat-down.md", "quickstart/vendor.md", "python-client.md"),
)
WITH_COMMANDS = sorted([*ROOT.glob("README*.md"), *DOCS.glob("*.md"), *DOCS.glob("quickstart/*.md")])
MONITORING = ("monitoring.md",)
PAGES = (*QUICK, *THOROUGH, *MONITORING)
NOT_RUN = {
    "quickstart/README.md": {"with network": 1},
    "quickstart/board.md": {"with network": 1, "on the robot": 5},
    "quickstart/policy.md": {"with network": 1},
    "quickstart/sat-down.md": {"on the robot": 1},
    "quickstart/vendor.md": {"in the vendor's sources": 3},
    "monitoring.md": {"with Docker": 1},
}
"""How many blocks of a page need what a test has not: one more is a decision."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a short name, as the path of a socket must be."""
    with tempfile.TemporaryDirectory(prefix="gaitd-") as path:
        yield Path(path)


@pytest.mark.parametrize("page", QUICK)
def test_it_does_what_it_says(page: str, folder: Path) -> None:
    follow(DOCS / page, folder)


@pytest.mark.thorough
@pytest.mark.parametrize("page", THOROUGH)
def test_it_does_what_it_says_to_the_end(page: str, folder: Path) -> None:
    if "~/training" in (DOCS / page).read_text("utf-8"):
        trainers.write(folder / "home/training")
    follow(DOCS / page, folder)


BESIDE_ANOTHER = """
```sh title="terminal 4"
~/gaitd/.venv/bin/python ~/gaitd/examples/python_client/walk.py ~/run 30
```

```sh
until gaitctl --runtime-dir ~/run status | grep -q "mode *active"; do sleep 0.2; done
build/my_controller ~/run || echo "exit code $?"
```

```text title="for example"
refused: session ... of controller 'python' is active; asking again
error: no session within 15 s: session ... of controller 'python' is active
exit code 1
```

```sh
build/my_controller ~/run || true
```

```text title="for example"
refused: session ... of controller 'python' is active; asking again
the policy has the joints, ... s after the first state
...
```
"""
"""The page itself walks to the end; here it is enough that the session is granted in the end."""


@pytest.mark.thorough
def test_the_controller_of_the_page_asks_again_for_a_while_and_says_why(folder: Path) -> None:
    page = (DOCS / "quickstart/controller-cpp.md").read_text("utf-8")
    begin = page.index("```sh\nbuild/my_controller")
    text = page[:begin].replace("simulate --seconds 30", "simulate --seconds 120") + BESIDE_ANOTHER
    follow(page_of(folder, text), folder)


@pytest.mark.monitoring
@pytest.mark.skipif(shutil.which("promtool") is None, reason="no Prometheus here: apt install prometheus")
@pytest.mark.parametrize("page", MONITORING)
def test_prometheus_sees_what_the_page_says(page: str, folder: Path) -> None:
    follow(DOCS / page, folder)


def test_every_quick_start_is_typed() -> None:
    english = [page for page in (DOCS / "quickstart").glob("*.md") if not page.name.endswith(".zh-CN.md")]
    assert {str(page.relative_to(DOCS)) for page in english} <= set(PAGES)


def test_only_known_blocks_are_left_out() -> None:
    found = {}
    for page in PAGES:
        left_out = Counter(block.title for block in blocks(DOCS / page) if block.title in ELSEWHERE)
        if left_out:
            found[page] = dict(left_out)
    assert found == NOT_RUN


def commands(text: str) -> list[list[str]]:
    """The command lines of a block that begin with a program of ours, up to the first ; or | or &&."""
    found = []
    for line in re.findall(LINE, text.replace("\\\n", " "), re.MULTILINE):
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(itertools.takewhile(lambda word: not set(word) <= set("();<>|&"), lexer))
        if "..." not in words:  # which stands for the rest
            found.append(words)
    return found


@functools.cache
def parser_of(program: str) -> argparse.ArgumentParser:
    return PARSERS[program]()


def refusal(words: list[str]) -> str:
    """What the program's parser says against a command line."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            parser_of(words[0]).parse_args(words[1:])
        except SystemExit:
            return said.getvalue()
    return ""


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in WITH_COMMANDS])
def test_the_programs_know_every_command_of_a_page(page: str) -> None:
    """Also of those that only a robot can do."""
    words = [
        each for block in blocks(ROOT / page) if block.language in ("sh", "") for each in commands(block.text)
    ]
    assert [(each, refusal(each)) for each in words if refusal(each)] == []


def test_a_command_that_nobody_knows_is_found() -> None:
    assert commands("sudo gaitctl explian  # why\nls\n.venv/bin/gaitforge simulate \\\n --nothing | cat") == [
        ["gaitctl", "explian"],
        ["gaitforge", "simulate", "--nothing"],
    ]
    assert "explian" in refusal(["gaitctl", "explian"])


def test_what_a_page_shows_is_compared() -> None:
    assert shown_as("a 1 ...\n...\nz\n", figures=False).fullmatch("a 1 x\nb\nc\nz\n")
    assert shown_as("...\nz\n", figures=False).fullmatch("z\n")
    assert not shown_as("a 1\n", figures=False).fullmatch("a 2\n")
    assert shown_as("a  1.5\n", figures=True).fullmatch("a 22.75\n")
    assert not shown_as("a 1\n", figures=True).fullmatch("b 1\n")
    assert not shown_as("a\n", figures=False).fullmatch("a\nb\n")


def page_of(folder: Path, text: str) -> Path:
    page = folder / "page.md"
    page.write_text(text)
    return page


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```sh\nfalse\n```\n", "ended with 1"),
        ("```sh\necho one\n```\n\n```text\ntwo\n```\n", "the page shows"),
        ('```sh title="in a dream"\nls\n```\n', "no test knows"),
    ],
)
def test_a_page_that_is_wrong_is_found(folder: Path, text: str, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        follow(page_of(folder, text), folder)


def test_directory_and_variables_last_and_other_terminals_go_on_to_the_end(folder: Path) -> None:
    text = """
```sh title="terminal 2"
echo ready; cat ~/pipe
```

```text
ready
```

```sh
mkdir below && cd below && export WHAT="a thing"
```

```txt title="file.txt"
of the page
```

```sh
echo "$WHAT"; cat file.txt; pwd | sed 's|.*/||'
```

```text
a thing
of the page
below
```
"""
    guide.make_home(folder)
    with contextlib.suppress(FileExistsError):
        (folder / "home/pipe").touch()
    shutil.rmtree(folder / "home/gaitd")
    follow(page_of(folder, text), folder)
    assert re.fullmatch(r"ready\n", (folder / "terminal1.0.log").read_text())
