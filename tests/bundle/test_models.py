"""The models of a bundle, not yet run: external data and foreign .rknn files are refused."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gaitd.backends import onnx as onnx_backend
from gaitd.backends.onnx import OnnxBackend, open_session
from gaitd.bundle.models import check_models
from gaitd.bundle.onnx_file import check_self_contained
from gaitd.errors import InputError
from gaitd.policy.manifest import Model

SECRET = b"SECRETKEY-0123456789abcdefghijkl"


def outside(name: str = "W") -> onnx.TensorProto:
    """Twelve bytes of a file named secret, in the working directory of whoever loads the model."""
    tensor = TensorProto(
        name=name, data_type=TensorProto.UINT8, dims=[12], data_location=TensorProto.EXTERNAL
    )
    for key, value in (("location", "secret"), ("offset", "0"), ("length", "12")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def spelling(first: list[onnx.NodeProto], **graph: list[object]) -> onnx.ModelProto:
    """A model whose action is what tensor W holds."""
    nodes = [
        *first,
        helper.make_node("Cast", ["W"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["obs", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "floats"], ["action"]),
    ]
    made = helper.make_graph(
        nodes,
        "spelling",
        [helper.make_tensor_value_info("obs", TensorProto.FLOAT, [1, 12])],
        [helper.make_tensor_value_info("action", TensorProto.FLOAT, [1, 12])],
        [numpy_helper.from_array(np.zeros(1, np.float32), "zero"), *graph.get("initializer", [])],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def as_initializer() -> onnx.ModelProto:
    return spelling([], initializer=[outside()])


def as_constant() -> onnx.ModelProto:
    return spelling([helper.make_node("Constant", [], ["W"], value=outside())])


def branch(tensor: onnx.TensorProto, *, as_node: bool) -> onnx.GraphProto:
    output = [helper.make_tensor_value_info("V", TensorProto.UINT8, [12])]
    if as_node:
        return helper.make_graph([helper.make_node("Constant", [], ["V"], value=tensor)], "b", [], output)
    tensor.name = "raw"
    return helper.make_graph([helper.make_node("Identity", ["raw"], ["V"])], "b", [], output, [tensor])


def in_subgraph() -> onnx.ModelProto:
    condition = helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True)))
    chosen = helper.make_node("If", ["yes"], ["W"], then_branch=branch(outside(), as_node=False),
                              else_branch=branch(outside(), as_node=True))  # fmt: skip
    return spelling([condition, chosen])


def in_function() -> onnx.ModelProto:
    proto = spelling([helper.make_node("Give", [], ["W"], domain="mine")])
    body = [helper.make_node("Constant", [], ["w"], value=outside())]
    proto.functions.append(
        helper.make_function("mine", "Give", [], ["w"], body, [helper.make_opsetid("", 17)])
    )
    proto.opset_import.append(helper.make_opsetid("mine", 1))
    return proto


def in_sparse_initializer() -> onnx.ModelProto:
    proto = spelling([])
    sparse = proto.graph.sparse_initializer.add(dims=[12])
    sparse.values.CopyFrom(outside())
    sparse.indices.CopyFrom(numpy_helper.from_array(np.arange(12), "indices"))
    return proto


def in_sparse_constant() -> onnx.ModelProto:
    node = helper.make_node("Constant", [], ["W"])
    attribute = node.attribute.add(name="sparse_value", type=onnx.AttributeProto.SPARSE_TENSOR)
    attribute.sparse_tensor.dims.append(12)
    attribute.sparse_tensor.values.CopyFrom(outside())
    return spelling([node])


def in_lists_of_attributes() -> onnx.ModelProto:
    node = helper.make_node("Constant", [], ["W"], value=numpy_helper.from_array(np.zeros(12, np.uint8)))
    node.attribute.add(name="many", type=onnx.AttributeProto.TENSORS).tensors.append(outside())
    return spelling([node])


def in_training_graph() -> onnx.ModelProto:
    proto = spelling([helper.make_node("Constant", [], ["W"], value=numpy_helper.from_array(np.zeros(12)))])
    proto.training_info.add().algorithm.initializer.append(outside())
    return proto


FORMS = [as_initializer, as_constant, in_subgraph, in_function, in_sparse_initializer, in_sparse_constant,
         in_lists_of_attributes, in_training_graph]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_external_data_are_refused_wherever_they_are(
    form: Callable[[], onnx.ModelProto], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("secret").write_bytes(SECRET)
    model = form().SerializeToString()
    with pytest.raises(InputError, match=r"^model\.onnx: the values of tensor '(W|raw)' lie in another file"):
        OnnxBackend(model, Model(), 12, 12)
    with pytest.raises(InputError, match="external data"):
        check_models({"model.onnx": model})


def test_what_the_check_should_overlook_finds_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnxruntime loads every model in an empty directory; the control is what it does elsewhere."""
    monkeypatch.chdir(tmp_path)
    Path("secret").write_bytes(SECRET)
    monkeypatch.setattr(onnx_backend, "check_self_contained", lambda model: None)
    model = as_initializer().SerializeToString()
    with pytest.raises(InputError, match="onnxruntime cannot load it"):
        open_session(model)
    assert Path.cwd() == tmp_path
    monkeypatch.setattr(onnx_backend, "empty_working_directory", nullcontext)
    open_session(model)


