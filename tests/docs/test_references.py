"""docs/reference says what the source says, and says something of everything."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.references import generator

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
BY_HAND = {REFERENCE / "README.md"}


@pytest.fixture(scope="module")
def pages() -> dict[Path, str]:
    made: dict[Path, str] = generator.outputs()
    return made


def test_the_pages_are_those_of_the_source(pages: dict[Path, str]) -> None:
    for path, text in pages.items():
        assert path.read_text("utf-8") == text, (
            f"{path.name} is not what the source says: run make references"
        )
    assert set(REFERENCE.iterdir()) == {*pages, *BY_HAND}, "a page that nothing makes any more"


def test_something_is_said_of_every_key_option_and_argument(pages: dict[Path, str]) -> None:
    for path, text in pages.items():
        rows = re.findall(r"^\| `.*", text, re.MULTILINE)
        assert [row for row in rows if re.search(r"\|\s*\|$", row)] == [], path.name


def test_every_key_of_the_example_is_explained(pages: dict[Path, str]) -> None:
    keys = re.findall(r"^ *(\w+):", (ROOT / "examples/lite3_trained/manifest.yaml").read_text(), re.MULTILINE)
    assert len(keys) > 20
    unknown = [key for key in keys if f"| `{key}` |" not in pages[REFERENCE / "manifest.md"]]
    assert unknown == ["trot"], "the phase's own name"


def test_no_machine_shows_in_the_pages(pages: dict[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor who makes them, how wide the terminal is, how many processors there are."""
    monkeypatch.setattr("os.cpu_count", lambda: 77)
    for name, value in {"COLUMNS": "40", "SUDO_USER": "somebody", "HOME": "/home/somebody"}.items():
        monkeypatch.setenv(name, value)
    assert generator.outputs() == pages
