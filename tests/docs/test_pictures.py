"""The drawings are what their script draws, in both languages, for a phone in the light and in the dark."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from support.scripts import load

ROOT = Path(__file__).parents[2]
pictures = load(ROOT / "tools/pictures.py")
SVG = "{http://www.w3.org/2000/svg}"
NARROWEST_PX, SMALLEST_PX = 360, 10
"""A phone's width, and the size of letters that one can read there."""


@pytest.fixture(scope="module")
def drawn() -> dict[Path, str]:
    made: dict[Path, str] = pictures.outputs()
    return made


def test_the_files_are_those_of_the_script(drawn: dict[Path, str]) -> None:
    for path, text in drawn.items():
        assert path.read_text("utf-8") == text, f"{path.name}: run make pictures"
    assert set(drawn) == set((ROOT / "docs/images").glob("*.svg"))


def test_a_phone_shows_letters_that_can_be_read_and_nothing_is_outside(drawn: dict[Path, str]) -> None:
    for path, text in drawn.items():
        root = ElementTree.fromstring(text)
        width, height = (float(number) for number in root.attrib["viewBox"].split()[2:])
        smallest = min(float(size) for size in re.findall(r"(?:font:|font-size:)(\d+)px", text))
        assert smallest * NARROWEST_PX / width >= SMALLEST_PX, path.name
        for box in root.iter(f"{SVG}rect"):
            across = float(box.get("x", 0)) + float(box.attrib["width"])
            down = float(box.get("y", 0)) + float(box.attrib["height"])
            assert across <= width, path.name
            assert down <= height, path.name
        assert "prefers-color-scheme:dark" in text


def test_each_language_has_its_own_words(drawn: dict[Path, str]) -> None:
    for path, text in drawn.items():
        assert bool(re.search("[一-鿿]", re.sub("<style>.*?</style>", "", text, flags=re.DOTALL))) == (
            ".zh-CN." in path.name
        ), path.name
