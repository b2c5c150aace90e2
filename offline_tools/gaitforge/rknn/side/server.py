"""Serves rknn-toolkit2 to gaitforge: run by the Python of the toolkit's own environment.

    python server.py LOG_FILE SCRATCH

One request a line on standard input, ``{"call": name, ...}``; one answer a line on standard output,
``{"ok": true, "result": {...}}`` or ``{"ok": false, "error": "one line"}``. Arrays travel as
``{"shape": [...], "data": base64 of little-endian float32}``. Everything the toolkit and its C library
print goes to the log file; their table of layers is read back from there, the toolkit offers it
nowhere else. SCRATCH is a directory for intermediate files; it is removed at the end of standard input, which
is what is left to see of a caller that was killed.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, cast

import no_torch  # type: ignore[import-not-found]  # beside this script
import numpy as np

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_LAYER = re.compile(
    r"\]\s+\d+\s+(?P<op>\S+)\s+(?P<dtype>\S+)\s+(?P<target>NPU|CPU|GPU)\s.*\s\S+?:(?P<name>[^\s#]+)\S*\s*$"
)
_MEMORY = re.compile(r"Total (Internal|Weight) Memory Size: ([0-9.]+)KB")
_NO_LOWERING = re.compile(r"No lowering found for: .*?, node type = (\w+)")
_WEIGHTED = ("Conv", "exGRU", "exLSTM", "exNorm", "exMatMul", "MatMul", "GRU", "LSTM")


class ToolkitError(Exception):
    """What the toolkit refused, in one line."""


def decode(array: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Turn an array of a request into numpy's."""
    data = base64.b64decode(array["data"])
    flat: np.ndarray[Any, np.dtype[np.float32]] = np.frombuffer(data, np.dtype("<f4"))
    return np.reshape(flat, tuple(array["shape"]))


