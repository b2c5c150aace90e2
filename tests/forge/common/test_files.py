"""YAML as trainers and people write it for gaitforge."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import graphs
import onnx
import pytest

from gaitd.bundle.untrusted import load_yaml
from gaitd.errors import InputError
from gaitforge.bundle import report
from gaitforge.bundle.importers import onnx_file
from gaitforge.common import arrays, files
from gaitforge.common.arrays import read_obs_stats, read_observations
from gaitforge.common.manifest import dump_yaml
from gaitforge.model.onnx_policy import read_policy
from gaitforge.model.torch_policy import load_source
from gaitforge.parity.capture import read_capture
from gaitforge.rknn import record
from gaitforge.simulate.script import read_script
from support.in_time import in_time

Refused = Callable[..., str]


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("train.yaml", lambda path: files.read_yaml(path, "the file")),
        ("policy.onnx", read_policy),
        ("policy.pt", load_source),
        ("rows.npy", read_observations),
        ("obs_stats.npz", read_obs_stats),
        ("capture.npz", read_capture),
        ("report.json", report.read),
        ("walk.csv", read_script),
        ("policy.rknn", record.read),
    ],
)
def test_a_pipe_in_the_place_of_a_file_is_named(
    tmp_path: Path, name: str, read: Callable[[Path], Any]
) -> None:
    """Nobody writes to it: whoever reads would wait for ever."""
    path = tmp_path / name
    os.mkfifo(path)
    with in_time(30), pytest.raises(InputError, match=rf"{name}:? is a named pipe; a plain file is needed"):
        read(path)


@pytest.mark.parametrize(
    ("name", "read", "most"),
    [
        ("policy.onnx", read_policy, files.MAX_MODEL_BYTES),
        ("import.onnx", onnx_file.metadata, files.MAX_MODEL_BYTES),
        ("policy.pt", load_source, files.MAX_BYTES),
        ("rows.npy", read_observations, arrays.MAX_BYTES),
        ("obs_stats.npz", read_obs_stats, files.MAX_MODEL_BYTES),
        ("policy.rknn", lambda path: files.read_model(path, "the rknn file"), files.MAX_MODEL_BYTES),
        ("anything", files.sha256, files.MAX_BYTES),
    ],
)
def test_a_file_of_a_terabyte_is_refused_by_its_size(
    tmp_path: Path, name: str, read: Callable[[Path], Any], most: int
) -> None:
    path = tmp_path / name
    path.touch()
    os.truncate(path, 1 << 40)
    with (
        in_time(30),
        pytest.raises(InputError, match=rf"{name}:?.* {1 << 40} bytes, more than the {most} that"),
    ):
        read(path)


def test_external_data_of_a_terabyte_are_refused_by_their_size(tmp_path: Path) -> None:
    path, values = tmp_path / "policy.onnx", tmp_path / "values"
    graphs.dense(path)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="values", size_threshold=0)
    os.truncate(values, 1 << 40)
    with (
        in_time(30),
        pytest.raises(InputError, match=rf"its values, {values} has {1 << 40} bytes, more than"),
    ):
        read_policy(path)


def test_out_of_memory_is_one_line(monkeypatch: pytest.MonkeyPatch, refused: Refused) -> None:
    def much(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(files, "existing", much)
    assert "out of memory" in refused(7, "pack", "--manifest", "m", "--onnx", "o", "--output", "x")


def read(tmp_path: Path, text: str) -> dict[str, Any]:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    return files.read_yaml(path, "the file")


def test_python_tuples_and_slices_are_plain_data(tmp_path: Path) -> None:
    text = "a: !!python/tuple [1.0, 2.0]\nb: !!python/object/apply:builtins.slice [null, 4, null]\n"
    assert read(tmp_path, text) == {"a": [1.0, 2.0], "b": slice(None, 4, None)}


def test_aliases_are_followed(tmp_path: Path) -> None:
    assert read(tmp_path, "a: &scale [1, 2]\nb: *scale\n") == {"a": [1, 2], "b": [1, 2]}


GROWING = "a0: &a0 [x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1: key 'a' is named twice, first in line 1"),
        ("a: !!python/object/apply:os.system [touch ran]", "the tag !!python/object/apply:os.system"),
        ("a: !!python/name:os.system", "the tag !!python/name:os.system"),
        ("a: !!python/object/apply:builtins.slice [x, null, null]", "expected start, stop, step"),
        ("a: !!python/object/apply:builtins.slice [null, null, 0]", "expected start, stop, step"),
        ("a: !!python/tuple 1", "line 1, column 4"),
        (GROWING, "counting what aliases"),
        ("a: &a [*a]", "holds the alias itself"),
        ("", "is empty"),
        ("- 1", "expected keys and values"),
    ],
)
def test_refused(tmp_path: Path, text: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert said in str(caught.value)
    assert str(tmp_path / "file.yaml") in str(caught.value)
    assert not Path("ran").exists()


@pytest.mark.parametrize("text", ["1234e567", "5e-2", "1e3", "yes", "5"])
def test_text_that_looks_like_a_number_comes_back_as_text(text: str) -> None:
    assert load_yaml(dump_yaml({"commit": text})) == {"commit": text}


@pytest.mark.parametrize("command", ["export", "pack", "import", "verify"])
def test_every_command_refuses_a_doubled_key(refused: Refused, command: str) -> None:
    Path("double.yaml").write_text("a: 1\na: 2\n")
    graphs.dense(Path("model.pt"))
    argv = {
        "export": ["model.pt", "--config", "double.yaml"],
        "pack": ["--manifest", "double.yaml", "--onnx", "model.pt", "--output", "p.gaitd"],
        "import": ["rl_sar", "double.yaml"],
        "verify": ["model.pt", "--manifest", "double.yaml", "--dataset", "model.pt"],
    }
    assert "double.yaml: not valid YAML: line 2, column 1: key 'a' is named twice" in refused(
        2, command, *argv[command]
    )