def test_either_sign_of_external_data_is_enough() -> None:
    for field in ("external_data", "data_location"):
        proto = as_initializer()
        proto.graph.initializer[1].ClearField(field)
        with pytest.raises(InputError, match="external data"):
            check_self_contained(proto.SerializeToString())


def test_a_message_split_in_two_is_still_found() -> None:
    """Protobuf joins the parts of a message that is there twice."""
    plain, planted = spelling([]), onnx.ModelProto()
    planted.graph.initializer.append(outside())
    with pytest.raises(InputError, match="external data"):
        check_self_contained(plain.SerializeToString() + planted.SerializeToString())


def test_models_with_their_own_values_pass() -> None:
    values = numpy_helper.from_array(np.frombuffer(SECRET[:12], np.uint8), "W")
    model = spelling([], initializer=[values]).SerializeToString()
    check_self_contained(model)
    action = OnnxBackend(model, Model(), 12, 12).infer(np.ones(12, np.float32))
    assert bytes(action.astype(np.uint8)) == SECRET[:12]


def test_what_is_no_protobuf_is_refused_in_one_line() -> None:
    model = as_constant().SerializeToString()
    for data in (b"\x0b", b"\xff" * 12, b"\x3a\xff\xff\xff\xff\x7f", model[:-3], os.urandom(300)):
        with pytest.raises(InputError, match=r"^model\.onnx: [^\n]+$"):
            OnnxBackend(data, Model(), 12, 12)


def rknn(platforms: list[str], version: str = "2.5.0") -> bytes:
    text = json.dumps({"version": version, "target_platform": platforms}).encode()
    return (
        b"RKNN\0\0\0\0" + struct.pack("<QQ", 6, 4) + bytes(40) + b"data" + struct.pack("<Q", len(text)) + text
    )


def test_a_model_for_the_npu_of_the_robot_passes() -> None:
    check_models({"model.rknn": rknn(["rk3588"])})
    check_models({"model.rknn": rknn(["RK3566", "RK3588"])})


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "does not begin with RKNN"),
        (rknn(["rk3562"]), "converted for rk3562, but gaitd runs on the rk3588"),
        (rknn([]), "converted for no chip"),
        (rknn(["rk3588"])[:80], "cut short"),
        (rknn(["rk3588"], version="unknown"), "does not tell the version"),
        (b"", "does not begin with RKNN"),
    ],
)
def test_other_files_are_refused(data: bytes, named: str) -> None:
    with pytest.raises(InputError, match=named):
        check_models({"model.rknn": data})
