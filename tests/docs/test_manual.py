"""The manual pages and completions of the package: what man and bash make of them."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written as the package does it."""
    path = tmp_path_factory.mktemp("root")
    subprocess.run([sys.executable, ROOT / "tools/reference/manual.py", path, "1.2.3"], check=True)
    return path


@pytest.mark.skipif(shutil.which("man") is None, reason="man not found: sudo apt-get install man-db groff")
@pytest.mark.parametrize(
    ("page", "texts"),
    [
        ("man8/gaitd.8.gz", ["gaitd - run a trained locomotion policy", "--metrics-port", "EXIT STATUS"]),
        ("man1/gaitctl.1.gz", ["gaitctl - look at a running gaitd", "gaitctl damp", "--detail DETAIL"]),
        ("man5/gaitd.toml.5.gz", ["deadline_periods", "number, 2 to 20 (control periods); default 5.0"]),
    ],
)
def test_man_shows_a_page_without_a_warning(root: Path, page: str, texts: list[str]) -> None:
    file = root / "usr/share/man" / page
    done = subprocess.run(
        ["man", "--warnings", "--local-file", file],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "100"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    shown = " ".join(done.stdout.split())
    assert [text for text in texts if text not in shown] == []
    assert "gaitd 1.2.3" in gzip.decompress(file.read_bytes()).decode()


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("gaitd ", {"run", "check", "config"}),
        ("gaitd run --back", {"--backend"}),
        ("gaitctl re", {"record", "rehearse", "release", "remove", "replay", "report"}),
        ("gaitctl install --no-", {"--no-restart"}),
        ("gaitctl selftest --backend rk", {"rknn", "rknnlite"}),
        ("gaitctl install walk", {"walk.gaitd"}),
    ],
)
def test_bash_completes_commands_options_choices_and_files(
    root: Path, tmp_path: Path, line: str, completed: set[str]
) -> None:
    (tmp_path / "walk.gaitd").touch()
    program, *words = line.split(" ")
    script = (
        f'source "{root}/usr/share/bash-completion/completions/{program}"\n'
        'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))\n'
        f'function=$(complete -p {program} | sed "s/.*-F \\([^ ]*\\).*/\\1/")\n'
        '"$function"\n'
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["bash", "-c", script, "bash", program, *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert (set(done.stdout.split()), done.stderr) == (completed, "")
