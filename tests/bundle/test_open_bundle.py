"""Bundles that are good, and every way in which one can be broken."""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gaitd.bundle.describe import describe_bundle
from gaitd.bundle.read import Bundle, decode_manifest, fallback_damping, open_bundle
from gaitd.cli import main
from gaitd.errors import InputError
from support.bundles import (
    edit_manifest,
    npz,
    observation_dim,
    small_files,
    small_manifest,
    write_small_bundle,
)

Break = Callable[[Path], object]


def test_a_directory_and_a_zip_hold_the_same_bundle(tmp_path: Path) -> None:
    directory = open_bundle(write_small_bundle(tmp_path / "small"))
    archive = open_bundle(write_small_bundle(tmp_path / "small.gaitd"))
    assert directory.id == archive.id
    assert directory.files == archive.files
    assert directory.manifest == archive.manifest
    digest = hashlib.sha256((tmp_path / "small" / "manifest.yaml").read_bytes()).hexdigest()
    assert directory.id == digest
    assert directory.policy_id == digest[:16]


def test_what_a_bundle_gives(small_bundle: Bundle) -> None:
    observation, action = small_bundle.golden()
    assert observation.shape == (16, 18)
    assert action.shape == (16, 3)
    assert small_bundle.obs_stats() is None
    assert small_bundle.has("model.onnx")
    assert not small_bundle.has("model.rknn")
    assert small_bundle.pipeline().builder.dim == 18
    np.testing.assert_allclose(fallback_damping(small_bundle.manifest), [2.5, 2.6, 2.7])
    with pytest.raises(InputError, match=r"holds no model\.rknn; it has golden\.npz"):
        small_bundle.read_bytes("model.rknn")


def test_statistics_come_with_normalization(tmp_path: Path) -> None:
    manifest = small_manifest(normalization={"epsilon": 1e-6})
    stats = npz(mean=np.arange(18.0), std=np.ones(18))
    bundle = open_bundle(write_small_bundle(tmp_path / "small", manifest, obs_stats=stats))
    mean_std = bundle.obs_stats()
    assert mean_std is not None
    np.testing.assert_array_equal(mean_std[0], np.arange(18))


def test_what_was_checked_is_what_runs(tmp_path: Path) -> None:
    """A verified bundle is in memory: what happens to the file later changes nothing."""
    path = write_small_bundle(tmp_path / "small")
    bundle = open_bundle(path)
    before = bundle.read_bytes("model.onnx")
    (path / "model.onnx").write_bytes(b"changed")
    assert bundle.read_bytes("model.onnx") == before


def test_check_tells_what_is_in_it(small_bundle_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(small_bundle_path)]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{small_bundle_path}: good\n")
    for word in ("small 1.0.0", "tripod", "12 ms", "18 values", "projected_gravity", "thigh", "16 recorded"):
        assert word in text
    here = "  standby here:  off: the worker itself runs on the CPU\n"
    assert f"{describe_bundle(open_bundle(small_bundle_path))}\n{here}" == text


def keys(*path: Any, to: Any = ...) -> Break:
    """Set, or without ``to`` delete, one key of manifest.yaml."""

    def change(manifest: dict[str, Any]) -> None:
        place: Any = manifest
        for key in path[:-1]:
            place = place[key]
        if to is ...:
            del place[path[-1]]
        else:
            place[path[-1]] = to

    return lambda bundle: edit_manifest(bundle, change)


def text(old: str, new: str) -> Break:
    def change(bundle: Path) -> None:
        manifest = (bundle / "manifest.yaml").read_text()
        assert old in manifest
        (bundle / "manifest.yaml").write_text(manifest.replace(old, new, 1))

    return change


def content(data: bytes) -> Break:
    return lambda bundle: (bundle / "manifest.yaml").write_bytes(data)


def new_file(name: str, data: bytes) -> Break:
    """Replace a file together with its digest: only its content is wrong."""

    def change(bundle: Path) -> None:
        (bundle / name).write_bytes(data)
        keys("files", name, to=hashlib.sha256(data).hexdigest())(bundle)

    return change


