"""Conversion by the real toolkit, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import graphs
import nets
import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import helper, numpy_helper
from torch import nn

from gaitd.bundle.rknn_file import read_rknn_file
from gaitforge.model.onnx_policy import read_policy, run_rows
from gaitforge.rknn import record
from gaitforge.rknn.simulator import SimulatorBackend
from gaitforge.rknn.toolkit import Toolkit
from support.bundles import small_manifest

Forge = Callable[..., int]
Refused = Callable[..., str]

pytestmark = pytest.mark.usefixtures("rknn_venv")


@pytest.fixture
def dataset(workplace: Path) -> np.ndarray:
    rows = np.random.default_rng(2).standard_normal((200, 45), dtype=np.float32)
    np.save("calib_obs.npy", rows)
    return rows


def simulated(rknn: Path, rows: np.ndarray) -> np.ndarray:
    """Build a .rknn file's model again from its record and run it."""
    policy, options = record.sources(rknn, record.read(rknn))
    with Toolkit(Path("toolkit.log")) as toolkit:
        toolkit.build(policy, options)
        return SimulatorBackend(toolkit, policy).run_rows(rows)


def float_actions(rows: np.ndarray) -> np.ndarray:
    return run_rows(read_policy(Path("policy.onnx")).backend(), rows)


