"""What an .onnx file refers to outside itself, read without the onnx package.

A tensor of an ONNX model may name any file as the place of its values, and onnxruntime reads it, relative to
the working directory: a bundle's digests would not cover what the robot runs, and whoever writes a bundle
could read files as gaitd's user. So the file's protobuf messages are searched for such tensors beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator

from gaitd.errors import InputError

# Field numbers of onnx.proto3 (ONNX 1.23) that lead to tensors, by message.
_MESSAGES: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "TrainingInfo", 25: "Function"},
    "TrainingInfo": {1: "Graph", 2: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}
MAX_FIELDS = 1_000_000
"""Each takes time and may take memory; a policy's model has a few thousand."""
_TENSOR_NAME = 8
_EXTERNAL_DATA = 13
_DATA_LOCATION = 14

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def check_self_contained(model_bytes: bytes) -> None:
    """Refuse a model with external data, wherever in it, and what is no ONNX file. Raises InputError."""
    data = memoryview(model_bytes)
    pending = [("Model", 0, len(data))]
    count = 0
    while pending:
        kind, start, end = pending.pop()
        children = _MESSAGES[kind]
        name, external = b"", False
        for field, value, begin, stop in _fields(data, start, end):
            count += 1
            if count > MAX_FIELDS:
                raise InputError(f"model.onnx: more than {MAX_FIELDS} fields in it: not a policy's model")
            if field in children and begin is not None:
                pending.append((children[field], begin, stop))
            elif kind == "Tensor" and field == _TENSOR_NAME and begin is not None:
                name = bytes(data[begin:stop])
            elif kind == "Tensor" and (field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0)):
                external = True
        if external:
            raise InputError(
                f"model.onnx: the values of tensor {name.decode(errors='replace')!r} lie in another file "
                "(external data), which a bundle does not cover: pack the policy again with `gaitforge pack`"
            )


def _fields(data: memoryview, start: int, end: int) -> Iterator[tuple[int, int, int | None, int]]:
    """The fields of one message: number, value of a varint, begin (None if it has no length) and end."""
    position = start
    while position < end:
        tag, position = _varint(data, position, end)
        field, wire = tag >> 3, tag & 7
        begin, value = None, 0
        if wire == _VARINT:
            value, position = _varint(data, position, end)
        elif wire == _BYTES:
            length, begin = _varint(data, position, end)
            position = begin + length
        elif wire in (_FIXED64, _FIXED32):
            position += 8 if wire == _FIXED64 else 4
        else:
            raise _damaged(position)
        if position > end or not 0 < field < 1 << 29:
            raise _damaged(position)
        yield field, value, begin, position


def _varint(data: memoryview, position: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _damaged(position)


def _damaged(position: int) -> InputError:
    return InputError(
        f"model.onnx: no ONNX model, or damaged at byte {position}: copy the bundle again or pack it again "
        "with `gaitforge pack`"
    )
