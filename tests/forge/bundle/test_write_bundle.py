"""Writing a bundle: verified before it takes its place, whole or not at all, the same bytes every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gaitd.bundle.read import open_bundle
from gaitd.errors import InputError
from gaitforge.bundle.write import write_bundle
from support.bundles import npz, small_files, small_manifest, write_small_bundle

BOTH = pytest.mark.parametrize("name", ["small", "small.gaitd"])


def tree(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else path.rglob("*")
    return {str(file.relative_to(path.parent)): file.read_bytes() for file in files if file.is_file()}


@BOTH
def test_the_same_content_is_the_same_bytes(tmp_path: Path, name: str) -> None:
    first = write_small_bundle(tmp_path / "a" / name)
    second = write_small_bundle(tmp_path / "b" / name)
    assert tree(first) == tree(second)
    assert open_bundle(first).id == open_bundle(second).id


def test_order_of_the_files_does_not_matter(tmp_path: Path) -> None:
    manifest = small_manifest()
    files = small_files(manifest)
    first = write_bundle(tmp_path / "a.gaitd", manifest, files)
    second = write_bundle(tmp_path / "b.gaitd", manifest, dict(reversed(files.items())))
    assert first.read_bytes() == second.read_bytes()


@BOTH
def test_files_may_be_paths_and_come_back_as_they_were(tmp_path: Path, name: str) -> None:
    manifest = small_manifest()
    files = small_files(manifest)
    model = tmp_path / "source.onnx"
    model.write_bytes(files["model.onnx"])
    target = write_bundle(tmp_path / "deep" / "er" / name, manifest, {**files, "model.onnx": model})
    assert open_bundle(target).read_bytes("model.onnx") == files["model.onnx"]


@BOTH
def test_a_new_bundle_replaces_the_old_one(tmp_path: Path, name: str) -> None:
    target = write_small_bundle(tmp_path / name)
    write_small_bundle(target, small_manifest(version="2.0.0"))
    assert open_bundle(target).manifest.version == "2.0.0"
    assert [path.name for path in tmp_path.iterdir()] == [name]


@BOTH
def test_a_bundle_that_would_be_refused_leaves_the_old_one(tmp_path: Path, name: str) -> None:
    target = write_small_bundle(tmp_path / name)
    before = tree(target)
    with pytest.raises(InputError, match=rf"{name}: manifest\.yaml: joints: joint 'hip' is named 2 times"):
        write_small_bundle(target, small_manifest(joints=["hip", "hip", "knee"]), **_three_joint_files())
    assert tree(target) == before
    assert [path.name for path in tmp_path.iterdir()] == [name]


@BOTH
def test_a_bad_new_bundle_leaves_nothing(tmp_path: Path, name: str) -> None:
    golden = npz(observation=np.zeros((4, 18)), action=np.full((4, 3), np.nan))
    with pytest.raises(InputError, match=rf"{name}: golden\.npz holds values that are not finite"):
        write_small_bundle(tmp_path / name, golden=golden)
    assert list(tmp_path.iterdir()) == []


@BOTH
def test_an_unknown_file_is_refused(tmp_path: Path, name: str) -> None:
    manifest = small_manifest()
    with pytest.raises(InputError, match=r"a bundle holds no file named 'notes\.txt'"):
        write_bundle(tmp_path / name, manifest, {**small_files(manifest), "notes.txt": b""})
    assert list(tmp_path.iterdir()) == []


@BOTH
def test_a_failure_in_the_last_moment_leaves_the_old_one(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = write_small_bundle(tmp_path / name)
    before = tree(target)

    def fail(self: Path, target: Path) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        write_small_bundle(target, small_manifest(version="2.0.0"))
    assert tree(target) == before
    assert [path.name for path in tmp_path.iterdir()] == [name]


def _three_joint_files() -> dict[str, bytes]:
    files = small_files(small_manifest())
    return {"model": files["model.onnx"], "golden": files["golden.npz"]}
