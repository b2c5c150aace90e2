"""A Chinese page has the commands, outputs and figures of its English one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.guide import Block, blocks

ROOT = Path(__file__).parents[2]
CHINESE = sorted([*ROOT.glob("*.zh-CN.md"), *ROOT.glob("docs/**/*.zh-CN.md")])
TITLES = {
    "on the robot": "在机器人上",
    "in the vendor's sources": "在厂商源码中",
    "with Docker": "需要 Docker",
    "with network": "需要网络",
    "for example": "例如",
}
_COMMENT = re.compile(r"\s+(?:#|//) .*$|^\s*(?:#|//) .*$", re.MULTILINE)


def english_of(page: Path) -> Path:
    return page.with_name(page.name.replace(".zh-CN", ""))


def title_in_chinese(title: str) -> str:
    return TITLES.get(title, title.replace("terminal ", "终端 "))


def figures(page: Path) -> set[str]:
    """The numbers of a page; millions as such."""
    text = re.sub(r"(\d+) 万", lambda match: f"{int(match[1]) / 100:g}", page.read_text("utf-8"))
    return set(re.findall(r"(?<![\w.])\d+(?:[.,]\d+)*", text))


def bare(block: Block) -> str:
    """Without comments and the words in their place, which each language has of its own."""
    return re.sub(r"\s+", " ", _COMMENT.sub("", block.text)).strip()


def block_differences(chinese: Path) -> list[tuple[str, str]]:
    here, there = blocks(chinese), blocks(english_of(chinese))
    pairs = [
        (f"{title_in_chinese(e.title)}: {bare(e)}", f"{c.title}: {bare(c)}")
        for e, c in zip(there, here, strict=False)
    ]
    found = [(english, other) for english, other in pairs if english != other]
    return found + [("blocks", f"{len(there)} and {len(here)}")] * (len(there) != len(here))


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in CHINESE])
def test_the_code_is_the_same_in_both_languages(page: str) -> None:
    assert block_differences(ROOT / page) == []


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in CHINESE])
def test_no_figure_is_in_chinese_alone(page: str) -> None:
    """A page that says less has fewer; none has others."""
    chinese, english = figures(ROOT / page), figures(english_of(ROOT / page))
    assert chinese <= english


def test_figures_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.zh-CN.md"
    page.write_text("1230 万步，0.5 m/s，2,000 次，v2.0，model_5", "utf-8")
    assert figures(page) == {"12.3", "0.5", "2,000"}


def test_a_command_that_differs_is_found(tmp_path: Path) -> None:
    english, chinese = tmp_path / "page.md", tmp_path / "page.zh-CN.md"
    english.write_text('```sh title="terminal 2"\nls -l  # all\n```\n\n```\ntwo\n```\n', "utf-8")
    chinese.write_text('```sh title="终端 2"\nls -l    # 全部\n```\n\n```\ntwo\n```\n', "utf-8")
    assert block_differences(chinese) == []
    chinese.write_text('```sh title="终端 3"\nls -a  # 全部\n```\n', "utf-8")
    assert block_differences(chinese) == [
        ("终端 2: ls -l", "终端 3: ls -a"),
        ("blocks", "2 and 1"),
    ]
