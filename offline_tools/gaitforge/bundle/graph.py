"""Several models of one policy: read from a directory, and run as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gaitd.backends import open_backend
from gaitd.backends.base import Backend
from gaitd.backends.encoder import EncoderModel
from gaitd.bundle.models import check_models, model_files, named
from gaitd.bundle.read import Bundle
from gaitd.errors import InputError
from gaitd.policy.encoder import encoded
from gaitd.policy.graph import model_graph
from gaitd.policy.manifest import Manifest
from gaitforge.common import console, files
from gaitforge.model.intake import read_model
from gaitforge.rknn import record
from gaitforge.rknn.budget import check_budget


@dataclass(frozen=True)
class Graph:
    """The models of a manifest with ``models``."""

    manifest: Manifest
    contents: Mapping[str, bytes]
    """By the bundle's file names."""
    sha256: Mapping[str, str]
    """Of the files as they were found, by the bundle's file names."""

    def backend(self) -> Backend:
        """All of them on the CPU. Raises InputError for tensors that are not as the manifest has them."""
        return open_backend("onnx", Bundle(Path("models"), "", self.manifest, self.contents))


def read_graph(manifest: Manifest, onnx: Path, rknn: Path | None) -> Graph:
    """Read NAME.onnx of each model from a directory, and NAME.rknn from another where it runs on the NPU.

    Raises InputError naming the file that is missing, not readable, or not made from the model beside it.
    """
    contents: dict[str, bytes] = {}
    digests: dict[str, str] = {}
    nodes = model_graph(manifest)
    for option, directory in (("--onnx", onnx), ("--rknn", rknn)):
        if directory is not None and not directory.is_dir():
            raise InputError(
                f"{option} {directory}: the manifest has several models: name the directory that holds "
                f"{', '.join(f'{node.model.name}.{option[2:]}' for node in nodes)}"
            )
    for node in nodes:
        on_cpu, on_npu = model_files(node.model.name)
        read = read_model(onnx / on_cpu)
        contents[on_cpu], digests[on_cpu] = read.content, read.sha256
        if rknn is None or node.model.backend == "onnx":
            continue
        path = rknn / on_npu
        contents[on_npu] = files.read_model(path, "the rknn file")
        digests[on_npu] = files.sha256(path)
        with named(str(path)):
            check_models({on_npu: contents[on_npu]})
        if not files.found(record.path_beside(path)):
            console.note(f"no {record.path_beside(path)}: what {path} was made from is unknown")
            continue
        made = record.read(path)
        if made.onnx_sha256 != read.sha256:
            raise InputError(f"{path} was not made from {onnx / on_cpu}: convert again")
        bound_kib = node.model.npu_memory_kib
        check_budget(bound_kib, made.weight_memory_kib, made.internal_memory_kib, path)
    return Graph(manifest, contents, digests)


def read_encoders(manifest: Manifest, directory: Path | None) -> dict[str, bytes]:
    """Read NAME.onnx of each stream's encoder, by the bundle's file names.

    Raises InputError naming the file that is missing, not readable, or does not fit the manifest.
    """
    encoders = encoded(manifest.streams)
    contents: dict[str, bytes] = {}
    if not encoders:
        if directory is not None:
            raise InputError("--encoders: no stream of the manifest has an encoder: leave it out")
        return contents
    if directory is None or not directory.is_dir():
        names = ", ".join(model_files(encoder.model)[0] for _, encoder in encoders)
        raise InputError(
            f"--encoders {directory or ''}: the manifest's streams have encoders: name the directory that "
            f"holds {names}"
        )
    for stream, encoder in encoders:
        name = model_files(encoder.model)[0]
        contents[name] = read_model(directory / name).content
        EncoderModel(Bundle(directory, "", manifest, contents), stream, encoder)
    return contents
