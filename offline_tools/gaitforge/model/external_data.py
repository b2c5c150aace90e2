"""Tensors of an ONNX model whose values lie in files beside it (ONNX calls them external data)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gaitd.errors import InputError, printable
from gaitforge.common import files

if TYPE_CHECKING:
    import onnx

_KEYS = {"location", "offset", "length", "checksum"}


def tensors(message: Any) -> Iterator[onnx.TensorProto]:
    """Every tensor below a protobuf message: initializers, attributes, subgraphs, functions, sparse ones."""
    import onnx

    if isinstance(message, onnx.TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for item in [value] if hasattr(value, "ListFields") else value:
                yield from tensors(item)


def take_in(proto: onnx.ModelProto, path: Path) -> dict[Path, bytes]:
    """Put the values of external tensors into the model itself; returns the files that they came from.

    They are looked for in the directory of the model at ``path``, and nowhere else. Raises InputError.
    """
    import onnx

    found: dict[Path, bytes] = {}
    for tensor in tensors(proto):
        if tensor.data_location != onnx.TensorProto.EXTERNAL and not tensor.external_data:
            continue
        where = f"{path}: tensor {printable(tensor.name)!r}"
        entries = {entry.key: entry.value for entry in tensor.external_data}
        unknown = sorted(entries.keys() - _KEYS)
        if unknown or "location" not in entries:
            wrong = f"has the unknown key {printable(unknown[0])!r}" if unknown else "names no file"
            raise InputError(f"{where}: its external data {wrong}; export the model again")
        file = _beside(path, entries["location"], where)
        if file not in found:
            found[file] = files.read_model(file, f"{where}: the file of its values,")
        tensor.raw_data = _values(tensor, found[file], entries, f"{where}: {file}")
        del tensor.external_data[:]
        tensor.data_location = onnx.TensorProto.DEFAULT
    return found


def _beside(path: Path, location: str, where: str) -> Path:
    directory = path.parent.resolve()
    file = (directory / location).resolve()
    if "\0" in location or directory not in file.parents:
        raise InputError(
            f"{where}: its values are said to be in {printable(location)!r}, outside of the model's own "
            f"directory {directory}: put the file there, or export the model in one file"
        )
    if not file.is_file():
        raise InputError(
            f"{where}: its values are in {printable(location)}, which is not beside the model: put both in "
            "one directory, or export the model in one file (torch.onnx.export: external_data=False)"
        )
    return file


def _values(tensor: onnx.TensorProto, content: bytes, entries: dict[str, str], where: str) -> bytes:
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries.get("length", len(content) - offset))
    except ValueError as error:
        raise InputError(f"{where}: offset and length are no numbers: {printable(str(error))}") from error
    wanted = _size_bytes(tensor, where)
    if offset < 0 or length != wanted or offset + length > len(content):
        raise InputError(
            f"{where} has {len(content)} bytes; {length} from byte {offset} on are to fill a tensor of "
            f"{wanted}: the files do not belong together or one is cut short; copy or export them again"
        )
    checksum = entries.get("checksum")
    if checksum and hashlib.sha1(content).hexdigest() != checksum.lower():
        raise InputError(f"{where} has another checksum than the model says: copy or export them again")
    return content[offset : offset + length]


def _size_bytes(tensor: onnx.TensorProto, where: str) -> int:
    from onnx import helper

    bits = {"UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2}
    try:
        name = helper.tensor_dtype_to_string(tensor.data_type).removeprefix("TensorProto.")
        width = bits.get(name) or 8 * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{where}: it is of the unknown type {tensor.data_type}") from error
    if name == "STRING" or min(tensor.dims, default=0) < 0:
        raise InputError(f"{where}: a tensor {name} {list(tensor.dims)} cannot have external data")
    return -(-int(np.prod(tensor.dims, dtype=np.int64)) * width // 8)
