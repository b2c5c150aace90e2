"""Bundles made to harm: they are refused in one line, without the memory or the time that they ask for."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from gaitd.bundle.read import MAX_GOLDEN_ROWS, decode_manifest, open_bundle
from gaitd.bundle.untrusted import (
    MAX_ARRAY_BYTES,
    MAX_BUNDLE_BYTES,
    MAX_ENTRIES,
    MAX_TEXT_BYTES,
    MAX_YAML_NODES,
)
from gaitd.errors import InputError
from support.bundles import edit_manifest, npz, small_manifest, write_small_bundle

MB = 1024 * 1024
CENTRAL, CENTRAL_SIZE = b"PK\x01\x02", 24
"""A member's entry in a zip's directory, and where in it the unpacked size is told."""


@contextmanager
def memory_below(limit: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < limit


def zeros_zip(name: str, size: int, told: int | None = None) -> bytes:
    """A zip of so many zero bytes, which takes a thousandth of it; it may tell another size."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as member:
        for _ in range(size // MB):
            member.write(bytes(MB))
    data = bytearray(buffer.getvalue())
    if told is not None:
        at = data.rindex(CENTRAL) + CENTRAL_SIZE
        data[at : at + 4] = told.to_bytes(4, "little")
    return bytes(data)


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        open_bundle(path)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize("name", ["model.onnx", "manifest.yaml"])
def test_a_zip_bomb_that_tells_a_small_size(tmp_path: Path, name: str) -> None:
    path = tmp_path / "bomb.gaitd"
    path.write_bytes(zeros_zip(name, 200 * MB, told=10))
    with memory_below(20 * MB):
        refused(path)


def test_a_zip_bomb_that_tells_its_size(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gaitd"
    path.write_bytes(zeros_zip("model.onnx", MB, told=MAX_BUNDLE_BYTES + 1))
    assert f"more than the {MAX_BUNDLE_BYTES} that it may have" in refused(path)


def test_a_file_that_does_not_belong_there_is_not_even_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gaitd"
    path.write_bytes(zeros_zip("notes.txt", 200 * MB))
    with memory_below(20 * MB):
        assert "manifest.yaml is missing" in refused(path)


@pytest.mark.parametrize("told", [None, 100, MAX_ARRAY_BYTES + 1])
def test_a_bomb_inside_the_golden_vectors(tmp_path: Path, told: int | None) -> None:
    golden = zeros_zip("observation.npy", 200 * MB, told)
    path = with_golden(write_small_bundle(tmp_path / "small"), golden)
    with memory_below(20 * MB):
        refused(path)


def with_golden(bundle: Path, golden: bytes) -> Path:
    """Replace golden.npz together with its digest."""
    (bundle / "golden.npz").write_bytes(golden)
    digest = hashlib.sha256(golden).hexdigest()
    return edit_manifest(bundle, lambda manifest: manifest["files"].update({"golden.npz": digest}))


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "..", "a/../../evil", "C:\\evil", "manifest.yaml/"])
def test_a_name_that_leads_elsewhere(tmp_path: Path, small_bundle_path: Path, name: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    path = inside / "small.gaitd"
    path.write_bytes(small_bundle_path.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"evil")
    assert "not listed under files" in refused(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["inside"]
    assert [entry.name for entry in inside.iterdir()] == ["small.gaitd"]


def test_a_name_that_would_write_to_the_terminal(tmp_path: Path, small_bundle_path: Path) -> None:
    path = tmp_path / "small.gaitd"
    path.write_bytes(small_bundle_path.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("\x1b[2Jx\ny", b"")
    assert "[2Jx y: not listed" in refused(path)


def test_a_very_long_name_does_not_make_a_very_long_line(tmp_path: Path, small_bundle_path: Path) -> None:
    path = tmp_path / "small.gaitd"
    path.write_bytes(small_bundle_path.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x" * 60_000, b"")
    assert len(refused(path)) < 2000


def test_a_zip_of_very_many_files(tmp_path: Path) -> None:
    """Comparing each name with each other one took minutes."""
    path = tmp_path / "many.gaitd"
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(60_000):
            archive.writestr(zipfile.ZipInfo(f"{index}"), b"")
    start_s = time.monotonic()
    refused(path)
    assert time.monotonic() - start_s < 20


def test_a_directory_of_very_many_files(tmp_path: Path) -> None:
    path = write_small_bundle(tmp_path / "small")
    for index in range(MAX_ENTRIES):
        (path / f"{index}").touch()
    assert f"more than {MAX_ENTRIES} files" in refused(path)


@pytest.mark.parametrize("kind", ["zip", "directory"])
def test_files_that_are_too_large_only_together(tmp_path: Path, kind: str) -> None:
    part = MAX_BUNDLE_BYTES // 2 + 1
    path = tmp_path / "large"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in ("model.onnx", "model.rknn"):
                archive.writestr(name, bytes(part))
    else:
        path.mkdir()
        for name in ("model.onnx", "model.rknn"):
            with (path / name).open("wb") as file:
                file.truncate(part)
    with memory_below(40 * MB):
        assert "that it may have" in refused(path)


def test_a_huge_file_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.gaitd"
    with path.open("wb") as file:
        file.truncate(10**11)
    with memory_below(MB):
        assert f"100000000000 bytes, more than the {MAX_BUNDLE_BYTES}" in refused(path)


def test_very_many_golden_vectors(tmp_path: Path) -> None:
    rows = MAX_GOLDEN_ROWS + 1
    golden = npz(observation=np.zeros((rows, 18), np.int8), action=np.zeros((rows, 3), np.int8))
    path = with_golden(write_small_bundle(tmp_path / "small"), golden)
    assert f"{rows} vectors, more than the {MAX_GOLDEN_ROWS} allowed" in refused(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_an_unusual_packing_is_refused(tmp_path: Path, method: int) -> None:
    """LZMA lets the file say how much memory unpacking takes."""
    path = tmp_path / "small.gaitd"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("manifest.yaml", b"format: 1")
    assert f"packed by method {method}; pack it stored or deflated" in refused(path)


@pytest.mark.parametrize("kind", ["pipe", "endless", "pipe as the bundle"])
def test_what_could_be_read_for_ever_is_not_read(tmp_path: Path, kind: str) -> None:
    path = write_small_bundle(tmp_path / "small")
    model = path / "model.onnx"
    model.unlink()
    if kind == "pipe":
        os.mkfifo(model)
    elif kind == "endless":
        model.symlink_to("/dev/zero")
    else:
        path = tmp_path / "pipe.gaitd"
        os.mkfifo(path)
    command = [sys.executable, "-m", "gaitd.cli", "check", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "; a plain file is needed" in done.stderr


def test_a_huge_manifest_is_refused_unread() -> None:
    with pytest.raises(InputError, match=f"more than the {MAX_TEXT_BYTES} that it may have"):
        decode_manifest(b"a: [" + b"1," * MAX_TEXT_BYTES, "here")


@pytest.mark.parametrize(
    "text", [b"a: [" + b"1," * 120_000 + b"]", b"".join(b"k%d: 1\n" % index for index in range(22_000))]
)
def test_very_many_values_are_refused(text: bytes) -> None:
    with memory_below(40 * MB), pytest.raises(InputError, match=f"more than {MAX_YAML_NODES} values in it"):
        decode_manifest(text, "here")


@pytest.mark.parametrize(
    "number", ["0x" + "f" * 200_000, "1" + ":1" * 100_000, "9" * 200_000, "1" * 90_000 + ".5"]
)
def test_a_huge_number_is_refused_unmade(number: str) -> None:
    with pytest.raises(InputError, match=r"a number of \d+ characters"):
        decode_manifest(f"format: {number}".encode(), "here")


def test_aliases_are_refused_before_they_grow() -> None:
    levels = [b"l0: &l0 [x, x]"]
    levels += [b"l%d: &l%d [%s]" % (n, n, b", ".join([b"*l%d" % (n - 1)] * 10)) for n in range(1, 12)]
    with memory_below(20 * MB), pytest.raises(InputError, match=r"line 2, column \d+: an alias"):
        decode_manifest(b"\n".join([*levels, b"format: *l11"]), "here")


def test_a_shared_value_is_written_without_alias(tmp_path: Path) -> None:
    shared = [0.1, 0.2, 0.3]
    manifest = small_manifest(
        action={"scale": shared, "stiffness_nm_per_rad": shared, "damping_nms_per_rad": shared}
    )
    assert open_bundle(write_small_bundle(tmp_path / "small", manifest)).manifest.action.scale == shared


@pytest.mark.parametrize(
    "text",
    [
        *("!!int ''", "!!bool x", "!!float ''", "!!float x", "!!timestamp x", "!!binary '=='", "!!null x"),
        *(":".join(["1"] * 400) + ".0", "9" * 10_000, "!!set {[a]: 1}", "!!omap [a]", "!!pairs [[1]]"),
        *(
            "2024-13-01",
            "2024-01-01 25:61:61",
            "0000-01-01",
            "<<: {a: 1}",
            "*nothing",
            "!!python/name:os.system",
        ),
        *('{"\\e[2J\\n": 1}', "[" * 2000, "{a: " * 2000, "- " * 2000, "? " * 2000, "&a " * 10, "\x85"),
    ],
)
def test_yaml_that_trips_its_parser_is_an_input_error(text: str) -> None:
    for data in (f"format: {text}", f"format: 1\nname: {text}", text):
        with pytest.raises(InputError) as caught:
            decode_manifest(data.encode(), "here")
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1 << 62, 4), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-4, 18), }",
        "{'descr': '|S0', 'fortran_order': False, 'shape': (2000000000,), }",
        "{'descr': '|V0', 'fortran_order': False, 'shape': (2000000000,), }",
        "{'descr': ('<f4', (1000000,)), 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (4, 18), }",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4, 18), }",
        *("(((", "'''", "(" * 300, "-" * 9000 + "1", "[" * 9000, "\0", "{[]: 1}", "a\n b", "x" * 60_000),
    ],
)
def test_an_array_with_a_crooked_header(tmp_path: Path, header: str) -> None:
    raw = b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header.encode() + b"\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("observation.npy", raw + bytes(4 * 72))
        archive.writestr("action.npy", raw)
    path = with_golden(write_small_bundle(tmp_path / "small"), buffer.getvalue())
    assert "golden.npz: not a readable .npz" in refused(path)
