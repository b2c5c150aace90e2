"""gaitctl selftest on a board: the NPU's memory, all backends side by side, and what auto falls back to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from npu_bundle import write_npu_bundle
from standin.orders import Orders

from gaitd.backends.rknn_host import RknnHost
from gaitd.ctl.cli import main
from support.bundles import small_manifest

Selftest = Callable[..., int]


@pytest.fixture
def selftest(host: RknnHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Selftest:
    defaults = (host.library, host.device_tree, host.devices, host.sys)
    monkeypatch.setattr(RknnHost.__init__, "__defaults__", defaults)
    bundle = write_npu_bundle(tmp_path / "npu.gaitd", small_manifest(model={"npu_memory_kib": 100}))
    config = tmp_path / "gaitd.toml"
    config.write_text("[realtime]\nenabled = false\n")
    options = ["--bundle", str(bundle), "--config", str(config), "--seconds", "0.1"]
    return lambda *more: main(["--runtime-dir", str(tmp_path), "selftest", *options, *more])


def test_tells_the_npus_memory_and_its_bound(
    selftest: Selftest, orders: Orders, capsys: pytest.CaptureFixture[str]
) -> None:
    assert selftest() == 0
    shown = capsys.readouterr().out
    assert "NPU memory      weights " in shown
    assert "allowed 100 KiB" in shown


def test_compares_what_is_there(
    selftest: Selftest, orders: Orders, capsys: pytest.CaptureFixture[str]
) -> None:
    assert selftest("--compare", "--json") == 0
    backends = json.loads(capsys.readouterr().out)["backends"]
    assert backends["rknn"]["difference"] == 0
    assert 0 <= backends["onnx"]["difference"] < 1e-5
    assert backends["rknn"]["bytes_per_run"] < 100
    assert "rknn-toolkit-lite2 is not installed" in backends["rknnlite"]["error"]
    assert selftest("--compare") == 0
    assert "rknnlite   not measured: rknn-toolkit-lite2 is not installed" in capsys.readouterr().out


def test_auto_falls_back_with_a_warning_and_rknn_refuses(
    selftest: Selftest, orders: Orders, capsys: pytest.CaptureFixture[str]
) -> None:
    orders.give("init -1")
    assert selftest("--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["backend"] == "onnx"
    assert "WARNING: rknn does not work here: rknn_init failed" in captured.err
    assert selftest("--backend", "rknn") == 4