def flip(name: str) -> Break:
    def change(bundle: Path) -> None:
        data = bytearray((bundle / name).read_bytes())
        data[len(data) // 2] ^= 1
        (bundle / name).write_bytes(data)

    return change


def remove(name: str, *, listed: bool) -> Break:
    def change(bundle: Path) -> None:
        (bundle / name).unlink()
        if not listed:
            keys("files", name)(bundle)

    return change


def extra(name: str) -> Break:
    return lambda bundle: (bundle / name).write_bytes(b"")


def golden(**arrays: Any) -> Break:
    good = {"observation": np.zeros((4, 18), np.float32), "action": np.zeros((4, 3), np.float32)}
    kept = {name: array for name, array in {**good, **arrays}.items() if array is not None}
    return new_file("golden.npz", npz(**kept))


NAN = math.nan
BROKEN: dict[str, tuple[Break, str]] = {
    # files
    "manifest missing": (lambda b: (b / "manifest.yaml").unlink(), r"manifest\.yaml is missing"),
    "model missing": (remove("model.onnx", listed=True), r"model\.onnx is missing, though manifest\.yaml"),
    "no model at all": (remove("model.onnx", listed=False), r"holds neither model\.onnx nor model\.rknn"),
    "golden missing": (remove("golden.npz", listed=False), r"golden\.npz is missing"),
    "model altered": (flip("model.onnx"), r"model\.onnx: sha256 is [0-9a-f]{16}\.\.\., manifest\.yaml says"),
    "golden altered": (flip("golden.npz"), r"golden\.npz: sha256 is"),
    "extra file": (extra("notes.txt"), r"notes\.txt: not listed under files in manifest\.yaml"),
    "extra directory": (lambda b: (b / "old").mkdir(), r"old: not listed under files"),
    "hidden file": (extra(".DS_Store"), r"\.DS_Store: not listed"),
    "unlisted good name": (extra("report.json"), r"report\.json: not listed"),
    "unknown file listed": (keys("files", "notes.txt", to="0" * 64), r"files: .*no file named 'notes\.txt'"),
    "path in files": (keys("files", "../x", to="0" * 64), r"files: .*no file named '\.\./x'"),
    "manifest in files": (keys("files", "manifest.yaml", to="0" * 64), r"no file named 'manifest\.yaml'"),
    "statistics unused": (
        new_file("obs_stats.npz", b""),
        r"obs_stats\.npz is there, but .* no normalization",
    ),
    "statistics missing": (keys("normalization", to={}), r"obs_stats\.npz is missing"),
    # YAML
    "empty manifest": (content(b""), r"manifest\.yaml: Expected `object`"),
    "manifest is a list": (content(b"- 1\n"), r"manifest\.yaml: Expected `object`"),
    "not YAML": (content(b"joints: [hip"), r"manifest\.yaml: not valid YAML"),
    "binary": (content(b"\xff\xfe\x00\x00"), r"manifest\.yaml: not UTF-8 text"),
    "a tab": (content(b"joints:\n\t- hip"), r"not valid YAML"),
    "a Python object": (text("name: small", "name: !!python/object:os.system x"), r"not valid YAML"),
    "a date of month 13": (text("name: small", "name: 2024-13-01"), r"line \d+, column \d+: month"),
    "a key that is a list": (content(b"[a]: b"), r"line 1, column 1: key \['a'\] is not a string"),
    "deep nesting": (content(b"a: " + b"[" * 5000), r"not valid YAML"),
    "a number that is none": (text("name: small", "name: !!int small"), r"not valid YAML"),
    "key twice": (text("name: small", "name: small\nname: large"), r"key 'name' is named twice"),
    "joint twice in a map": (text("thigh: 2.6", "thigh: 2.6\n  thigh: 9.9"), r"key 'thigh' is named twice"),
    # keys
    "format missing": (keys("format"), r"manifest\.yaml: format: expected 1 or 2, got None"),
    "format of tomorrow": (keys("format", to=3), r"format: expected 1 or 2, got 3"),
    "format in words": (keys("format", to="1"), r"format: expected 1 or 2, got '1'"),
    "key missing": (keys("robot"), r"missing required field `robot`"),
    "inner key missing": (keys("action", "scale"), r"missing required field `scale` - at `\$\.action`"),
    "key unknown": (keys("colour", to="red"), r"unknown field `colour`"),
    "inner key unknown": (keys("limits", "colour", to=1), r"unknown field `colour` - at `\$\.limits`"),
    "term unknown": (keys("observation", "terms", 0, "term", to="smell"), r"'smell' - at `\$\.obs.*term"),
    "a wrong type": (keys("control_period_s", to="soon"), r"Expected `float`.*`\$\.control_period_s`"),
    # joints and dimensions
    "joint twice": (keys("joints", to=["hip", "hip", "knee"]), r"joints: joint 'hip' is named 2 times"),
    "no joints": (keys("joints", to=[]), r"joints: expected 1 to 64, got 0"),
    "too many joints": (keys("joints", to=[f"j{i}" for i in range(65)]), r"joints: expected 1 to 64, got 65"),
    "default too short": (
        keys("default_joint_position_rad", to=[0.0, 1.0]),
        r"default_joint_position_rad: expected 3 values, one per joint, got 2",
    ),
    "joint missing in a map": (
        keys("fallback_damping_nms_per_rad", "knee"),
        r"fallback_damping_nms_per_rad: joint 'knee' is missing",
    ),
    "joint unknown in a map": (
        keys("fallback_damping_nms_per_rad", "toe", to=1.0),
        r"fallback_damping_nms_per_rad: joint 'toe' is unknown",
    ),
    "state limit too short": (
        keys("limits", "state", "max_velocity_rad_per_s", to=[1.0]),
        r"limits\.state\.max_velocity_rad_per_s: expected 3 values",
    ),
    "golden observation of another size": (
        golden(observation=np.zeros((4, 17))),
        r"golden\.npz: observation has shape \(4, 17\), expected at least 2 rows of 18",
    ),
    "golden action of another size": (
        golden(action=np.zeros((4, 4))),
        r"golden\.npz: action has shape \(4, 4\), expected \(4, 3\)",
    ),
    "golden rows do not match": (golden(action=np.zeros((5, 3))), r"golden\.npz: action has shape \(5, 3\)"),
    "one golden row": (golden(observation=np.zeros((1, 18))), r"golden\.npz: .*at least 2 rows"),
    "golden in one axis": (golden(observation=np.zeros(18)), r"golden\.npz: observation has shape \(18,\)"),
    "golden without action": (golden(action=None), r"golden\.npz: array 'action' is missing; it has"),
    "golden of text": (golden(action=np.array([["a"] * 3] * 4)), r"golden\.npz: not a readable \.npz"),
    "golden not finite": (
        golden(action=np.full((4, 3), NAN)),
        r"golden\.npz holds values that are not finite",
    ),
    "golden is no npz": (new_file("golden.npz", b"junk"), r"golden\.npz: not a readable \.npz"),
    "golden is empty": (new_file("golden.npz", b""), r"golden\.npz: not a readable \.npz"),
    # values
    "default not finite": (
        keys("default_joint_position_rad", to=[0.0, NAN, 1.3]),
        r"default_joint_position_rad: joint 'thigh' is nan",
    ),
    "scale not finite": (keys("action", "scale", to=math.inf), r"action\.scale: joint 'hip' is inf"),
    "period not finite": (
        keys("control_period_s", to=NAN),
        r"control_period_s: expected 0\.001 to 1 s, got nan",
    ),
    "period zero": (keys("control_period_s", to=0.0), r"control_period_s: expected"),
    "period of an hour": (keys("control_period_s", to=3600.0), r"control_period_s: expected"),
    "damping negative": (
        keys("fallback_damping_nms_per_rad", "thigh", to=-1.0),
        r"fallback_damping_nms_per_rad: joint 'thigh' is -1",
    ),
    "damping zero": (
        keys("fallback_damping_nms_per_rad", "thigh", to=0.0),
        r"fallback_damping_nms_per_rad: joint 'thigh' is 0, .*allow_zero_fallback_damping",
    ),
    "command range reversed": (keys("velocity_command", "min", 0, to=2.0), r"velocity_command: .*min <= max"),
    "command range not finite": (
        keys("velocity_command", "max", 1, to=math.inf),
        r"velocity_command: .*finite",
    ),
    "tolerance not a number": (keys("golden", to={"onnx_tolerance": NAN}), r"golden\.onnx_tolerance: .*nan"),
    "tolerance zero": (keys("golden", to={"rknn_tolerance": 0.0}), r"golden\.rknn_tolerance: .*above 0"),
    "clip not a number": (keys("observation", "clip", to=NAN), r"observation\.clip: expected above 0"),
    "margin not a number": (
        keys("limits", "state", "position_margin_rad", to=NAN),
        r"limits\.state\.position_margin_rad",
    ),
    "default outside its range": (
        keys("default_joint_position_rad", to=[0.0, -0.65, 3.0]),
        r"default_joint_position_rad: joint 'knee' is 3\.0 rad, outside limits\.position",
    ),
}


@pytest.fixture(params=BROKEN.values(), ids=BROKEN.keys())
def broken(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """A broken bundle and what must be said about it."""
    break_it, message = request.param
    path = write_small_bundle(tmp_path / "small")
    break_it(path)
    return path, message


def test_a_broken_bundle_is_refused_in_one_clear_line(
    broken: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    path, message = broken
    with pytest.raises(InputError, match=message) as caught:
        open_bundle(path)
    assert str(caught.value).startswith(str(path))
    for arguments in (["check", str(path)], ["run", "--bundle", str(path), "--runtime-dir", "/nowhere"]):
        assert main(arguments) == 2
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err == f"gaitd: error: {caught.value}\n"
        assert output.err.count("\n") == 1


def test_broken_statistics_are_named(tmp_path: Path) -> None:
    manifest = small_manifest(normalization={})
    good = npz(mean=np.zeros(18), std=np.ones(18))
    path = write_small_bundle(tmp_path / "small", manifest, obs_stats=good)
    for data, message in (
        (npz(mean=np.zeros(17), std=np.ones(17)), r"small: obs_stats\.npz: mean has shape \(17,\)"),
        (npz(mean=np.zeros(18), std=np.zeros(18)), r"small: obs_stats\.npz: index 0 .* std 0"),
        (npz(mean=np.full(18, NAN), std=np.ones(18)), r"small: obs_stats\.npz: index 0 has mean nan"),
        (npz(mean=np.zeros(18)), r"small: obs_stats\.npz: array 'std' is missing"),
        (b"junk", r"small: obs_stats\.npz: not a readable"),
        (_npy(np.zeros(18)), r"small: obs_stats\.npz: not a readable"),
    ):
        new_file("obs_stats.npz", data)(path)
        with pytest.raises(InputError, match=message):
            open_bundle(path)


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_a_bundle_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "nothing.gaitd")]) == 2
    assert capsys.readouterr().err == f"gaitd: error: {tmp_path}/nothing.gaitd: no such bundle\n"


