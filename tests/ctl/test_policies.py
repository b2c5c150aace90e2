"""The policy store, through gaitctl."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gaitd.bundle.read import open_bundle
from gaitd.bundle.store import PolicyStore, Selection
from gaitd.cli import main as gaitd_main
from gaitd.ctl.cli import main
from gaitd.system.runtime_dir import claim_runtime_dir
from support.bundles import small_manifest, write_small_bundle


class Shelf:
    """A store of its own, two bundles, and gaitctl on them."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.store = root / "store"
        self.first = write_small_bundle(root / "first.gaitd")
        self.second = write_small_bundle(root / "second.gaitd", small_manifest(version="2.0.0"))
        self.runtime_dir = root / "run"
        self._capsys = capsys

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        command, *rest = map(str, arguments)
        options = ["--runtime-dir", str(self.runtime_dir), command, "--store", str(self.store)]
        code = main([*options, *rest])
        output = self._capsys.readouterr()
        return code, output.out, output.err

    def active(self) -> str:
        return PolicyStore(self.store).open_active().manifest.version


@pytest.fixture
def shelf(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setenv("PATH", "")  # no systemctl: nothing here may touch the machine's own services
    return Shelf(tmp_path, capsys)


def test_install_keeps_a_verified_copy_without_activating(shelf: Shelf) -> None:
    code, out, _ = shelf("install", shelf.first)
    bundle = open_bundle(shelf.first)
    assert code == 0
    assert bundle.policy_id in out
    assert dict(open_bundle(shelf.store / "policies" / bundle.id).files) == dict(bundle.files)
    assert PolicyStore(shelf.store).selection() == Selection()


def test_a_policy_is_active_though_nobody_can_be_told(shelf: Shelf, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gaitd.ctl.cli", "--runtime-dir", tmp_path / "run", "install"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*command, "--store", shelf.store, shelf.first, "--activate"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert (done.returncode, shelf.active()) == (0, "1.0.0")
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["installed", "active"]


def test_inside_a_session_the_policy_stays_also_where_no_service_runs(shelf: Shelf) -> None:
    """A gaitd that somebody started by hand, and which does not answer, may walk."""
    shelf("install", shelf.first, "--activate")
    shelf("install", shelf.second)
    wanted = open_bundle(shelf.second).id
    lock = claim_runtime_dir(shelf.runtime_dir)
    try:
        for arguments in (["install", shelf.second, "--activate"], ["activate", wanted]):
            code, _, error = shelf(*arguments)
            assert code == 2
            assert "so the robot may be walking" in error
            assert "--no-restart" in error
        assert shelf.active() == "1.0.0"
        assert shelf("activate", wanted, "--no-restart")[0] == 0
        assert shelf("rollback")[0] == 2
        assert shelf.active() == "2.0.0"
        assert shelf("rollback", "--force")[0] == 0
    finally:
        os.close(lock)


def test_list_names_the_file_that_is_none(shelf: Shelf) -> None:
    shelf("install", shelf.first)
    manifest = shelf.store / "policies" / open_bundle(shelf.first).id / "manifest.yaml"
    manifest.unlink()
    manifest.mkdir()
    code, out, _ = shelf("list")
    assert code == 0
    assert f"DAMAGED: {manifest}: is a directory; a plain file is needed" in out


def test_activate_rollback_and_back_again(shelf: Shelf) -> None:
    shelf("install", shelf.first, "--activate")
    shelf("install", shelf.second, "--activate")
    assert shelf.active() == "2.0.0"
    assert shelf("rollback")[0] == 0
    assert shelf.active() == "1.0.0"
    shelf("rollback")
    assert shelf.active() == "2.0.0"


def test_list_marks_active_and_previous(shelf: Shelf) -> None:
    shelf("install", shelf.first, "--activate")
    shelf("install", shelf.second, "--activate")
    lines = shelf("list")[1].splitlines()
    assert [line.split()[1:] for line in lines] == [
        ["previous", "small", "1.0.0"],
        ["active", "small", "2.0.0"],
    ]


def test_an_empty_list_says_so_and_stays_empty_for_programs(shelf: Shelf) -> None:
    code, out, error = shelf("list")
    assert (code, out) == (0, "")
    assert "no policy is installed; sudo gaitctl install BUNDLE" in error


def test_activating_the_active_one_keeps_the_way_back(shelf: Shelf) -> None:
    shelf("install", shelf.first, "--activate")
    shelf("install", shelf.second, "--activate")
    shelf("activate", open_bundle(shelf.second).id)
    shelf("rollback")
    assert shelf.active() == "1.0.0"


def test_rollback_without_an_earlier_policy_says_so(shelf: Shelf) -> None:
    shelf("install", shelf.first, "--activate")
    code, _, err = shelf("rollback")
    assert code == 2
    assert "no earlier policy" in err
    assert shelf.active() == "1.0.0"


def test_a_damaged_bundle_is_not_installed(shelf: Shelf) -> None:
    data = bytearray(shelf.first.read_bytes())
    data[len(data) // 2] ^= 0xFF
    shelf.first.write_bytes(data)
    assert shelf("install", shelf.first)[0] == 2
    assert not (shelf.store / "policies").exists()


def test_a_policy_damaged_on_the_disk_is_not_activated_and_reinstalling_repairs_it(
    shelf: Shelf,
) -> None:
    shelf("install", shelf.first, "--activate")
    shelf("install", shelf.second)
    stored = shelf.store / "policies" / open_bundle(shelf.second).id
    (stored / "model.onnx").write_bytes(b"rot")
    code, _, err = shelf("activate", stored.name)
    assert code == 2
    assert "model.onnx" in err
    assert "DAMAGED" in shelf("list")[1]
    assert shelf.active() == "1.0.0"
    assert shelf("install", shelf.second, "--activate")[0] == 0
    assert shelf.active() == "2.0.0"


def test_unknown_and_ambiguous_ids_are_refused(shelf: Shelf) -> None:
    shelf("install", shelf.first)
    shelf("install", shelf.second)
    assert "no policy has" in shelf("activate", "zz")[2]
    assert shelf("activate", "")[0] == 2


def test_remove_spares_active_and_previous(shelf: Shelf) -> None:
    shelf("install", shelf.first, "--activate")
    shelf("install", shelf.second, "--activate")
    for bundle in (shelf.first, shelf.second):
        assert shelf("remove", open_bundle(bundle).id)[0] == 2
    third = write_small_bundle(shelf.first.with_name("third.gaitd"), small_manifest(version="3.0.0"))
    shelf("install", third)
    assert shelf("remove", open_bundle(third).id[:12])[0] == 0
    assert len(PolicyStore(shelf.store).policies()) == 2


def test_gaitd_without_an_active_policy_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("gaitd.bundle.store.DEFAULT_ROOT", tmp_path)
    monkeypatch.setattr(PolicyStore.__init__, "__defaults__", (tmp_path,))
    assert gaitd_main(["run", "--runtime-dir", str(tmp_path / "run")]) == 2
    assert "gaitctl install" in capsys.readouterr().err


def test_several_policies_run_beside_each_other(shelf: Shelf) -> None:
    for bundle in (shelf.first, shelf.second):
        shelf("install", bundle)
    first, second = (open_bundle(bundle).id for bundle in (shelf.first, shelf.second))
    shelf("activate", second)
    written = (shelf.store / "selection.json").read_text()
    assert "beside" not in written, "an earlier release could not read it"
    code, said, told = shelf("activate", first[:8], second[:8])
    assert code == 0
    assert f"active {first[:16]}, beside it {second[:16]}, " in said
    assert (
        f"2 of these policies are called small: change between them by id, gaitctl switch {second[:6]}"
        in told
    )
    assert [bundle.id for bundle in PolicyStore(shelf.store).open_selected()] == [first, second]
    marks = dict(line.split()[:2] for line in shelf("list")[1].splitlines())
    assert marks == {first[:16]: "active", second[:16]: "beside"}
    code, _, error = shelf("remove", second[:8])
    assert (code, "is beside the active one" in error) == (2, True)
    assert shelf("rollback")[0] == 0
    assert [bundle.id for bundle in PolicyStore(shelf.store).open_selected()] == [second]
    assert "is the previous one" in shelf("remove", first[:8])[2]
    assert shelf("rollback")[0] == 0
    assert [bundle.id for bundle in PolicyStore(shelf.store).open_selected()] == [first, second]


def test_policies_that_do_not_agree_are_not_activated(shelf: Shelf, tmp_path: Path) -> None:
    slow = write_small_bundle(tmp_path / "slow.gaitd", small_manifest(control_period_s=0.02))
    for bundle in (shelf.first, slow):
        shelf("install", bundle)
    shelf("activate", open_bundle(shelf.first).id)
    code, _, error = shelf("activate", open_bundle(shelf.first).id, open_bundle(slow).id)
    assert code == 2
    assert "its control_period_s is 0.02" in error
    assert [bundle.id for bundle in PolicyStore(shelf.store).open_selected()] == [open_bundle(shelf.first).id]
