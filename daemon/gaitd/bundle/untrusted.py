"""Bytes from outside to plain values: the files of a bundle, YAML, arrays.

Whoever wrote them may have meant harm: sizes are bounded before anything is unpacked, and whatever a parser
raises becomes an InputError of one line.
"""

from __future__ import annotations

import io
import itertools
import math
import re
import reprlib
import zipfile
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from gaitd.errors import InputError, error_of, printable
from gaitd.system.plain_file import read_plain

MAX_TEXT_BYTES = 256 * 1024
"""Of a YAML file: its parser takes seconds for each MB."""
MAX_YAML_NODES = 20_000
"""Each takes about 1 kB. A manifest of 64 joints has fewer than 2000."""
MAX_NUMBER_CHARACTERS = 40
"""A double has 17 digits; longer, a number takes seconds to be made."""
MAX_BUNDLE_BYTES = 64 * 1024 * 1024
"""Of all files of a bundle, packed or unpacked. A policy has a few hundred kB, and gaitd keeps two copies."""
MAX_ENTRIES = 100
"""Files in a zip or a directory; a bundle has six."""
MAX_ARRAY_BYTES = 32 * 1024 * 1024
"""Of one array, also as float32."""

YAML_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$")
"""Numbers such as 5e-2, which YAML 1.1 takes for text; for an implicit resolver of reader and writer."""
YAML_FLOAT_STARTS = list("-+.0123456789")
"""The characters that such a number may begin with."""

_PARTS = {".onnx": "an ONNX model", ".rknn": "an NPU model", ".yaml": "a manifest", ".pt": "a checkpoint"}
"""What somebody may take for a bundle, by suffix."""
_READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read_files(path: Path, is_known: Callable[[str], bool]) -> dict[str, bytes]:
    """The files of a directory or of a zip.

    Those whose name is not known are there by name, without content. Raises InputError.
    """
    try:
        if path.is_dir():
            return _read_directory(path, is_known)
        with _open_zip(read_plain(path, MAX_BUNDLE_BYTES)) as archive:
            counts = Counter(archive.namelist())
            for name, count in counts.items():
                if count > 1:
                    raise InputError(f"{path}: {printable(name)} is there {count} times")
            wanted = [info for info in archive.infolist() if is_known(info.filename)]
            _check_size("its files", sum(info.file_size for info in wanted), MAX_BUNDLE_BYTES)
            unpacked = {info.filename: _unpack(archive, info, MAX_BUNDLE_BYTES) for info in wanted}
            return {name: unpacked.get(name, b"") for name in counts}
    except FileNotFoundError:
        raise InputError(f"{path}: no such bundle") from None
    except OSError as error:
        where = printable(str(error.filename or path))
        raise error_of(error.errno, f"{where}: cannot be read: {error.strerror or error}") from None
    except InputError:
        raise
    except Exception as error:  # zipfile lets out whatever its parts raise
        if path.suffix in _PARTS:
            raise InputError(
                f"{path}: {_PARTS[path.suffix]}, not a bundle: gaitforge pack makes one"
            ) from None
        raise InputError(
            f"{path}: damaged or not a bundle ({_words(error)}); copy or pack it again"
        ) from None


class PlainLoader(yaml.SafeLoader):
    """YAML of plain values in which nothing is dropped in silence.

    A key named twice is an error, where YAML would keep the last. Aliases are refused: a few kB of them make
    a value of gigabytes. ``5e-2`` is a number, as in YAML 1.2; YAML 1.1 would make a text of it.
    """

    nodes = 0
    """Composed so far."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse aliases, and more values than a manifest ever has."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, "an alias (*name): write the value itself", event.start_mark
            )
        self.nodes += 1
        if self.nodes > MAX_YAML_NODES:
            raise yaml.composer.ComposerError(None, None, f"more than {MAX_YAML_NODES} values in it")
        return super().compose_node(parent, index)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Make the value; whatever a constructor raises gets line and column."""
        try:
            return super().construct_object(node, deep=deep)
        except yaml.YAMLError:
            raise
        except Exception as error:  # a constructor lets out whatever it runs into
            problem = f"{' '.join(str(error).split()) or type(error).__name__}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None


def load_yaml(data: bytes, loader: type[PlainLoader] = PlainLoader) -> Any:
    """One YAML document of plain values. Raises InputError, which does not know where the bytes come from but
    names line and column.
    """
    if len(data) > MAX_TEXT_BYTES:
        raise InputError(f"{len(data)} bytes, more than the {MAX_TEXT_BYTES} that it may have")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"not UTF-8 text (byte {error.start}, line {line}); save it as UTF-8") from None
    try:
        return yaml.load(text, Loader=loader)
    except RecursionError:
        raise InputError("not valid YAML: nested too deeply") from None
    except yaml.MarkedYAMLError as error:
        raise InputError(f"not valid YAML: {_place(error)}") from None
    except Exception as error:  # PyYAML's constructors let out whatever they run into
        raise InputError(f"not valid YAML: {_words(error)}") from None


