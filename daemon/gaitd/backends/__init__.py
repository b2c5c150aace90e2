"""Inference backends: what runs a bundle's model."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal, TypeAlias

from gaitd.backends.base import Backend
from gaitd.backends.rknn_host import RknnHost
from gaitd.bundle.read import Bundle
from gaitd.errors import BackendError, printable
from gaitd.system.memory import MODEL_BYTES, memory_limit

BackendName: TypeAlias = Literal["onnx", "rknn", "rknnlite"]
WantedBackend: TypeAlias = Literal["auto", "onnx", "rknn", "rknnlite"]


def backends_to_try(wanted: WantedBackend, bundle: Bundle) -> list[BackendName]:
    """What a configured backend means for a bundle on this machine, in order.

    auto: rknn where the bundle holds model.rknn and this is an RK3588; and onnx where it holds model.onnx,
    which is used when rknn does not work. Any other is that one alone.
    """
    if wanted != "auto":
        return [wanted]
    npu = any(chip.startswith("rockchip,rk3588") for chip in RknnHost().chips())
    if not (bundle.has("model.rknn") and npu):
        return ["onnx"]
    return ["rknn", "onnx"] if bundle.has("model.onnx") else ["rknn"]


def has_onnxruntime() -> bool:
    """Whether what runs a model on the CPU is installed."""
    return find_spec("onnxruntime") is not None


def golden_tolerance(name: BackendName, bundle: Bundle) -> float:
    """How far a backend may be from the bundle's golden actions, raw action units."""
    golden = bundle.manifest.golden
    return golden.onnx_tolerance if name == "onnx" else golden.rknn_tolerance


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
    if name == "rknnlite":
        from gaitd.backends.rknnlite import RknnLiteBackend

        return RknnLiteBackend(bundle.read_bytes("model.rknn"), manifest.model, *dims, core=npu_core)
    try:
        from gaitd.backends.onnx import OnnxBackend
    except ModuleNotFoundError:
        raise BackendError("onnxruntime is not installed: pip install 'gaitd[onnx]'") from None
    except ImportError as error:
        raise BackendError(f"onnxruntime cannot be loaded: {printable(str(error))}") from None
    with memory_limit(MODEL_BYTES):
        return OnnxBackend(bundle.read_bytes("model.onnx"), manifest.model, *dims)
