"""Inference backends: what runs a bundle's model."""

from __future__ import annotations

from typing import Literal, TypeAlias

from gaitd.backends.base import Backend
from gaitd.backends.rknn_host import RknnHost
from gaitd.bundle.read import Bundle
from gaitd.errors import BackendError
from gaitd.system.memory import MODEL_BYTES, memory_limit

BackendName: TypeAlias = Literal["onnx", "rknn"]


def choose_backend(wanted: Literal["auto", "onnx", "rknn"], bundle: Bundle) -> BackendName:
    """The backend of ``auto``: rknn where the bundle holds model.rknn and this is an RK3588, else onnx."""
    if wanted != "auto":
        return wanted
    chips = RknnHost().chips()
    npu = any(chip.startswith("rockchip,rk3588") for chip in chips)
    return "rknn" if bundle.has("model.rknn") and npu else "onnx"


def open_backend(name: BackendName, bundle: Bundle, npu_core: Literal["0", "1", "2"] = "0") -> Backend:
    """Load the bundle's model with a backend.

    Raises InputError when the bundle lacks the model or it does not fit, BackendError when the runtime
    is not available.
    """
    manifest = bundle.manifest
    dims = (bundle.pipeline().builder.dim, len(manifest.joints))
    if name == "rknn":
        from gaitd.backends.rknn import RknnBackend

        return RknnBackend(bundle.read_bytes("model.rknn"), manifest.model, *dims, core=npu_core)
    try:
        from gaitd.backends.onnx import OnnxBackend
    except ImportError:
        raise BackendError("onnxruntime is not installed: pip install 'gaitd[onnx]'") from None
    with memory_limit(MODEL_BYTES):
        return OnnxBackend(bundle.read_bytes("model.onnx"), manifest.model, *dims)
