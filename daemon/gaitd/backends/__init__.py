"""Inference backends: what runs a bundle's model."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Literal, TypeAlias

from gaitd.backends.base import Backend
from gaitd.backends.graph import GraphBackend
from gaitd.backends.rknn_host import RknnHost
from gaitd.bundle.models import named
from gaitd.bundle.read import Bundle
from gaitd.errors import BackendError, InputError, printable
from gaitd.policy.graph import Node, model_graph
from gaitd.policy.manifest import Model
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
    if not (bundle.has_models("rknn") and npu):
        return ["onnx"]
    return ["rknn", "onnx"] if bundle.has_models("onnx") else ["rknn"]


def has_onnxruntime() -> bool:
    """Whether what runs a model on the CPU is installed."""
    return find_spec("onnxruntime") is not None


def golden_tolerance(name: BackendName, bundle: Bundle) -> float:
    """How far a backend may be from the bundle's golden actions, raw action units."""
    golden = bundle.manifest.golden
    return golden.onnx_tolerance if name == "onnx" else golden.rknn_tolerance


def open_backend(name: BackendName, bundle: Bundle, npu_core: Literal["0", "1", "2"] = "0") -> Backend:
    """Load the bundle's models with a backend.

    Raises InputError when the bundle lacks the model or it does not fit, BackendError when the runtime
    is not available.
    """
    manifest = bundle.manifest
    nodes = model_graph(manifest)
    if not nodes:
        dims = (bundle.pipeline().builder.dim, len(manifest.moved_joints))
        return _open(name, bundle, "model", manifest.model, dims, npu_core)
    return GraphBackend(nodes, [_open_node(name, bundle, node, npu_core) for node in nodes])


def _open_node(name: BackendName, bundle: Bundle, node: Node, npu_core: Literal["0", "1", "2"]) -> Backend:
    model, sizes = node.model, node.input_sizes
    first, dim = next(iter(sizes)), sum(sizes.values())
    tensors = Model(
        input=first, output=model.output, recurrent=model.recurrent, npu_memory_kib=model.npu_memory_kib
    )
    kind = "onnx" if model.backend == "onnx" else name
    if kind != "onnx" and (len(sizes) > 1 or model.unused_outputs):
        raise InputError(
            f"{bundle.path}: model {model.name!r}: on the NPU a model has one input and one output beside "
            "its hidden states; give it the backend onnx, or export it so"
        )
    with named(f"{bundle.path}: {model.name}.{'onnx' if kind == 'onnx' else 'rknn'}"):
        if kind == "onnx":
            return _open_onnx(
                bundle.read_bytes(f"{model.name}.onnx"),
                tensors,
                (dim, node.size),
                inputs=sizes,
                unused_outputs=model.unused_outputs,
            )
        return _open(kind, bundle, model.name, tensors, (dim, node.size), model.npu_core or npu_core)


def _open(
    name: BackendName,
    bundle: Bundle,
    file: str,
    model: Model,
    dims: tuple[int, int],
    npu_core: Literal["0", "1", "2"],
) -> Backend:
    if name == "rknn":
        from gaitd.backends.rknn import RknnBackend

        return RknnBackend(bundle.read_bytes(f"{file}.rknn"), model, *dims, core=npu_core)
    if name == "rknnlite":
        from gaitd.backends.rknnlite import RknnLiteBackend

        return RknnLiteBackend(bundle.read_bytes(f"{file}.rknn"), model, *dims, core=npu_core)
    return _open_onnx(bundle.read_bytes(f"{file}.onnx"), model, dims)


def _open_onnx(content: bytes, model: Model, dims: tuple[int, int], **more: Any) -> Backend:
    try:
        from gaitd.backends.onnx import OnnxBackend
    except ModuleNotFoundError:
        raise BackendError("onnxruntime is not installed: pip install 'gaitd[onnx]'") from None
    except ImportError as error:
        raise BackendError(f"onnxruntime cannot be loaded: {printable(str(error))}") from None
    with memory_limit(MODEL_BYTES):
        return OnnxBackend(content, model, *dims, **more)
