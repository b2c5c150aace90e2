"""The site: it builds without a warning, needs nothing from elsewhere, and speaks two languages."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.thorough
pytest.importorskip("material", reason="mkdocs-material not found: pip install '.[site]'")


def build(root: Path, output: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, root / "tools/site/build.py", "--output", output]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page that is missing in its nav, or a link that leads nowhere, ends the build."""
    output = tmp_path_factory.mktemp("built") / "site"
    done = build(ROOT, output)
    assert (done.returncode, done.stderr) == (0, "")
    return output


class Resources(HTMLParser):
    """What a browser fetches to show a page, and its head's alternates."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.alternates: dict[str, str] = {}
        self.language = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "html":
            self.language = values["lang"]
        elif tag == "link" and values.get("rel") == "alternate":
            self.alternates[values["hreflang"]] = values["href"]
        elif tag == "link":
            self.fetched.append(values["href"])
        elif "src" in values:
            self.fetched.append(values["src"])


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    pages = [*site.rglob("*.html")]
    assert len(pages) > 30
    for page in pages:
        resources = Resources(page.read_text("utf-8"))
        assert len(resources.fetched) > 3
        assert [name for name in resources.fetched if re.match(r"[a-z]+:|//", name)] == [], page.name
        assert "mermaid" not in page.read_text("utf-8"), "its program comes from elsewhere"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"@import|url\([\"']?(https?:|//)", sheet.read_text("utf-8")), sheet.name


def test_a_page_leads_to_itself_in_the_other_language(site: Path) -> None:
    chinese = [*site.rglob("*.zh-CN.html")]
    assert len(chinese) > 3
    for page in chinese:
        name = page.name.replace(".zh-CN", "").replace("README", "index")
        for here, language, there in (
            (page, "zh", page.with_name(name)),
            (page.with_name(name), "en", page),
        ):
            head = Resources(here.read_text("utf-8"))
            other = {"zh": "en", "en": "zh"}[language]
            assert (head.language, (here.parent / head.alternates[other]).resolve()) == (language, there)


def test_headings_are_called_as_on_github(site: Path) -> None:
    assert 'id="exit-codes"' in (site / "docs/operate.html").read_text("utf-8")
    assert re.search(r'id="[一-鿿-]+"', (site / "README.zh-CN.html").read_text("utf-8"))


def test_what_a_list_holds_is_in_it(site: Path) -> None:
    """Below the two or three spaces of indentation that GitHub takes."""
    page = (site / "docs/operate.html").read_text("utf-8")
    steps = page[page.index('id="from-simulation-to-production"') : page.index('id="upgrading-gaitd"')]
    assert re.search(r"<ol>.*<li>.*<pre.*<li>.*<pre.*<li>.*<pre.*</ol>", steps, re.DOTALL)
    assert steps.count("<ol>") == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[lost](missing.md)", "missing.md"),
        ("[lost](install.md#missing)", "#missing"),
        (None, "not included in the \"nav\""),
    ],
)  # fmt: skip
def test_what_leads_nowhere_ends_the_build(tmp_path: Path, text: str | None, complaint: str) -> None:
    root = tmp_path / "root"
    for folder in ("docs", "examples", "proto", "systemd", "tools"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("*.gaitd", "__pycache__"))
    for file in ("README.md", "README.zh-CN.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(ROOT / file, root)
    if text is None:
        (root / "docs/new.md").write_text("# New\n")
    else:
        page = root / "docs/report.md"
        page.write_text(f"{page.read_text('utf-8')}\n{text}\n")
    done = build(root, tmp_path / "site")
    assert done.returncode == 1
    assert complaint in done.stderr