def encode(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Turn an array into what a request or answer carries."""
    data = np.ascontiguousarray(array, "<f4")
    return {"shape": list(data.shape), "data": base64.b64encode(data.tobytes()).decode()}


class Server:
    """Holds at most one built model, ready for its simulator."""

    def __init__(self, log: Path) -> None:
        from rknn.api import RKNN

        self._new = RKNN
        self._log = log
        self._model: Any = None
        self._running = False

    def versions(self) -> dict[str, str]:
        """Versions of what the toolkit is made of."""
        from importlib.metadata import version

        names = ("rknn-toolkit2", "numpy", "onnx", "onnxruntime")
        return {name: version(name) for name in names}

    def build(
        self,
        onnx: str,
        inputs: dict[str, list[int]],
        target: str,
        quantization: dict[str, Any] | None,
        opt_level: int,
        output_optimize: bool,
        output: str | None,
    ) -> dict[str, Any]:
        """Build a model, write it to ``output`` if given, and keep it for ``infer``.

        The simulator runs operators that the chip has no implementation of: a model with such is not
        written, and they are named under ``unsupported``.

        ``quantization`` is None for float16, or {"dtype", "algorithm", "dataset": .npz with one array
        per input, "fp16_layers": [layer names]}.
        """
        self.release()
        start = self._log.stat().st_size
        config: dict[str, Any] = {
            "target_platform": target,
            "optimization_level": opt_level,
            "output_optimize": output_optimize,
        }
        layers: list[str] = []
        if quantization is None:
            self._load(onnx, inputs, config)
            self._call("build", do_quantization=False)
        else:
            config["quantized_dtype"] = quantization["dtype"]
            config["quantized_algorithm"] = quantization["algorithm"]
            with tempfile.TemporaryDirectory() as directory:
                dataset = write_dataset(Path(directory), quantization["dataset"], list(inputs))
                if quantization["fp16_layers"] is None:
                    self._load(onnx, inputs, config)
                    self._call("build", do_quantization=True, dataset=dataset)
                else:
                    layers = self._build_hybrid(onnx, inputs, config, dataset, quantization["fp16_layers"])
        chatter = self._chatter(start)
        unsupported = sorted(set(_NO_LOWERING.findall(chatter)))
        if output is not None and not unsupported:
            self._call("export_rknn", output)
        return {**read_report(chatter), "hybrid_layers": layers, "unsupported": unsupported}

    def infer(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Run the built model's simulator on a batch, row by row: arrays (rows, *input shape)."""
        if self._model is None:
            raise ToolkitError("no model is built")
        if not self._running:
            self._call("init_runtime")
            self._running = True
        batches = [decode(array) for array in inputs]
        rows = [self._row([batch[i] for batch in batches]) for i in range(len(batches[0]))]
        return {"outputs": [encode(np.stack(column)) for column in zip(*rows, strict=True)]}

    def release(self) -> None:
        """Free the built model."""
        if self._model is not None:
            self._model.release()
        self._model, self._running = None, False

    def _row(self, inputs: list[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        outputs = self._model.inference(inputs=inputs)
        if outputs is None:
            raise ToolkitError("the simulator gave no output")
        return cast("list[np.ndarray[Any, Any]]", outputs)

    def _load(self, onnx: str, inputs: dict[str, list[int]], config: dict[str, Any]) -> None:
        self._model = self._new(verbose=True)
        self._call("config", **config)
        self._call("load_onnx", onnx, inputs=list(inputs), input_size_list=list(inputs.values()))

    def _build_hybrid(
        self,
        onnx: str,
        inputs: dict[str, list[int]],
        config: dict[str, Any],
        dataset: str,
        fp16_layers: list[str],
    ) -> list[str]:
        """Quantize all but the named layers; returns the names of all layers that could be named."""
        import onnx as onnx_package

        self._load(onnx, inputs, config)
        self._call("hybrid_quantization_step1", dataset=dataset)
        self.release()
        stem = Path(onnx).stem
        graph = onnx_package.load(f"{stem}.model").graph
        tensors = layer_tensors(graph)
        unknown = sorted(set(fp16_layers) - set(tensors))
        if unknown:
            raise ToolkitError(f"no layer is called {', '.join(unknown)}; there are {', '.join(tensors)}")
        settings = Path(f"{stem}.quantization.cfg")
        text = settings.read_text()
        if fp16_layers:
            kept = [tensor for layer in fp16_layers for tensor in tensors[layer]]
            block = "".join(f"\n    {json.dumps(tensor)}: float16" for tensor in kept)
            text = text.replace("custom_quantize_layers: {}", f"custom_quantize_layers:{block}")
        settings.write_text(text)
        self._model = self._new(verbose=True)
        self._call("hybrid_quantization_step2", f"{stem}.model", f"{stem}.data", str(settings))
        return list(tensors)

    def _call(self, name: str, *args: Any, **kwargs: Any) -> None:
        start = self._log.stat().st_size
        try:
            code = getattr(self._model, name)(*args, **kwargs)
        except Exception as error:
            raise ToolkitError(last_line(str(error)) or f"{name} raised {type(error).__name__}") from error
        if code not in (0, None):
            errors = [line[2:] for line in self._chatter(start).splitlines() if line.startswith("E ")]
            reasons = [line for line in errors if "version" not in line]
            raise ToolkitError(last_line("\n".join(reasons)) or f"{name} returned {code}")

    def _chatter(self, start: int) -> str:
        sys.stdout.flush()
        sys.stderr.flush()
        ctypes.CDLL(None).fflush(None)
        with self._log.open(errors="replace") as file:
            file.seek(start)
            return _ANSI.sub("", file.read())


def last_line(text: str) -> str:
    """Return the last line that says something, without the name of its exception."""
    lines = [line.strip(" ^") for line in _ANSI.sub("", text).splitlines()]
    told = [line for line in lines if line and not line.startswith("File ")]
    return re.sub(r"^[\w.]*(Error|Exception): ", "", told[-1]) if told else ""


def write_dataset(directory: Path, archive: str, names: list[str]) -> str:
    """Write the list file that the toolkit wants: one .npy per input and sample; returns its path."""
    with np.load(archive) as data:
        columns = [data[name] for name in names]
    lines = []
    for row in range(len(columns[0])):
        paths = [directory / f"{row}_{i}.npy" for i in range(len(names))]
        for path, column in zip(paths, columns, strict=True):
            np.save(path, column[row])
        lines.append(" ".join(map(str, paths)))
    listing = directory / "dataset.txt"
    listing.write_text("\n".join(lines) + "\n")
    return str(listing)


def layer_tensors(graph: Any) -> dict[str, list[str]]:
    """Map each layer with weights to its tensors, up to the next layer: what to name to keep it float16."""
    producer_layer: dict[str, str] = {}
    tensors: dict[str, list[str]] = {}
    pending: list[str] = []
    for node in graph.node:
        if node.op_type == "exDataConvert":
            continue
        if node.op_type in _WEIGHTED:
            name = node.name.partition("#")[0]
            tensors[name] = [*pending, *node.output]
            pending = []
        else:
            sources = [producer_layer[tensor] for tensor in node.input if tensor in producer_layer]
            if not sources:
                pending.extend(node.output)
                continue
            name = sources[-1]
            tensors[name].extend(node.output)
        producer_layer.update(dict.fromkeys(node.output, name))
    return tensors


def read_report(chatter: str) -> dict[str, Any]:
    """Read the compiler's table of layers and its memory figures (KiB) from its output."""
    table = chatter.rpartition("Network Layer Information Table")[2]
    layers = []
    for line in table.splitlines():
        match = _LAYER.search(line)
        if match and match["op"] not in ("InputOperator", "OutputOperator"):
            layers.append(match.groupdict())
        elif "Feature Tensor Information Table" in line:
            break
    memory = {kind.lower(): float(size) for kind, size in _MEMORY.findall(chatter)}
    return {
        "layers": layers,
        "internal_memory_kib": memory.get("internal"),
        "weight_memory_kib": memory.get("weight"),
    }


def main() -> None:
    """Answer requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    log = Path(sys.argv[1])
    sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    no_torch.install()
    with contextlib.suppress(Exception):  # the first call tells what is wrong
        import rknn.api  # noqa: F401  takes a second, in which the caller does something else
    server: Server | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            server = server or Server(log)
            answer = {"ok": True, "result": getattr(server, request.pop("call"))(**request)}
        except ToolkitError as error:
            answer = {"ok": False, "error": str(error)}
        except Exception as error:
            answer = {"ok": False, "error": f"{type(error).__name__}: {last_line(str(error))}"}
        print(json.dumps(answer), file=answers, flush=True)
    shutil.rmtree(sys.argv[2], ignore_errors=True)


if __name__ == "__main__":
    main()