@pytest.mark.parametrize("data", [b"", b"junk", b"PK\x03\x04", b"PK\x05\x06" + b"\0" * 18])
def test_a_file_that_is_no_bundle(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "small.gaitd"
    path.write_bytes(data)
    with pytest.raises(
        InputError, match=r"small\.gaitd: (damaged or not a bundle|manifest\.yaml is missing)"
    ):
        open_bundle(path)


@pytest.mark.parametrize(
    ("name", "what"), [("policy.onnx", "an ONNX model"), ("manifest.yaml", "a manifest")]
)
def test_a_part_of_a_bundle_is_called_so(tmp_path: Path, name: str, what: str) -> None:
    (tmp_path / name).write_bytes(b"\x08\x07 anything")
    with pytest.raises(InputError, match=f"{name}: {what}, not a bundle: gaitforge pack makes one"):
        open_bundle(tmp_path / name)


@given(st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_truncated_zip_is_refused(small_bundle_path: Path, tmp_path: Path, data: st.DataObject) -> None:
    whole = small_bundle_path.read_bytes()
    path = tmp_path / "cut.gaitd"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    # Cut at the end of golden.npz, which is a zip itself, it is that file and no bundle.
    with pytest.raises(InputError, match=r"cut\.gaitd: (damaged or not a bundle|manifest\.yaml is missing)"):
        open_bundle(path)


def assert_refused_or_whole(path: Path, whole: Bundle) -> None:
    try:
        bundle = open_bundle(path)
    except InputError:
        return
    assert bundle.files == whole.files


@given(st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_zip_is_refused_or_what_matters_is_whole(
    small_bundle_path: Path, tmp_path: Path, small_bundle: Bundle, data: st.DataObject
) -> None:
    """Some bytes of a zip mean nothing; whatever is let in has the content that was signed for."""
    damaged = bytearray(small_bundle_path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.gaitd"
    path.write_bytes(damaged)
    assert_refused_or_whole(path, small_bundle)


@given(st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_compressed_zip_is_refused_or_whole(
    small_bundle: Bundle, tmp_path: Path, data: st.DataObject
) -> None:
    path = tmp_path / "packed.gaitd"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in small_bundle.files.items():
            archive.writestr(name, content)
    assert open_bundle(path).id == small_bundle.id
    damaged = bytearray(path.read_bytes())
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged)
    assert_refused_or_whole(path, small_bundle)


def test_a_file_twice_in_a_zip_is_refused(small_bundle_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "twice.gaitd"
    path.write_bytes(small_bundle_path.read_bytes())
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("manifest.yaml", b"other: manifest")
    with pytest.raises(InputError, match=r"twice\.gaitd: manifest\.yaml is there 2 times"):
        open_bundle(path)


def test_a_directory_inside_a_zip_is_refused(small_bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "wrapped.gaitd"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in small_bundle.files.items():
            archive.writestr(f"small/{name}", content)
    with pytest.raises(InputError, match=r"manifest\.yaml is missing; is this a policy bundle"):
        open_bundle(path)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@settings(max_examples=200)
def test_any_manifest_is_read_or_refused(data: bytes) -> None:
    with pytest.raises(InputError, match=r"^here: "):
        decode_manifest(data, "here")


def test_the_small_bundle_is_what_the_others_break(tmp_path: Path) -> None:
    manifest = small_manifest()
    assert observation_dim(manifest) == 18
    assert set(small_files(manifest)) == {"model.onnx", "golden.npz"}
    open_bundle(write_small_bundle(tmp_path / "small"))
