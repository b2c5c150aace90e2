"""gaitctl embed: a policy as one file for the C++ library."""

from __future__ import annotations

from pathlib import Path

import pytest

from gaitd.bundle.compiled import compile_policy
from gaitd.bundle.read import Bundle
from gaitd.ctl.cli import main
from support.bundles import small_manifest, write_small_bundle


def test_it_writes_what_the_library_reads(
    small_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "policy.gaitdc"
    file.write_text("what was there before")
    assert main(["embed", "--bundle", str(small_bundle.path), str(file)]) == 0
    assert file.read_bytes() == compile_policy(small_bundle)
    assert list(tmp_path.iterdir()) == [file]
    assert capsys.readouterr().out.startswith(f"{file}  small 1.0.0 ({small_bundle.policy_id}), ")


def test_what_it_cannot_do_is_refused_and_the_file_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = small_manifest(format=2, phases={"gait": {"period_s": 0.5}})
    path = write_small_bundle(tmp_path / "phased.gaitd", manifest)
    file = tmp_path / "policy.gaitdc"
    file.write_text("what was there before")
    assert main(["embed", "--bundle", str(path), str(file)]) == 2
    assert "phases: it has gait; the C++ policy library knows no such terms" in capsys.readouterr().err
    assert file.read_text() == "what was there before"


def test_a_directory_that_is_not_there(
    small_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["embed", "--bundle", str(small_bundle.path), str(tmp_path / "no" / "policy.gaitdc")]) != 0
    assert len(capsys.readouterr().err.splitlines()) == 1
