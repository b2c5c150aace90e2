"""The example policy on the NPU's runtime, as `make demo BACKEND=rknn` runs it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from standin.board import host_of, make_board
from standin.build import build_standin
from standin.demo import standin_model

from gaitd.backends.rknn import RknnBackend
from gaitd.backends.selftest import run_selftest
from gaitd.bundle.read import open_bundle
from gaitd.bundle.rknn_file import read_rknn_file
from support.reference import EXAMPLE_BUNDLE


def test_its_npu_model_proves_itself_on_the_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler (cc) to build the stand-in runtime with")
    bundle = open_bundle(EXAMPLE_BUNDLE)
    file = bundle.read_bytes("model.rknn")
    make_board(tmp_path)
    build_standin("cc", tmp_path / "librknnrt.so", read_rknn_file(file).toolkit)
    (tmp_path / "model").write_bytes(standin_model(bundle, tmp_path))
    monkeypatch.setenv("GAITD_STANDIN_MODEL", str(tmp_path / "model"))
    manifest = bundle.manifest
    backend = RknnBackend(file, manifest.model, 45, 12, host=host_of(tmp_path))
    try:
        assert run_selftest(backend, bundle, manifest.golden.rknn_tolerance).count > 100
    finally:
        backend.close()


def test_it_says_how_its_npu_model_was_made() -> None:
    bundle = open_bundle(EXAMPLE_BUNDLE)
    made = read_rknn_file(bundle.read_bytes("model.rknn"))
    assert made.platforms == ("rk3588",)
    told = bundle.manifest.provenance["rknn"]
    assert told.startswith(f"rknn-toolkit2 {made.toolkit} for rk3588, float16")
    assert f"of model {bundle.manifest.files['model.onnx'][:16]}" in told
