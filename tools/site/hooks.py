"""What MkDocs does otherwise for these pages: two languages, and lists as GitHub reads them."""

from __future__ import annotations

from typing import Any

from markdown import Extension, Markdown
from markdown.blockprocessors import CodeBlockProcessor, ListIndentProcessor, OListProcessor, UListProcessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page

CHINESE = ".zh-CN.md"


def on_config(config: MkDocsConfig) -> None:
    """Read lists as GitHub does."""
    config.markdown_extensions.append(ShortIndents())


def on_page_context(
    context: dict[str, Any], page: Page, config: MkDocsConfig, nav: Navigation
) -> dict[str, Any]:
    """Have the page in its own language, and the way to the same page in the other one in its head."""
    is_chinese = page.file.src_uri.endswith(CHINESE)
    stem = page.file.src_uri.removesuffix(CHINESE).removesuffix(".md")
    by_name = {other.file.src_uri: other for other in nav.pages}
    pair = {"en": by_name.get(f"{stem}.md"), "zh": by_name.get(f"{stem}{CHINESE}")}
    homes = {"en": by_name["README.md"], "zh": by_name["README.zh-CN.md"]}
    config.theme["language"] = "zh" if is_chinese else "en"
    config.extra["alternate"] = [
        {"name": name, "lang": lang, "link": (pair[lang] or homes[lang]).url}
        for lang, name in (("en", "English"), ("zh", "中文"))
    ]
    return context


class ShortIndents(Extension):
    """Lists go on below two spaces of indentation, where Python-Markdown wants four."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        """Make the parsers of lists anew, with the other width."""
        md.tab_length = 2
        for name, kind, priority in (
            ("indent", ListIndentProcessor, 90),
            ("code", CodeBlockProcessor, 80),
            ("olist", OListProcessor, 40),
            ("ulist", UListProcessor, 30),
        ):
            md.parser.blockprocessors.register(kind(md.parser), name, priority)
