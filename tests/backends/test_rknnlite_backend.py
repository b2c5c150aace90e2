"""The backend on the vendor's Python package, where that is missing or another version.

What it does with the real one is tested on the emulated target.
"""

from __future__ import annotations

import importlib.metadata
import json
import struct
import sys
from types import ModuleType

import pytest

from gaitd.backends.rknn_host import RknnHost
from gaitd.backends.rknnlite import PACKAGE, VERSION, RknnLiteBackend
from gaitd.errors import BackendError, InputError
from gaitd.policy.manifest import Model


def rknn_file() -> bytes:
    """The envelope of a real file, with nothing in it."""
    text = json.dumps({"version": "2.5.0", "target_platform": ["rk3588"]}).encode()
    return struct.pack("<8sQQ", b"RKNN", 6, 0).ljust(64, b"\0") + struct.pack("<Q", len(text)) + text


@pytest.fixture
def _board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RknnHost, "chips", lambda self: ("radxa,rock-5b", "rockchip,rk3588"))


def start(core: str = "0") -> RknnLiteBackend:
    return RknnLiteBackend(rknn_file(), Model(), 45, 12, core)


@pytest.mark.usefixtures("_board")
def test_a_missing_package_is_named_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(BackendError, match=rf"pip install '{PACKAGE}=={VERSION}'"):
        start()


@pytest.mark.usefixtures("_board")
@pytest.mark.parametrize("version", ["2.3.2", "2.5.1", "3.0.0"])
def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    with pytest.raises(BackendError, match=f"is version {version}, but gaitd knows {VERSION} only"):
        start()


@pytest.mark.usefixtures("_board")
def test_a_package_that_cannot_be_imported_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: VERSION)
    monkeypatch.setitem(sys.modules, "rknnlite", ModuleType("rknnlite"))
    with pytest.raises(BackendError, match="cannot be imported"):
        start()


def test_an_unknown_core_is_refused() -> None:
    with pytest.raises(InputError, match="choose one of 0, 1, 2"):
        start("3")


def test_this_machine_has_no_npu() -> None:
    if RknnHost().chips():
        pytest.skip("this machine has a device tree")
    with pytest.raises(BackendError, match="use the onnx backend"):
        start()