def test_float16_is_the_default(
    forge: Forge, dataset: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    graphs.dense(Path("policy.onnx"), batch="batch")
    assert forge("convert", "policy.onnx") == 0
    made = read_rknn_file(Path("policy.rknn").read_bytes())
    assert made.platforms == ("rk3588",)
    printed = capsys.readouterr().out
    assert "weights " in printed
    assert "internal " in printed
    assert "multiply-accumulates an inference" in printed
    assert "  NPU: " in printed
    np.testing.assert_allclose(
        simulated(Path("policy.rknn"), dataset[:50]), float_actions(dataset[:50]), atol=0.01
    )


def test_a_model_beyond_the_manifests_bound_is_not_written(forge: Forge, refused: Refused) -> None:
    graphs.dense(Path("policy.onnx"))
    Path("bound.yaml").write_text(yaml.safe_dump(small_manifest(model={"npu_memory_kib": 1.0})))
    why = refused(2, "convert", "policy.onnx", "--manifest", "bound.yaml")
    assert re.search(r"policy\.rknn takes \d+\.\d KiB of the NPU's memory .* npu_memory_kib is 1:", why)
    assert not Path("policy.rknn").exists()
    Path("bound.yaml").write_text(yaml.safe_dump(small_manifest(model={"npu_memory_kib": 1e4})))
    assert forge("convert", "policy.onnx", "--manifest", "bound.yaml") == 0


@pytest.mark.parametrize("algorithm", ["normal", "mmse", "kl_divergence"])
def test_quantizes(forge: Forge, dataset: np.ndarray, algorithm: str) -> None:
    graphs.dense(Path("policy.onnx"))
    options = ["--do-quant", "--dataset", "calib_obs.npy", "--algorithm", algorithm, "--samples", "64"]
    assert forge("convert", "policy.onnx", *options) == 0
    made = record.read(Path("policy.rknn"))
    assert (made.quant_dtype, made.algorithm, made.samples) == ("w8a8", algorithm, 64)
    error = np.abs(simulated(Path("policy.rknn"), dataset[:50]) - float_actions(dataset[:50]))
    assert 0.0 < error.mean() < 0.05


def test_old_name_of_the_quantization(
    forge: Forge, dataset: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    graphs.dense(Path("policy.onnx"))
    options = ["--do-quant", "--dataset", "calib_obs.npy", "--quant-dtype", "asymmetric_affine-u8"]
    assert forge("convert", "policy.onnx", *options, "--opt-level", "2", "--output-optimize-level", "1") == 0
    assert "on the rk3588 it is w8a8" in capsys.readouterr().out
    assert record.read(Path("policy.rknn")).quant_dtype == "w8a8"


def test_layers_can_stay_in_float16(forge: Forge, dataset: np.ndarray) -> None:
    graphs.dense(Path("policy.onnx"))
    quantized = ["--do-quant", "--dataset", "calib_obs.npy"]
    assert forge("convert", "policy.onnx", *quantized, "--output", "int8.rknn") == 0
    layers = ["--fp16-layers", "gemm0", "gemm2"]
    assert forge("convert", "policy.onnx", *quantized, *layers, "--output", "mixed.rknn") == 0
    expected = float_actions(dataset)
    int8 = np.abs(simulated(Path("int8.rknn"), dataset) - expected).mean()
    assert np.abs(simulated(Path("mixed.rknn"), dataset) - expected).mean() < 0.9 * int8


def test_unknown_layer_is_refused_by_name(refused: Refused, dataset: np.ndarray) -> None:
    graphs.dense(Path("policy.onnx"))
    error = refused(4, "convert", "policy.onnx", "--do-quant", "--dataset", "calib_obs.npy",
                    "--fp16-layers", "gemm7")  # fmt: skip
    assert "no layer is called gemm7; there are gemm0, gemm1, gemm2" in error


@pytest.mark.parametrize("operator", ["Selu", "Celu"])
def test_unsupported_operators_are_named_and_replaced(
    forge: Forge, refused: Refused, capsys: pytest.CaptureFixture[str], operator: str
) -> None:
    graphs.dense(Path("policy.onnx"), activation=operator)
    assert f"no implementation of {operator}" in refused(4, "convert", "policy.onnx")
    assert not Path("policy.rknn").exists()
    assert forge("convert", "policy.onnx", "--replace-unsupported") == 0
    printed = capsys.readouterr().out
    assert f"{operator} is not available on the rk3588's NPU" in printed
    assert f"replaced 2 {operator}" in printed
    rows = np.random.default_rng(0).standard_normal((50, 45), dtype=np.float32)
    replaced = run_rows(read_policy(Path("policy.replaced.onnx")).backend(), rows)
    np.testing.assert_allclose(replaced, float_actions(rows), atol=1e-5)


def test_operators_on_the_cpu_are_named(forge: Forge, capsys: pytest.CaptureFixture[str]) -> None:
    actor = nets.mlp(nets.OBS, 16, nets.ACT, activation=nn.Softsign)
    torch.save(nets.actor_weights(actor), "policy.pt")
    assert forge("export", "policy.pt", "--activation", "softsign") == 0
    assert forge("convert", "policy.onnx") == 0
    assert "it runs on the CPU" in capsys.readouterr().out
    assert len(json.loads(Path("policy.rknn.json").read_text())["cpu_layers"]) == 1


def test_gelu_becomes_silu_on_demand(forge: Forge, capsys: pytest.CaptureFixture[str]) -> None:
    actor = nets.mlp(nets.OBS, 64, 32, nets.ACT, activation=nn.GELU)
    torch.save(nets.actor_weights(actor), "policy.pt")
    assert forge("export", "policy.pt", "--activation", "gelu") == 0
    assert "Erf" in {node.op_type for node in onnx.load("policy.onnx").graph.node}
    assert forge("convert", "policy.onnx", "--replace-unsupported", "Gelu") == 0
    printed = capsys.readouterr().out
    assert "replaced 2 Gelu" in printed
    assert "actions change by" in printed
    kinds = {node.op_type for node in onnx.load("policy.replaced.onnx").graph.node}
    assert kinds == {"Gemm", "Mul", "Sigmoid"}


def test_operator_without_any_implementation(refused: Refused) -> None:
    graphs.dense(Path("policy.onnx"), activation="Acos")
    assert "no implementation of Acos" in refused(4, "convert", "policy.onnx")
    assert not Path("policy.rknn").exists()


@pytest.mark.parametrize(
    ("write", "named"),
    [
        (lambda: np.save("calib_obs.npy", np.zeros((0, 45), np.float32)), "holds no observations"),
        (lambda: np.save("calib_obs.npy", np.zeros((9, 44), np.float32)), "44 values per observation"),
        (lambda: np.save("calib_obs.npy", np.full((9, 45), np.nan, np.float32)), "row 0, value 0 is nan"),
        (lambda: Path("calib_obs.npy").write_text("obs"), "not a readable .npy or .npz"),
        (lambda: np.savez("calib_obs.npz"), "calib_obs.npy does not exist"),
    ],
)
def test_unusable_datasets(refused: Refused, write: Callable[[], object], named: str) -> None:
    graphs.dense(Path("policy.onnx"))
    write()
    assert named in refused(2, "convert", "policy.onnx", "--do-quant", "--dataset", "calib_obs.npy")
    assert not Path("policy.rknn").exists()


def test_datasets_in_npz(forge: Forge) -> None:
    graphs.dense(Path("policy.onnx"))
    rows = np.random.default_rng(2).standard_normal((60, 45), dtype=np.float32)
    np.savez("named.npz", other=np.zeros(3), obs=rows)
    np.savez("unnamed.npz", anything=rows)
    for name in ("named.npz", "unnamed.npz"):
        assert forge("convert", "policy.onnx", "--do-quant", "--dataset", name) == 0


def test_models_that_the_robot_cannot_feed(refused: Refused) -> None:
    graphs.dense(Path("two.onnx"), inputs=("obs", "image"))
    assert "2 inputs besides hidden states: obs, image" in refused(2, "convert", "two.onnx")
    proto = onnx.load(str(graphs.dense(Path("dynamic.onnx"))))
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "values"
    proto.graph.node[0].input[1] = "w0"
    onnx.save(proto, "dynamic.onnx")
    assert "only the batch may be dynamic" in refused(2, "convert", "dynamic.onnx")
    Path("foreign.onnx").write_bytes(b"no model")
    assert "no valid ONNX model" in refused(2, "convert", "foreign.onnx")
    assert list(Path().glob("*.rknn")) == []


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--do-quant"], "--do-quant needs --dataset"),
        (["--hybrid"], "add --do-quant"),
        (["--replace-unsupported", "Relu"], "no equivalent of Relu"),
    ],
)
def test_options_that_do_not_go_together(refused: Refused, options: list[str], named: str) -> None:
    graphs.dense(Path("policy.onnx"))
    assert named in refused(2, "convert", "policy.onnx", *options)


