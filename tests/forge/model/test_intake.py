"""Every form of an ONNX file becomes one that the oldest supported runtime takes, or is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import graphs
import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from gaitd.bundle.onnx_file import check_self_contained
from gaitd.errors import InputError
from gaitforge.common.files import sha256
from gaitforge.model import equality
from gaitforge.model.intake import read_model
from gaitforge.model.onnx_policy import read_policy, run_rows
from gaitforge.model.versions import MAX_IR, MAX_OPSET, OLDEST_RUNTIME
from support.reference import REPOSITORY

ROWS = np.random.default_rng(3).standard_normal((20, 45), dtype=np.float32)


def actions(path: Path) -> np.ndarray:
    return run_rows(read_policy(path).backend(), ROWS)


def changed(path: Path, change: Callable[[onnx.ModelProto], object]) -> Path:
    proto = onnx.load(str(path))
    change(proto)
    path.write_bytes(proto.SerializeToString())
    return path


def put_outside(path: Path, location: str = "weights.bin", at: Path | None = None) -> None:
    """Move every initializer into a file that the model calls ``location``."""
    proto = onnx.load(str(path))
    data = b""
    for tensor in proto.graph.initializer:
        external_data_helper.set_external_data(tensor, location, len(data), len(tensor.raw_data))
        data += tensor.raw_data
        tensor.ClearField("raw_data")
    (at or path.parent / location).write_bytes(data)
    path.write_bytes(proto.SerializeToString())


def test_a_plain_model_stays_as_it_is(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = graphs.dense(Path("policy.onnx"))
    read = read_model(path)
    assert read.content == path.read_bytes()
    assert read.sha256 == sha256(path)
    assert capsys.readouterr().out == ""


def test_external_data_come_from_beside_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    path = graphs.dense(tmp_path / "policy.onnx")
    expected, digest = actions(path), read_policy(path).sha256
    put_outside(path)
    monkeypatch.chdir(tmp_path / "elsewhere")
    Path("weights.bin").write_bytes(b"\0" * 100_000)  # a file of that name in the working directory
    np.testing.assert_array_equal(actions(path), expected)
    assert "took in the values of weights.bin" in capsys.readouterr().out
    check_self_contained(read_policy(path).content)
    other = read_policy(path).sha256
    assert other != digest
    data = tmp_path / "weights.bin"
    data.write_bytes(data.read_bytes()[:-4] + b"\0\0\0\0")
    assert read_policy(path).sha256 != other, "the digest covers the external data"


@pytest.mark.parametrize("location", ["../secret.bin", "{absolute}", "link.bin", "sub/../../secret.bin", "."])
def test_external_data_from_elsewhere_are_refused(workplace: Path, location: str) -> None:
    (workplace / "model").mkdir()
    path = graphs.dense(workplace / "model" / "policy.onnx")
    secret = workplace / "secret.bin"
    put_outside(path, location.format(absolute=secret), at=secret)
    (workplace / "model" / "link.bin").symlink_to(secret)
    with pytest.raises(InputError, match="outside of the model's own directory"):
        read_model(path)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda data: data.unlink(), "is not beside the model"),
        (lambda data: data.write_bytes(data.read_bytes()[:100]), "cut short"),
    ],
)
def test_external_data_that_are_not_all_there(
    workplace: Path, spoil: Callable[[Path], object], named: str
) -> None:
    path = graphs.dense(Path("policy.onnx"))
    put_outside(path)
    spoil(Path("weights.bin"))
    with pytest.raises(InputError, match=named):
        read_model(path)


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [("offset", "-4", "a tensor of"), ("length", "8", "a tensor of"), ("length", "x", "no numbers"),
     ("checksum", "0" * 40, "checksum"), ("volume", "3", "unknown key 'volume'")],
)  # fmt: skip
def test_external_data_that_make_no_sense(workplace: Path, key: str, value: str, named: str) -> None:
    path = graphs.dense(Path("policy.onnx"))
    put_outside(path)
    proto = onnx.load(str(path), load_external_data=False)
    entries = proto.graph.initializer[0].external_data
    entry = next((entry for entry in entries if entry.key == key), None) or entries.add()
    entry.key, entry.value = key, value
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(InputError, match=named):
        read_model(path)


def test_initializers_that_are_inputs_as_well(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = graphs.dense(Path("policy.onnx"))
    expected = actions(path)

    def double(proto: onnx.ModelProto) -> None:
        for tensor in proto.graph.initializer:
            proto.graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
        proto.ir_version = 3

    np.testing.assert_allclose(actions(changed(path, double)), expected, atol=1e-6)
    assert "6 initializers are no inputs any more" in capsys.readouterr().out


def test_local_functions_are_written_out(workplace: Path) -> None:
    path = graphs.dense(Path("policy.onnx"))
    expected = actions(path)

    def wrap(proto: onnx.ModelProto) -> None:
        standard = helper.make_opsetid("", 17)
        body = [helper.make_node("Elu", ["x"], ["y"])]
        proto.functions.append(helper.make_function("mine", "Act", ["x"], ["y"], body, [standard]))
        proto.opset_import.append(helper.make_opsetid("mine", 1))
        for node in proto.graph.node:
            if node.op_type == "Elu":
                node.op_type, node.domain = "Act", "mine"

    changed(path, wrap)
    np.testing.assert_allclose(actions(path), expected, atol=1e-6)
    read = onnx.load_model_from_string(read_policy(path).content)
    assert not read.functions
    assert [item.domain for item in read.opset_import] == [""]


def gru(batch: int | str, hidden: int = 8) -> onnx.ModelProto:
    generator = np.random.default_rng(0)
    weights = {
        "w": generator.standard_normal((1, 3 * hidden, 45)),
        "r": generator.standard_normal((1, 3 * hidden, hidden)),
        "head": generator.standard_normal((hidden, 12)),
    }
    tensors = [
        numpy_helper.from_array(0.1 * value.astype(np.float32), name) for name, value in weights.items()
    ]
    tensors.append(numpy_helper.from_array(np.array([0]), "first"))
    nodes = [
        helper.make_node("Unsqueeze", ["obs", "first"], ["sequence"]),
        helper.make_node(
            "GRU", ["sequence", "w", "r", "", "", "h_in"], ["", "h_out"], hidden_size=hidden, layout=0
        ),
        helper.make_node("Squeeze", ["h_out", "first"], ["last"]),
        helper.make_node("MatMul", ["last", "head"], ["action"]),
    ]  # fmt: skip
    state = [1, batch, hidden]
    graph = helper.make_graph(
        nodes,
        "gru",
        [helper.make_tensor_value_info("obs", TensorProto.FLOAT, [batch, 45]),
         helper.make_tensor_value_info("h_in", TensorProto.FLOAT, state)],
        [helper.make_tensor_value_info("action", TensorProto.FLOAT, [batch, 12]),
         helper.make_tensor_value_info("h_out", TensorProto.FLOAT, state)],
        tensors,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)


@pytest.mark.parametrize("batch", ["batch", ""])
def test_an_open_batch_of_a_hidden_state_is_one_robot(workplace: Path, batch: str) -> None:
    for path, size in (("fixed.onnx", 1), ("open.onnx", batch)):
        Path(path).write_bytes(gru(size).SerializeToString())
    policy = read_policy(Path("open.onnx"))
    assert [state.shape for state in policy.model.recurrent] == [[1, 1, 8]]
    np.testing.assert_allclose(actions(Path("open.onnx")), actions(Path("fixed.onnx")), atol=1e-6)


def test_the_oldest_runtime_is_the_one_that_the_package_asks_for() -> None:
    project = (REPOSITORY / "pyproject.toml").read_text()
    robot = re.search(r"^robot = \[(.*?)^\]|^robot = \[(.*)\]", project, re.MULTILINE | re.DOTALL)
    assert robot is not None
    assert f'"{OLDEST_RUNTIME.replace(" ", ">=")}"' in robot[0]
    pinned = (REPOSITORY / "packaging" / "requirements.txt").read_text()
    version = re.search(r"^onnxruntime==(\d+)\.(\d+)", pinned, re.MULTILINE)
    assert version is not None
    assert (int(version[1]), int(version[2])) >= (1, 16)


@pytest.mark.parametrize("opset", [20, 21, onnx.defs.onnx_opset_version()])
def test_newer_versions_are_brought_down(
    workplace: Path, capsys: pytest.CaptureFixture[str], opset: int
) -> None:
    expected = actions(graphs.dense(Path("old.onnx")))
    path = graphs.dense(Path("policy.onnx"), opset=opset)
    changed(path, lambda proto: setattr(proto, "ir_version", onnx.IR_VERSION))
    np.testing.assert_allclose(actions(path), expected, atol=1e-6)
    read = read_model(path).proto
    assert (read.ir_version, read.opset_import[0].version) == (MAX_IR, MAX_OPSET)
    printed = capsys.readouterr().out
    assert f"opset {opset} became {MAX_OPSET}, the newest for onnxruntime 1.16" in printed
    assert f"became {MAX_IR}" in printed


@pytest.mark.parametrize(("operator", "opset"), [("Gelu", 20), ("Swish", 24)])
def test_operators_that_are_newer_than_the_runtime_are_written_out(
    workplace: Path, operator: str, opset: int
) -> None:
    path = graphs.dense(Path("policy.onnx"), activation=operator, opset=opset)
    before, after = onnx.load(str(path)), read_model(path).proto
    assert operator not in {node.op_type for node in after.graph.node}
    equality.check_same(before, after, "written out")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda proto: setattr(proto, "ir_version", onnx.IR_VERSION + 1), "IR version"),
        (lambda proto: setattr(proto.opset_import[0], "version", 99), "opset 99"),
        (lambda proto: proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 5)), None),
    ],
)
def test_versions_that_nobody_here_knows(
    workplace: Path, change: Callable[[onnx.ModelProto], object], named: str | None
) -> None:
    path = changed(graphs.dense(Path("policy.onnx")), change)
    if named is None:
        read_model(path)  # imported, but not used
        return
    with pytest.raises(InputError, match=named):
        read_model(path)


def test_operators_of_a_runtime_of_its_own_are_refused(workplace: Path) -> None:
    def fuse(proto: onnx.ModelProto) -> None:
        proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        proto.graph.node[1].op_type, proto.graph.node[1].domain = "QuickGelu", "com.microsoft"

    path = changed(graphs.dense(Path("policy.onnx")), fuse)
    with pytest.raises(InputError, match=r"com\.microsoft\.QuickGelu"):
        read_model(path)


def test_a_change_that_changes_the_actions_is_noticed(workplace: Path) -> None:
    before = onnx.load(str(graphs.dense(Path("policy.onnx"))))
    after = onnx.load("policy.onnx")
    bias = next(tensor for tensor in after.graph.initializer if tensor.name == "b2")
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(1e-3), "b2"))
    with pytest.raises(InputError, match=r"made worse: and then its output action differs by 0\.001"):
        equality.check_same(before, after, "made worse")
    equality.check_same(before, before, "the same")