def array_names(data: bytes) -> list[str]:
    """Names of the arrays of an .npz file. Raises InputError without the file's name."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except Exception as error:  # zipfile lets out whatever its parts raise
        raise InputError(f"not a readable .npz ({_words(error)})") from None


def load_arrays(data: bytes, names: Collection[str]) -> dict[str, npt.NDArray[np.float32]]:
    """Arrays of an .npz file. Raises InputError, which does not know where the bytes come from."""
    try:
        with _open_zip(data) as archive:
            there = [name.removesuffix(".npy") for name in archive.namelist()]
            for name in names:
                if name not in there:
                    raise InputError(f"array {name!r} is missing; it has {reprlib.repr(there)}")
            return {name: _array(_unpack(archive, f"{name}.npy", MAX_ARRAY_BYTES)) for name in names}
    except InputError:
        raise
    except Exception as error:  # zipfile and numpy let out whatever their parts raise
        raise InputError(f"not a readable .npz ({_words(error)})") from None


def _array(data: bytes) -> npt.NDArray[np.float32]:
    """The header alone may ask for any amount of memory, so it is held against the bytes that are there."""
    stream = io.BytesIO(data)
    read_header = _READ_HEADER[np.lib.format.read_magic(stream)]
    shape, by_columns, kind = read_header(stream)
    count, size = math.prod(shape), len(data) - stream.tell()
    if kind.kind not in "fiu" or min(shape, default=0) < 0 or count * kind.itemsize != size:
        raise ValueError(f"an array of {kind}, {shape}, in {size} bytes")
    _check_size("an array", count * max(kind.itemsize, 4), MAX_ARRAY_BYTES)
    values = np.frombuffer(data, kind, count, stream.tell())
    return np.asarray(values.reshape(shape, order="F" if by_columns else "C"), np.float32)


_READ_HEADER = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def _read_directory(path: Path, is_known: Callable[[str], bool]) -> dict[str, bytes]:
    entries = list(itertools.islice(path.iterdir(), MAX_ENTRIES + 1))
    _check_count(len(entries))
    files, left = {}, MAX_BUNDLE_BYTES
    for entry in entries:
        files[entry.name] = read_plain(entry, left) if is_known(entry.name) else b""
        left -= len(files[entry.name])
    return files


def _open_zip(data: bytes) -> zipfile.ZipFile:
    """Each entry of its directory begins with these bytes, and takes memory as soon as it is opened."""
    _check_count(data.count(b"PK\x01\x02"))
    return zipfile.ZipFile(io.BytesIO(data))


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo | str, limit: int) -> bytes:
    """One member, at most as long as it says: read() without a length would unpack as much as there is."""
    info = archive.getinfo(member) if isinstance(member, str) else member
    if info.compress_type not in _READABLE:
        raise InputError(
            f"{info.filename}: packed by method {info.compress_type}; pack it stored or deflated"
        )
    _check_size(info.filename, info.file_size, limit)
    with archive.open(info) as stream:
        return stream.read(info.file_size)


def _check_size(name: str, size: int, limit: int) -> None:
    if size > limit:
        raise InputError(f"{name}: {size} bytes, more than the {limit} that it may have")


def _check_count(entries: int) -> None:
    if entries > MAX_ENTRIES:
        raise InputError(f"more than {MAX_ENTRIES} files in it: not a bundle")


def _words(error: Exception) -> str:
    return printable(" ".join(str(error).split()) or type(error).__name__)


def _place(error: yaml.MarkedYAMLError) -> str:
    """What is wrong, and where: PyYAML's own text repeats the lines themselves."""
    mark = error.problem_mark or error.context_mark
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
    problem = " ".join(f"{error.problem or error.context}".split())
    if "\\t" in problem:
        problem = "a tab: indent and separate with spaces"
    elif error.problem_mark is not None and error.context is not None:
        problem = f"{problem} {' '.join(error.context.split())}"
    return printable(where + problem)


def _construct_mapping(loader: PlainLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    lines: dict[str, int] = {}
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            raise yaml.constructor.ConstructorError(
                None, None, "a merge (<<): write the keys themselves", key_node.start_mark
            )
        key = loader.construct_object(key_node, deep=True)
        problem = None
        if not isinstance(key, str):
            problem = 'is not a string; write it in "quotes"'
        elif key in lines:
            problem = f"is named twice, first in line {lines[key]}"
        elif "\ufeff" in key:
            problem = "has a byte order mark in it, which is allowed at the start of the file only"
        if problem is not None:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {reprlib.repr(key)} {problem}", key_node.start_mark
            )
        lines[key] = key_node.start_mark.line + 1
    return loader.construct_mapping(node, deep=True)


def _refuse_tag(_: PlainLoader, node: yaml.Node) -> Any:
    tag = node.tag.replace("tag:yaml.org,2002:", "!!")
    raise yaml.constructor.ConstructorError(
        None, None, f"the tag {tag} stands for no plain value: write the value itself", node.start_mark
    )


PlainLoader.add_constructor(None, _refuse_tag)
PlainLoader.add_implicit_resolver("tag:yaml.org,2002:float", YAML_FLOAT, YAML_FLOAT_STARTS)


def _construct_number(loader: PlainLoader, node: yaml.ScalarNode) -> Any:
    if len(node.value) > MAX_NUMBER_CHARACTERS:
        raise yaml.constructor.ConstructorError(
            None, None, f"a number of {len(node.value)} characters", node.start_mark
        )
    return yaml.SafeLoader.yaml_constructors[node.tag](loader, node)


for _tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
    PlainLoader.add_constructor(_tag, _construct_number)
PlainLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)
