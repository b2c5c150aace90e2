"""The models of a bundle, looked at without running them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from gaitd.bundle.onnx_file import check_self_contained
from gaitd.bundle.rknn_file import read_rknn_file, version_numbers
from gaitd.errors import InputError

MODEL_NAME = re.compile(r"[a-z0-9_]{1,40}")
"""Of a model, as its files have it."""
CHIP = "rk3588"
"""The chip whose NPU gaitd runs policies on."""


def model_files(name: str) -> tuple[str, str]:
    """The files of a model of that name, for the CPU and for the NPU."""
    return f"{name}.onnx", f"{name}.rknn"


@contextmanager
def named(name: str) -> Iterator[None]:
    """What is wrong with one of several models is said of its own file."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {str(error).removeprefix('model.onnx: ')}") from None


def check_models(files: Mapping[str, bytes]) -> None:
    """Refuse an .onnx that refers to other files, and an .rknn that is none or for another chip.

    Raises InputError, which does not know where the bundle is.
    """
    for name, data in files.items():
        if name.endswith(".onnx"):
            with named(name):
                check_self_contained(data)
        if name.endswith(".rknn"):
            made = read_rknn_file(data)
            if CHIP not in made.platforms:
                raise InputError(
                    f"{name} was converted for {', '.join(made.platforms) or 'no chip'}, but gaitd runs on "
                    f"the {CHIP}: convert the policy again with `gaitforge convert --target {CHIP}`"
                )
            if version_numbers(made.toolkit) is None:
                raise InputError(
                    f"{name} does not tell the version of its rknn-toolkit2 ({made.toolkit[:40]!r}): "
                    "convert the policy again with `gaitforge convert`"
                )
