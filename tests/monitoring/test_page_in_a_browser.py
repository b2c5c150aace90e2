"""The page of gaitctl explain in a real browser, as wide as a telephone and as a desk's screen."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gaitd.bundle.read import Bundle
from gaitd.ctl.explain.account import Account
from gaitd.ctl.explain.page import page_of
from support.tape import walking

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.monitoring,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt install chromium"),
]
MEASURE = """<script>
const shown = [...document.querySelectorAll('body *')].filter(e => e.checkVisibility());
const text = shown.filter(e => !e.children.length).map(e => e.textContent).join(' ');
document.title = JSON.stringify([document.documentElement.scrollWidth, innerWidth,
  document.querySelectorAll('svg polyline').length, text.includes('推理'), text.includes('inference')]);
</script>"""


def opened(page: str, width: int, path: Path) -> tuple[int, int, int, bool, bool]:
    """How wide the page turned out and was to be; drawn lines; whether Chinese, and English, is shown."""
    path.write_text(page.replace("</body>", MEASURE + "</body>"), encoding="utf-8")
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={width},1200"]
    command += [f"--user-data-dir={path.parent}/profile", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    match = re.search(r"<title>\[(\d+),(\d+),(\d+),(\w+),(\w+)\]</title>", done.stdout)
    assert match is not None, done.stderr[-2000:]
    wide, wanted, lines = (int(match[place]) for place in (1, 2, 3))
    return wide, wanted, lines, match[4] == "true", match[5] == "true"


@pytest.mark.parametrize("width", [500, 1280])
def test_it_fits_and_shows_one_language_at_a_time(small_bundle: Bundle, tmp_path: Path, width: int) -> None:
    with walking(small_bundle, 300) as tape:
        tape.backend.error = "rknn_run: RKNN_ERR_TIMEOUT"
        tape.walk(8)
        page = page_of(Account.of(Path("gaitd-000001-backend_error.mcap"), tape.recording()))
    wide, wanted, lines, chinese, english = opened(page, width, tmp_path / "page.html")
    assert wide <= wanted, "nobody scrolls sideways"
    assert lines >= 4
    assert (chinese, english) == (False, True)
    page = page.replace('id="en" checked', 'id="en"').replace('id="zh"', 'id="zh" checked', 1)
    *_, chinese, english = opened(page, width, tmp_path / "page.html")
    assert chinese
