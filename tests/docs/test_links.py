"""Every link between the pages, and into them, leads somewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.site import links

ROOT = Path(__file__).parents[2]
PATTERNS = ("*.md", "docs/**/*.md", "proto/**/*.md", "examples/**/*.md")
PAGES = [page for pattern in PATTERNS for page in sorted(ROOT.glob(pattern))]


def leads_nowhere(page: Path) -> list[str]:
    """The page's links to files or headings that are not there."""
    lost = []
    for path, anchor in links.links(page.read_text("utf-8")):
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in links.anchors(target.read_text("utf-8"))):
            lost.append(f"{path}#{anchor}".removesuffix("#"))
    return lost


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in PAGES])
def test_every_link_leads_somewhere(page: str) -> None:
    assert leads_nowhere(ROOT / page) == []


def test_there_are_links_to_check() -> None:
    found = [link for page in PAGES for link in links.links(page.read_text("utf-8"))]
    assert len(found) > 100
    assert len([anchor for _, anchor in found if anchor]) > 10


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text(
        "# A title\n\n## Its `code`, and more\n\n## 中文 标题\n\n```\n# no heading\n```\n"
    )
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md) [b](other.md#its-code-and-more) [c](other.md#中文-标题) [d](https://example.org/x)\n"
        "[e](#here) `[f](in-code.md)`\n\n```\n[g](in-a-block.md)\n```\n\n## Here\n\n"
        "[h](missing.md) [i](other.md#no-heading) [j](#nowhere) [k](../)\n"
    )
    assert leads_nowhere(page) == ["missing.md", "other.md#no-heading", "#nowhere"]


def test_every_chinese_page_leads_to_its_english_one_and_back() -> None:
    chinese = [page for page in PAGES if page.name.endswith(".zh-CN.md")]
    assert chinese
    for page in chinese:
        english = page.with_name(page.name.replace(".zh-CN", ""))
        for here, there in ((page, english), (english, page)):
            assert there.name in [path for path, _ in links.links(here.read_text("utf-8"))], here.name


def test_every_page_is_in_the_sites_menu() -> None:
    """Building the site says so, too; that takes long."""
    menu = (ROOT / "tools/site/mkdocs.yml").read_text("utf-8").partition("\nnav:")[2]
    pages = [str(page.relative_to(ROOT)) for page in ROOT.glob("docs/**/*.md") if "zh-CN" not in page.name]
    assert len(pages) > 30
    assert [page for page in pages if page not in menu] == []
