"""What an ONNX file says beside the model."""

from __future__ import annotations

from pathlib import Path

from gaitd.errors import InputError
from gaitforge.common import files


def metadata(path: Path) -> tuple[dict[str, str], int | None]:
    """The metadata, and the length of the first input where it is fixed. Raises InputError."""
    import onnx

    try:
        proto = onnx.load_model_from_string(files.read_model(path, "the ONNX model"))
    except InputError:
        raise
    except Exception as error:  # protobuf raises kinds of its own
        raise InputError(f"{path} is no valid ONNX model") from error
    entries: dict[str, str] = {}
    for item in proto.metadata_props:
        if entries.setdefault(item.key, item.value) != item.value:
            raise InputError(f"{path}: the metadata {item.key} is there twice, with different values")
    widths = [tensor.type.tensor_type.shape.dim for tensor in proto.graph.input]
    fixed = widths[0][-1].dim_value if widths and len(widths[0]) else 0
    return entries, fixed or None