def test_unknown_quantization(refused: Refused, dataset: np.ndarray) -> None:
    graphs.dense(Path("policy.onnx"))
    options = ["--do-quant", "--dataset", "calib_obs.npy", "--quant-dtype", "u3"]
    assert "Invalid quantized_dtype 'u3'" in refused(4, "convert", "policy.onnx", *options)
    assert not Path("policy.rknn").exists()


def test_a_failed_conversion_leaves_the_old_model(forge: Forge, refused: Refused) -> None:
    graphs.dense(Path("policy.onnx"))
    assert forge("convert", "policy.onnx") == 0
    before = Path("policy.rknn").read_bytes()
    graphs.dense(Path("policy.onnx"), activation="Acos")
    refused(4, "convert", "policy.onnx")
    assert Path("policy.rknn").read_bytes() == before


def test_missing_toolkit(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs.dense(Path("policy.onnx"))
    monkeypatch.setenv("GAITFORGE_RKNN_VENV", str(Path("nowhere").absolute()))
    assert "run gaitforge setup-rknn" in refused(4, "convert", "policy.onnx")


def test_record_of_another_file_is_refused(forge: Forge, refused: Refused) -> None:
    graphs.dense(Path("policy.onnx"))
    assert forge("convert", "policy.onnx") == 0
    agent = ["agent", "policy.rknn", "--env", "gaitforge.example:make_env"]
    with Path("policy.rknn").open("ab") as stream:
        stream.write(b"more")
    assert "convert it again" in refused(2, *agent)
    Path("policy.rknn.json").unlink()
    assert "policy.rknn.json is missing" in refused(2, *agent)


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_recurrent_model_in_float16(forge: Forge, dataset: np.ndarray, kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    torch.save(nets.recurrent(kind(nets.OBS, 16), nets.mlp(16, nets.ACT)), "policy.pt")
    assert forge("export", "policy.pt") == 0
    assert forge("convert", "policy.onnx") == 0
    np.testing.assert_allclose(
        simulated(Path("policy.rknn"), dataset[:20]), float_actions(dataset[:20]), atol=0.01
    )


def gemm_after_mul(columns: int) -> np.ndarray:
    """Write policy.onnx: (obs * factors) W + b, then tanh and a layer as torch writes it; returns rows."""
    generator = np.random.default_rng(0)

    def drawn(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape, dtype=np.float32)

    weights = {"factors": 1.0 + np.abs(drawn(8)), "w": 0.3 * drawn(8, columns), "b": drawn(columns),
               "w2": 0.3 * drawn(3, columns), "b2": drawn(3)}  # fmt: skip
    nodes = [
        helper.make_node("Mul", ["obs", "factors"], ["scaled"]),
        helper.make_node("Gemm", ["scaled", "w", "b"], ["hidden"]),
        helper.make_node("Tanh", ["hidden"], ["squashed"]),
        helper.make_node("Gemm", ["squashed", "w2", "b2"], ["action"], transB=1),
    ]
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info("obs", graphs.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("action", graphs.FLOAT, [1, 3])],
        tensors,
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(proto, "policy.onnx")
    return drawn(50, 8)


@pytest.mark.parametrize("columns", [8, 16])
def test_gemm_after_a_factor_is_the_same_on_the_npu(
    forge: Forge, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    rows = gemm_after_mul(columns)
    assert forge("convert", "policy.onnx") == 0
    assert "the weights of 1 Gemm transposed" in capsys.readouterr().out
    np.testing.assert_allclose(simulated(Path("policy.rknn"), rows), float_actions(rows), atol=0.01)


def test_another_policy_is_not_written(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its dialect the toolkit makes a wrong model of square weights, and says nothing."""
    gemm_after_mul(8)
    monkeypatch.setattr("gaitforge.rknn.dialect.for_toolkit", lambda proto: (proto, []))
    assert "is another policy" in refused(3, "convert", "policy.onnx")
    assert not Path("policy.rknn").exists()


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_attributes_that_say_the_default(forge: Forge, kind: str) -> None:
    torch.manual_seed(0)
    torch.save(nets.recurrent(getattr(nn, kind)(nets.OBS, 8), nets.mlp(8, nets.ACT)), "policy.pt")
    assert forge("export", "policy.pt", "--opset", "14") == 0
    proto = onnx.load("policy.onnx")
    (node,) = (node for node in proto.graph.node if node.op_type == kind)
    assert "layout" not in {attribute.name for attribute in node.attribute}
    node.attribute.append(helper.make_attribute("layout", 0))
    for unnamed in proto.graph.node:
        unnamed.ClearField("name")
    onnx.save(proto, "policy.onnx")
    assert forge("convert", "policy.onnx") == 0
    rows = np.random.default_rng(0).standard_normal((20, 45), dtype=np.float32)
    np.testing.assert_allclose(simulated(Path("policy.rknn"), rows), float_actions(rows), atol=0.01)


def test_layer_normalization_of_newer_opsets(forge: Forge) -> None:
    path = graphs.dense(Path("policy.onnx"))
    proto = onnx.load(str(path))
    for name in ("scale", "shift"):
        proto.graph.initializer.append(numpy_helper.from_array(np.full(64, 0.5, np.float32), name))
    first = proto.graph.node[0]
    proto.graph.node.insert(
        1, helper.make_node("LayerNormalization", ["x", "scale", "shift"], [first.output[0]])
    )
    proto.graph.node[0].output[0] = "x"
    path.write_bytes(proto.SerializeToString())
    assert forge("convert", "policy.onnx") == 0
    rows = np.random.default_rng(0).standard_normal((20, 45), dtype=np.float32)
    np.testing.assert_allclose(simulated(Path("policy.rknn"), rows), float_actions(rows), atol=0.01)


def test_no_copy_of_the_policy_stays_behind(
    forge: Forge, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workplace / "with spaces").mkdir()
    monkeypatch.setenv("TMPDIR", str(workplace / "with spaces"))
    monkeypatch.setattr("tempfile.tempdir", None)
    graphs.dense(Path("policy.onnx"))
    assert forge("convert", "policy.onnx") == 0
    assert list((workplace / "with spaces").rglob("*")) == []


def test_a_killed_caller_leaves_nothing_behind(workplace: Path) -> None:
    (workplace / "tmp").mkdir()
    graphs.dense(Path("policy.onnx"))
    code = (
        "import os, signal; from pathlib import Path\n"
        "from gaitforge.rknn.toolkit import BuildOptions, Toolkit\n"
        "from gaitforge.model.onnx_policy import read_policy\n"
        "toolkit = Toolkit(Path('log'))\n"
        "toolkit.build(read_policy(Path('policy.onnx')), BuildOptions())\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "TMPDIR": str(workplace / "tmp")}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == -signal.SIGKILL
    deadline = time.monotonic() + 60.0
    while list((workplace / "tmp").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)  # the toolkit's process sees the end of its input
    assert list((workplace / "tmp").rglob("*")) == []
