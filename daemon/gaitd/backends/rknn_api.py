"""The public C interface of Rockchip's NPU runtime (librknnrt.so), bound with ctypes.

Only what a policy needs: load, describe, run with caller-owned buffers. ctypes releases the GIL in each call.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char, c_float, c_int, c_int8, c_int32, c_uint8, c_uint32, c_uint64, c_void_p
from typing import Any

from gaitd.errors import BackendError, InputError

QUERY_IN_OUT_NUM = 0
QUERY_INPUT_ATTR = 1
QUERY_OUTPUT_ATTR = 2
QUERY_SDK_VERSION = 5
QUERY_MEM_SIZE = 6

FLAG_PRIOR_HIGH = 0x0
"""NPU jobs of this model go before those of medium and low priority, such as a camera's."""
FLAG_DISABLE_PROC_HIGH_PRIORITY = 0x2000
"""The runtime leaves the process priority alone; by default it sets nice -19."""

TYPE_FLOAT32 = 0
CORE_MASKS = {"0": 1, "1": 2, "2": 4}

CODES: dict[int, tuple[str, str]] = {
    -1: ("RKNN_ERR_FAIL", "the runtime's own lines above say more"),
    -2: ("RKNN_ERR_TIMEOUT", "the NPU did not finish the job in time; see `dmesg | grep -i rknpu`"),
    -3: ("RKNN_ERR_DEVICE_UNAVAILABLE", "the NPU cannot be reached; see `dmesg | grep -i rknpu`"),
    -4: ("RKNN_ERR_MALLOC_FAIL", "no memory for the NPU; free memory or reboot"),
    -5: ("RKNN_ERR_PARAM_INVALID", "the runtime refuses a parameter; it may be too old"),
    -6: ("RKNN_ERR_MODEL_INVALID", "the runtime cannot read the model; convert it again"),
    -7: ("RKNN_ERR_CTX_INVALID", "the model is not loaded"),
    -8: ("RKNN_ERR_INPUT_INVALID", "the input does not fit the model"),
    -9: ("RKNN_ERR_OUTPUT_INVALID", "the output does not fit the model"),
    -10: ("RKNN_ERR_DEVICE_UNMATCH", "runtime and NPU driver do not fit: update librknnrt.so and the kernel"),
    -11: (
        "RKNN_ERR_INCOMPATILE_PRE_COMPILE_MODEL",
        "the model does not fit the NPU driver: convert it again",
    ),
    -12: ("RKNN_ERR_INCOMPATILE_OPTIMIZATION_LEVEL_VERSION", "the model does not fit the NPU driver"),
    -13: ("RKNN_ERR_TARGET_PLATFORM_UNMATCH", "the model was converted for another chip"),
}


class TensorCount(ctypes.Structure):
    """Number of inputs and outputs."""

    _fields_ = [("inputs", c_uint32), ("outputs", c_uint32)]


class TensorAttribute(ctypes.Structure):
    """Description of one input or output; ``index`` is set by the caller."""

    _fields_ = [
        ("index", c_uint32),
        ("n_dims", c_uint32),
        ("dims", c_uint32 * 16),
        ("name", c_char * 256),
        ("elements", c_uint32),
        ("size", c_uint32),
        ("format", c_int),
        ("type", c_int),
        ("quantization", c_int),
        ("fractional_length", c_int8),
        ("zero_point", c_int32),
        ("scale", c_float),
        ("w_stride", c_uint32),
        ("size_with_stride", c_uint32),
        ("pass_through", c_uint8),
        ("h_stride", c_uint32),
    ]


class SdkVersion(ctypes.Structure):
    """Versions of the runtime and of the NPU driver in the kernel."""

    _fields_ = [("runtime", c_char * 256), ("driver", c_char * 256)]


class MemorySize(ctypes.Structure):
    """What a model takes of the NPU's memory, bytes."""

    _fields_ = [
        ("weights", c_uint32),
        ("internal", c_uint32),
        ("dma", c_uint64),
        ("sram", c_uint32),
        ("free_sram", c_uint32),
        ("reserved", c_uint32 * 10),
    ]


class Input(ctypes.Structure):
    """Where an input is read from; with ``pass_through`` 0 the runtime converts it to the model's type."""

    _fields_ = [
        ("index", c_uint32),
        ("buffer", c_void_p),
        ("size", c_uint32),
        ("pass_through", c_uint8),
        ("type", c_int),
        ("format", c_int),
    ]


class Output(ctypes.Structure):
    """Where an output is written to; with ``want_float`` the runtime converts it to float32."""

    _fields_ = [
        ("want_float", c_uint8),
        ("preallocated", c_uint8),
        ("index", c_uint32),
        ("buffer", c_void_p),
        ("size", c_uint32),
    ]


_SIGNATURES: dict[str, list[Any]] = {
    "rknn_init": [POINTER(c_uint64), c_void_p, c_uint32, c_uint32, c_void_p],
    "rknn_destroy": [c_uint64],
    "rknn_query": [c_uint64, c_int, c_void_p, c_uint32],
    "rknn_set_core_mask": [c_uint64, c_int],
    "rknn_inputs_set": [c_uint64, c_uint32, c_void_p],
    "rknn_run": [c_uint64, c_void_p],
    "rknn_outputs_get": [c_uint64, c_uint32, c_void_p, c_void_p],
    "rknn_outputs_release": [c_uint64, c_uint32, c_void_p],
}


def load_library(name: str) -> ctypes.CDLL:
    """Load the runtime and declare the functions used. Raises BackendError when it is absent or unfit."""
    try:
        library = ctypes.CDLL(name)
    except OSError as error:
        raise BackendError(
            f"the NPU runtime cannot be loaded ({error}); install Rockchip's librknnrt.so (aarch64) at "
            "/usr/lib/librknnrt.so, from rknpu2/runtime/Linux/librknn_api/aarch64 of "
            "https://github.com/airockchip/rknn-toolkit2, or use the onnx backend"
        ) from error
    for function, arguments in _SIGNATURES.items():
        try:
            bound = getattr(library, function)
        except AttributeError as error:
            raise BackendError(
                f"{name} has no {function}: it is no NPU runtime for RK3588; install Rockchip's librknnrt.so"
            ) from error
        bound.argtypes, bound.restype = arguments, c_int
    return library


def core_mask(core: str) -> int:
    """The runtime's number of an NPU core. Raises InputError for one that there is not."""
    if core not in CORE_MASKS:
        raise InputError(f"NPU core {core!r} is unknown; choose one of {', '.join(CORE_MASKS)}")
    return CORE_MASKS[core]


def explain(function: str, code: int) -> str:
    """One sentence for a return code other than 0."""
    name, meaning = CODES.get(code, ("unknown code", "see the runtime's own lines above"))
    return f"{function} failed with {name} ({code}): {meaning}"
