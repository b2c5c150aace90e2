"""make demo BACKEND=rknn: the demo on a PC in the role of a board, with the stand-in for the NPU's runtime.

gaitd loads the bundle's own model.rknn as on a robot: it reads the file, checks chip and versions, asks the
runtime for the tensors and proves itself on the golden vectors. What the NPU would compute, the stand-in
computes on the CPU from the bundle's model.onnx.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from standin.board import BOARD, make_board
from standin.build import build_standin
from standin.model_file import Tensor, layers_of_onnx, model_bytes

from gaitd.bundle.read import Bundle, open_bundle
from gaitd.bundle.rknn_file import read_rknn_file
from gaitd.errors import InputError
from gaitd.system.command_line import run_command
from gaitforge.stack.demo import run_demo


def main() -> int:
    parser = argparse.ArgumentParser(description="The demo on the stand-in for the NPU's runtime.")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--controller", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("build/demo"))
    options = parser.parse_args()
    return run_command("demo", lambda: run(options.bundle, options.controller, options.output))


def run(bundle_path: Path, controller: Path, output: Path) -> int:
    bundle = open_bundle(bundle_path)
    if not (bundle.has("model.rknn") and bundle.has("model.onnx")):
        raise InputError(f"{bundle_path}: the stand-in needs model.rknn and model.onnx in the bundle")
    print(
        "NO NPU HERE: a stand-in for librknnrt.so computes on this PC's CPU, from the bundle's model.onnx, "
        "what an RK3588 would from model.rknn; its times say nothing about a board"
    )
    with tempfile.TemporaryDirectory(prefix="gaitd-board-") as place:
        board = Path(place)
        make_board(board)
        toolkit = read_rknn_file(bundle.read_bytes("model.rknn")).toolkit
        build_standin("cc", board / "librknnrt.so", toolkit)
        (board / "model").write_bytes(standin_model(bundle, board))
        os.environ[BOARD] = place
        os.environ["GAITD_STANDIN_MODEL"] = str(board / "model")
        run_demo(
            bundle_path, controller, output, gaitd=[sys.executable, "-m", "standin.daemon"], backend="rknn"
        )
    return 0


def standin_model(bundle: Bundle, scratch: Path) -> bytes:
    """The network of model.onnx in the stand-in's own format."""
    onnx = scratch / "model.onnx"
    onnx.write_bytes(bundle.read_bytes("model.onnx"))
    model, manifest = bundle.manifest.model, bundle.manifest
    inputs = [Tensor(model.input, (1, bundle.pipeline().builder.dim))]
    return model_bytes(layers_of_onnx(onnx), inputs, [Tensor(model.output, (1, len(manifest.joints)))])


if __name__ == "__main__":
    sys.exit(main())
