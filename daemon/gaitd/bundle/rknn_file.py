"""What a .rknn file says about itself, read without the vendor's tools."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass

from gaitd.errors import BackendError, InputError

HEADER_BYTES = 64
"""Magic (8 bytes), format version, payload size, padding; then payload, length of a JSON text, the text."""


@dataclass(frozen=True)
class RknnFile:
    """The conversion that made a model."""

    toolkit: str
    """Version of the rknn-toolkit2 that converted it, such as 2.3.2."""
    platforms: tuple[str, ...]
    """Chips it was converted for, such as rk3588."""


def read_rknn_file(model_bytes: bytes) -> RknnFile:
    """Read the header and the trailing description of a .rknn file.

    Raises InputError when it is no plain .rknn file or is cut short.
    """
    if model_bytes[:8] in (b"CYPTRKNN", b"RKCE\0\0\0\0"):
        raise InputError("model.rknn is encrypted; convert it without encryption")
    if model_bytes[:4] != b"RKNN":
        raise InputError(
            f"model.rknn does not begin with RKNN but with {model_bytes[:8]!r}: not a model for this NPU; "
            "convert the policy again with `gaitforge convert`"
        )
    try:
        (payload_bytes,) = struct.unpack_from("<Q", model_bytes, 16)
        start = HEADER_BYTES + payload_bytes
        (text_bytes,) = struct.unpack_from("<Q", model_bytes, start)
        description = json.loads(model_bytes[start + 8 : start + 8 + text_bytes])
        platforms = description["target_platform"]
        return RknnFile(str(description["version"]), tuple(str(name).lower() for name in platforms))
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"model.rknn ({len(model_bytes)} bytes) is cut short or in an unknown format ({error}); "
            "copy the bundle again or convert the policy again with `gaitforge convert`"
        ) from error


def version_numbers(text: str) -> tuple[int, int, int] | None:
    """The first three-part version number in a text: "2.3.2 (429f97ae6b@...)" -> (2, 3, 2)."""
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def check_runtime_fits(toolkit: str, runtime: str, library: str) -> None:
    """Refuse a runtime of an older release (first two numbers) than the toolkit that made the model.

    The vendor's runtime loads older models; of newer ones it refuses some, warns at others, and has been
    reported to crash with some. Raises BackendError naming what to install.
    """
    model_release, runtime_release = version_numbers(toolkit), version_numbers(runtime)
    if model_release is None or runtime_release is None or runtime_release[:2] >= model_release[:2]:
        return
    raise BackendError(
        f"model.rknn was converted with rknn-toolkit2 {toolkit}, but the NPU runtime {library} is version "
        f"{runtime}: install librknnrt.so {'.'.join(map(str, model_release))} or newer at {library}, or "
        f"convert the policy with rknn-toolkit2 {'.'.join(map(str, runtime_release))}"
    )
