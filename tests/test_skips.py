"""What becomes of tests that cannot run on a machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SAW = "no saw: apt install saw"


def run(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "support.skips", "-p", "no:cacheprovider"]
    return subprocess.run([*command, *options], capture_output=True, text=True, cwd=directory)


def test_what_cannot_run_is_said_in_one_line_or_fails_where_it_must_run(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = .\nmarkers = trainers: own\n")
    (tmp_path / "test_a.py").write_text(
        f"import pytest\n@pytest.mark.skipif(True, reason='{SAW}')\ndef test_a(): pass\n"
        f"def test_b(): pytest.skip('{SAW}')\ndef test_good(): pass\n"
    )
    done = run(tmp_path, "-m", "not trainers")
    assert done.returncode == 0
    assert done.stdout.endswith(f"\nNOT RUN: 2 x {SAW}; left out: make test-trainers\n")
    done = run(tmp_path, "--must-run", "test_a.py")
    assert done.returncode == 1
    assert "1 failed, 1 passed, 1 error" in done.stdout
    assert f"cannot run here: {SAW}" in done.stdout

    (tmp_path / "test_c.py").write_text("import pytest\npytest.importorskip('no_such_module')\n")
    assert run(tmp_path, "--must-run").returncode == 2
