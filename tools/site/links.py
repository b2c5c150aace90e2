"""The links of the repository's Markdown pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ELSEWHERE = re.compile(r"[a-z]+:")
"""What a link to another place begins with."""
_CODE = re.compile(r"^( *)(```|~~~).*?^\1\2$|`[^`\n]*(?:\n[^`\n]+)?`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *#*$", re.MULTILINE)


def links(text: str) -> Iterator[tuple[str, str]]:
    """Path and anchor of each link to a file of the repository or to a place in the page."""
    for target in _LINK.findall(_CODE.sub("", text)):
        if not ELSEWHERE.match(target):
            path, _, anchor = target.partition("#")
            yield path, anchor


def anchors(text: str) -> set[str]:
    """What the page's headings are called in links, as GitHub and the site make it."""
    blocks = re.compile(r"^( *)(```|~~~).*?^\1\2$", re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    for heading in _HEADING.findall(blocks.sub("", text)):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        number = 0
        while (numbered := f"{name}-{number}" if number else name) in found:
            number += 1
        found.add(numbered)
    return found


def reachable(root: Path, starts: list[Path]) -> set[Path]:
    """The starts and every file that they lead to, link by link, below ``root``."""
    found: set[Path] = set()
    todo = list(starts)
    while todo:
        page = todo.pop()
        if page in found or not page.is_file():
            continue
        found.add(page)
        if page.suffix == ".md":
            todo += [(page.parent / path).resolve() for path, _ in links(page.read_text("utf-8")) if path]
    return {path for path in found if path.is_relative_to(root)}
